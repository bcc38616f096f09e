"""A hub's model at one commit, which a fit starts from and a manifest states."""

from pathlib import Path

from trainer.job import FitError, line
from worker import storage


def commit(spec: str) -> str | None:
    """The newest commit of a hub id; while the hub is away, the last one known. None for a folder.

    Raises FitError.
    """
    if Path(spec).expanduser().is_dir():
        return None
    from huggingface_hub import HfApi  # noqa: PLC0415  (lazy: takes a second)

    try:
        return HfApi().resolve_revision(spec).resolved
    except storage.errors(ValueError) as error:
        told = f"{spec} cannot be had from the Hugging Face hub: {line(error)}"
        raise FitError(told) from None
