"""The worker: chat messages in, one emotion event each out, exactly once."""

from typing import Final

__version__: Final = "0.1.0"
