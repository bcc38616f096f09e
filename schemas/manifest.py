"""A model folder's ``manifest.json``: which files make up the version, and where it came from."""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from schemas.emotion import EMOTIONS, Emotion
from schemas.instant import UtcText
from schemas.record import Probability, Record

FILE_NAME = "manifest.json"

# Names become folders in a registry: no empty, hidden or parent segment gets through.
ModelName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")
]
ModelVersion = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _check_labels(labels: list[Emotion]) -> list[Emotion]:
    if sorted(labels) != sorted(EMOTIONS):
        raise PydanticCustomError("labels", "Labels should be the six emotions, each once")
    return labels


def _check_paths(files: dict[str, str]) -> dict[str, str]:
    # A registry writes each file below the model's folder, and must not be led out of it.
    for name in files:
        path = PurePosixPath(name)
        plain = name == path.as_posix() and not any(mark in name for mark in "\\:\x00")
        if not plain or path.is_absolute() or ".." in path.parts or name in {".", FILE_NAME}:
            raise PydanticCustomError(
                "labels", "Paths should be relative, inside the folder and plain"
            )
    return files


class Int8Check(Record):
    """How the int8 engine compared with fp32 on the golden set."""

    agreement: Probability
    """The share of messages on which both name the same emotion."""
    macro_f1_delta: float
    """The int8 macro-F1 minus the fp32 one, both on a scale of 0 to 1."""
    used: bool
    """Whether the worker may serve with int8."""


class ModelManifest(Record):
    """One version of a model, file by file."""

    schema_version: Literal[1] = 1
    name: ModelName
    version: ModelVersion
    created_at: UtcText
    """RFC 3339, UTC, milliseconds."""
    labels: Annotated[
        list[Emotion],
        AfterValidator(_check_labels),
        Field(min_length=6, max_length=6, json_schema_extra={"uniqueItems": True}),
    ]
    """What each logit stands for, in logit order."""
    files: Annotated[dict[str, Sha256], AfterValidator(_check_paths)]
    """Each file's path from the folder (with forward slashes), and its SHA-256."""
    parent: Annotated[str, StringConstraints(min_length=1)] | None
    """The model that this one was trained from."""
    metrics: dict[str, float]
    settings: dict[str, str | int | float | bool | None]
    """What it was trained with."""
    int8: Int8Check | None = None


def build_files(folder: Path) -> dict[str, str]:
    """Hash every regular file below ``folder`` but its own manifest, sorted by path.

    A link to a file counts as the file. Raises NotADirectoryError, or OSError from reading.
    """
    return {name: _sha256(path) for name, path in _entries(folder) if path.is_file()}


def verify(folder: Path, manifest: ModelManifest) -> list[str]:
    """Say what of ``folder`` differs from its manifest, a line a file; nothing where all is well.

    A linked folder is not followed, and so is unexpected. Raises NotADirectoryError, or OSError
    from reading.
    """
    found = dict(_entries(folder))
    lines = []
    for name in sorted(manifest.files.keys() | found.keys()):
        expected = manifest.files.get(name)
        if expected is None:
            lines.append(f"unexpected: {name}")
        elif name not in found or not found[name].is_file():
            lines.append(f"missing: {name}")
        elif (actual := _sha256(found[name])) != expected:
            lines.append(f"changed: {name} (sha256 {actual}, expected {expected})")
    return lines


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Everything below ``folder`` that is not a folder, but its own manifest, sorted by path."""
    if not folder.is_dir():
        raise NotADirectoryError(folder)
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    named = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
    return ((name, path) for name, path in named if name != FILE_NAME)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
