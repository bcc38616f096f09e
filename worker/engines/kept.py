"""The int8 graphs that are kept, each with what was found when it was made.

In the model's own folder where its publisher put one there, or in the cache: in a folder that is
named by the hash of the model's files.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock
from pydantic import ValidationError

from schemas.manifest import Int8Check, Sha256
from schemas.record import Record
from worker import whole
from worker.engines import Source

REVISION: Final = 2  # of what `graph.build` writes: another one makes every cached graph anew
FOLDER: Final = "engines"  # of a model, or of a cache
GRAPH: Final = "int8.onnx"
MANIFEST: Final = "manifest.json"


class ExportManifest(Record):
    """What was found when the graphs of a model were made."""

    schema_version: Literal[1] = 1
    model_sha256: Sha256
    """Of config, weights and tokenizer."""
    golden_sha256: Sha256
    """Of the file with the messages that the checks were made with."""
    messages: int
    difference: float
    """The largest one between a logit of PyTorch's and of the fp32 graph's."""
    exact: bool
    """Whether the fp32 graph may serve."""
    int8: Int8Check
    graph_sha256: Sha256
    """Of the int8 graph beside this file."""


@dataclass(frozen=True, slots=True)
class Export:
    """A checked int8 graph."""

    manifest: ExportManifest
    graph: bytes


@contextmanager
def turn(source: Source) -> Iterator[None]:
    """One process after the other, so that all but the first find what that one made.

    Where a model's folder is its own cache there is nobody to wait for: its publisher is alone
    with it, and what is published holds no lock.
    """
    if source.cache == source.folder:
        yield
        return
    place = _place(source.cache, source.folder)
    with ExitStack() as held:
        with suppress(OSError):  # nothing can be written there: each makes its own
            place.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(place.with_name(f".{place.name}.lock")))
        yield


def known(source: Source) -> Export | None:
    """What came with the model, or is in the cache."""
    return shipped(source.folder) or _read(_place(source.cache, source.folder))


def shipped(model: Path) -> Export | None:
    """The graph that came with the model in the folder `model`, if one did."""
    return _read(_place(model, model))


def _place(base: Path, model: Path) -> Path:
    return base / FOLDER / key(model)


def _read(folder: Path) -> Export | None:
    """The export in `folder`, unless it is spoilt."""
    try:
        manifest = ExportManifest.model_validate_json((folder / MANIFEST).read_bytes())
        graph = (folder / GRAPH).read_bytes()
    except (OSError, ValidationError):
        return None
    is_whole = hashlib.sha256(graph).hexdigest() == manifest.graph_sha256
    return Export(manifest, graph) if is_whole else None


def keep(export: Export, source: Source) -> None:
    """Put `export` into the cache, whole or not at all. Raises OSError."""
    folder = _place(source.cache, source.folder)
    with whole.making(folder) as partial:
        (partial / GRAPH).write_bytes(export.graph)
        (partial / MANIFEST).write_text(export.manifest.model_dump_json(indent=1), encoding="utf-8")
        if folder.exists() and _read(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)


def key(folder: Path) -> str:
    """Name of the folder of the cache: the same only where the same graph would be made."""
    return f"{model_hash(folder)[:32]}-{REVISION}"


def model_hash(folder: Path) -> str:
    """A hash of all that decides the model's answers."""
    digest = hashlib.sha256()
    names = ["config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    for path in [*(folder / name for name in names), *sorted(folder.glob("*.safetensors"))]:
        if path.exists():
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
