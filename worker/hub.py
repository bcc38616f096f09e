"""Models of the Hugging Face hub, by `owner/name`, or `owner/name@revision`.

A commit stays what it is; a tag or a branch, and the newest commit without either, is asked for
again at each start and run. A folder of the same name comes first.
"""

import re
from pathlib import Path
from typing import Final

from worker import storage
from worker.config import ModelError
from worker.engines import first_line

ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@[A-Za-z0-9][\w./-]*)?")


def folder(spec: str) -> Path | None:
    """The folder that `spec` names, if it names one."""
    try:
        path = Path(spec).expanduser()
    except RuntimeError:  # of a user that there is not
        return None
    return path if path.is_dir() else None


def split(spec: str) -> tuple[str, str | None]:
    """The id, and the revision of it, if one is named; of a folder its path."""
    if found := folder(spec):
        return str(found), None
    name, _, revision = spec.partition("@")
    return name, revision or None


def commit(spec: str) -> str | None:
    """The commit that a hub id stands for; while the hub is away, the last one known.

    None for a folder. Raises ModelError.
    """
    if folder(spec):
        return None
    from huggingface_hub import HfApi  # noqa: PLC0415  (lazy: takes a second)

    name, revision = split(spec)
    try:
        return HfApi().resolve_revision(name, revision=revision).resolved
    except storage.errors(ValueError) as error:
        raise _away(spec, error) from error


def fetch(spec: str, files: list[str]) -> Path:
    """The folder of that commit, downloaded unless it is here: those of its files that match.

    Raises ModelError.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415  (lazy: takes a second)

    name, revision = split(spec)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=files))
    except storage.errors(ValueError) as error:
        raise _away(spec, error) from error


def _away(spec: str, error: Exception) -> ModelError:
    return ModelError(f"{spec} cannot be had from the Hugging Face hub: {first_line(error)}")
