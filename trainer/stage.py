"""A stage of the recipe: files in, a folder out, with a manifest of what it was made from.

The folder is named by a hash of the inputs' contents and the settings, so a stage whose inputs are
unchanged is there already and is skipped. It is filled beside its place and moved there when it is
whole: a run that is killed leaves a partial folder, in which the same stage goes on.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import orjson
from pydantic import ValidationError

from schemas.instant import UtcText, datetime_text
from schemas.manifest import Sha256, build_files
from schemas.record import Record
from trainer import __version__

MANIFEST: Final = "stage.json"
ID_LETTERS: Final = 16

Setting = str | int | float | bool | None
Numbers = dict[str, float]


class StageError(Exception):
    """A stage cannot be done; the message is one clear line."""


class StageManifest(Record):
    """What a stage made, from what, and how."""

    schema_version: Literal[1] = 1
    stage: str
    fingerprint: Sha256
    """Of stage, inputs and settings: equal ones need not be done again."""
    inputs: dict[str, Sha256]
    """Content hash of each input."""
    settings: dict[str, Setting]
    seed: int
    parents: list[str]
    """Folders of the stages whose outputs went in."""
    offsets: dict[str, list[int]]
    """Kafka: partition → first and one past the last offset that was read."""
    outputs: dict[str, Sha256]
    """Each file of the folder."""
    numbers: Numbers
    """What the stage has to tell: counts, seconds, scores."""
    trainer: str
    started_at: UtcText
    finished_at: UtcText


@dataclass(frozen=True, slots=True)
class Done:
    """A finished stage; `skipped` where it was there already."""

    folder: Path
    manifest: StageManifest
    skipped: bool


def run(  # noqa: PLR0913  (what a manifest states, and the work itself)
    work: Path,
    name: str,
    inputs: Mapping[str, Path],
    settings: Mapping[str, Setting],
    make: Callable[[Path], Numbers],
    *,
    seed: int = 0,
    offsets: Mapping[str, list[int]] | None = None,
) -> Done:
    """Do a stage in `work`/`name`/…, unless it is done. `make` fills the folder that it is given.

    `make` may find in the folder what it left there when it was killed. Raises StageError, and
    what `make` raises; the partial folder then stays.
    """
    stated = {label: fingerprint_of(path) for label, path in sorted(inputs.items())}
    facts = [name, stated, dict(sorted(settings.items())), seed, __version__]
    fingerprint = hashlib.sha256(orjson.dumps(facts)).hexdigest()
    folder = work / name / fingerprint[:ID_LETTERS]
    found = read(folder)
    if found is not None and found.fingerprint == fingerprint:
        return Done(folder, found, skipped=True)
    partial = work / name / f".partial-{fingerprint[:ID_LETTERS]}"
    started = _now()
    try:
        partial.mkdir(parents=True, exist_ok=True)
        numbers = make(partial)
        sync_all(partial)  # the manifest vouches for what a power cut must not take back
        manifest = StageManifest(
            stage=name,
            fingerprint=fingerprint,
            inputs=stated,
            settings=dict(settings),
            seed=seed,
            parents=[_shown(path, work) for path in inputs.values() if path.is_relative_to(work)],
            offsets=dict(offsets or {}),
            outputs=_outputs(partial),
            numbers=numbers,
            trainer=__version__,
            started_at=started,
            finished_at=_now(),
        )
        write_durably(partial / MANIFEST, orjson.dumps(manifest.model_dump(), option=_PRETTY))
        if folder.exists():
            shutil.rmtree(folder)  # its outputs were changed since: `read` said so
        partial.rename(folder)
        sync(folder.parent)
        sync(work)
    except OSError as error:
        told = f"{error.filename or partial}: {error.strerror or error}"
        raise StageError(f"{name}: {told}") from error
    return Done(folder, manifest, skipped=False)


def read(folder: Path) -> StageManifest | None:
    """The manifest of a finished stage whose outputs are as they were; else None."""
    try:
        manifest = StageManifest.model_validate_json((folder / MANIFEST).read_bytes())
        outputs = _outputs(folder)
    except (OSError, ValidationError):
        return None
    return manifest if outputs == manifest.outputs else None


def told(numbers: Numbers) -> str:
    """What a stage has to tell, in one line."""
    return ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())


def fingerprint_of(path: Path) -> str:
    """The hash of a file's bytes, or of a folder's files. Raises StageError."""
    try:
        if path.is_dir():
            return hashlib.sha256(orjson.dumps(_outputs(path))).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StageError(f"{path} cannot be read: {error.strerror}") from None


def write_durably(path: Path, body: bytes, partial: Path | None = None) -> None:
    """Write beside `path`, sync, then rename: a reader sees the old file or the whole new one.

    `partial`: where it is written at first, for who does not write alone.
    """
    partial = partial or _beside(path)
    with partial.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """A file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path) -> None:
    """A folder and all below it, to the disk."""
    for path in (folder, *folder.rglob("*")):
        if path.exists():  # a link may lead nowhere
            sync(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes `path`: a full disk is one line. Raises StageError."""
    try:
        yield
    except OSError as error:
        raise StageError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold `work` for this process; a kill lets go of it. Raises StageError where it is held."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / ".lock").open("wb")
    except OSError as error:
        raise StageError(f"{work} cannot be written to: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StageError(f"another trainer is at work in {work}") from None
        except OSError as error:  # a file system without locks, such as some of NFS
            raise StageError(f"{work} cannot be locked: {error.strerror}") from None
        yield


_PRETTY: Final = orjson.OPT_INDENT_2


def _outputs(folder: Path) -> dict[str, Sha256]:
    """The hash of each file but the manifest, of which a kill may have left a half as well."""
    own = {MANIFEST, _beside(Path(MANIFEST)).name}
    return {name: sha for name, sha in build_files(folder).items() if name not in own}


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _shown(path: Path, work: Path) -> str:
    return path.relative_to(work).as_posix()


def _now() -> str:
    return datetime_text(datetime.now(UTC))
