"""The trainer: from what the worker was unsure of to a better model in the running worker."""

from worker import __version__

__all__ = ["__version__"]
