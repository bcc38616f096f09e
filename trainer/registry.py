"""The registry of models over fsspec: immutable versions, aliases moved atomically.

`{name}/{version}/` holds a version, its `manifest.json` written last; `aliases/{alias}.json` the
ModelPromotion that workers follow; `withdrawn/{alias}/{version}` says that the alias was rolled
back from it; `promote.lock` stands while somebody writes.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import fsspec
import orjson
from fsspec.implementations.local import LocalFileSystem
from pydantic import ValidationError
from tqdm import tqdm

from schemas import manifest
from schemas.manifest import Int8Check, ModelManifest
from schemas.promotion import ModelPromotion
from trainer import lock, stage
from worker import storage
from worker.settings import SettingsError

BAR: Final[dict[str, Any]] = {"desc": "promote", "unit": "B", "unit_scale": True}
CHECKING: Final[dict[str, Any]] = {"desc": "check the version", "unit": "file", "delay": 1.0}


class RegistryError(Exception):
    """The registry cannot be used so; the message is one clear line, and the alias is unmoved."""


class AliasError(RegistryError):
    """What stands in an alias's place is none: half a file, or somebody else's."""


class Registry:
    """The models called `name` at `url`, any fsspec URL."""

    def __init__(self, url: str, name: str) -> None:
        """Raises SettingsError for a URL of no kind that is installed here, RegistryError."""
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            message = f"TRAINER_REGISTRY: {url} cannot be opened: {_line(error)}"
            raise SettingsError([message]) from error
        except storage.errors() as error:
            raise RegistryError(f"{url} cannot be opened: {_line(error)}") from error
        self._root = str(root).rstrip("/")
        self.name = name
        self._sound: set[str] = set()  # versions whose files were found to be as stated

    def alias(self, alias: str, *, mending: bool = False) -> ModelPromotion | None:
        """What `alias` points at; None where it was never set.

        Raises RegistryError; AliasError where that is no promotion, which is None to who is
        `mending` it.
        """
        path = self._alias(alias)
        self._forget(path)
        try:
            return ModelPromotion.model_validate_json(self._files.cat_file(path))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            if mending:
                return None
            known = ", ".join(self.versions()) or "none"
            message = (
                f"{path} is no ModelPromotion; `python -m trainer rollback VERSION` writes it "
                f"anew (there are: {known})"
            )
            raise AliasError(message) from error
        except storage.errors() as error:
            raise RegistryError(f"{path} cannot be read: {_line(error)}") from error

    def aliases(self) -> list[str]:
        """The aliases that were ever set, by name. Raises RegistryError."""
        names = self._names(f"{self._root}/aliases")
        return sorted(each.removesuffix(".json") for each in names if each.endswith(".json"))

    def is_withdrawn(self, alias: str, version: str) -> bool:
        """Whether `alias` was rolled back from `version`. Raises RegistryError."""
        return self._exists(self._withdrawn(alias, version))

    def withdraw(self, alias: str, version: str) -> None:
        """Remember that `alias` goes back from `version`. Raises RegistryError."""
        path = self._withdrawn(alias, version)
        with _in_one_line(f"{path} cannot be written"):
            self._write(path, b"")

    def reinstate(self, alias: str, version: str) -> None:
        """Forget it. Raises RegistryError."""
        path = self._withdrawn(alias, version)
        with _in_one_line(f"{path} cannot be removed"):
            if self._files.exists(path):
                self._files.rm_file(path)

    def require(self, version: str) -> None:
        """Raises RegistryError unless `version` is there, each file as its manifest says.

        Its files are read once, with a bar: nothing but who is `alone` writes to them meanwhile.
        """
        if version in self._sound:
            return
        if not self._is_whole(version):
            known = ", ".join(self.versions()) or "none"
            raise RegistryError(f"no version {version} of {self.name} (there are: {known})")
        if damage := self._damage(version):
            raise RegistryError(f"{damage}; restore that file from a copy, or name another version")
        self._sound.add(version)

    def previous(self, standing: ModelPromotion) -> ModelPromotion | None:
        """What the alias pointed at before `standing`; None where that is not there (any more).

        Raises RegistryError.
        """
        version = standing.previous_version
        if version is None or not self._is_whole(version):
            return None
        there = {"version": version, "uri": self.uri(version), "sha256": self._hash(version)}
        return standing.model_copy(update={**there, "previous_version": None, "metrics": {}})

    def versions(self) -> list[str]:
        """The whole versions, by name; half-written ones are no versions. Raises RegistryError."""
        names = self._names(f"{self._root}/{self.name}")
        return sorted(each for each in names if self._is_whole(each))

    def uri(self, version: str) -> str:
        """Where a version lies."""
        return str(self._files.unstrip_protocol(f"{self._root}/{self.name}/{version}"))

    def put(self, folder: Path, stated: ModelManifest) -> str:
        """Upload a version, with a bar, unless it is there and sound; its manifest's hash.

        Call it while `alone`.

        Raises RegistryError, also where what was uploaded reads otherwise.
        """
        version = stated.version
        if not self._is_whole(version):
            self._upload(folder, stated)
        elif self._damage(version):
            kept = self._stated(version)
            # Aliases know a manifest by its hash: one that states the same files stays as it is.
            self._upload(folder, kept if kept and kept.files == stated.files else stated)
        else:
            self._sound.add(version)
        self.require(version)
        return self._hash(version)

    def _upload(self, folder: Path, stated: ModelManifest) -> None:
        target = self._folder(stated.version)
        with _in_one_line(f"{target} cannot be written"):
            self._remove(target)
            self._files.makedirs(target, exist_ok=True)
            sizes = {name: (folder / name).stat().st_size for name in stated.files}
            with tqdm(total=sum(sizes.values()), **BAR) as bar:
                for name, size in sizes.items():
                    self._files.makedirs(f"{target}/{name}".rpartition("/")[0], exist_ok=True)
                    self._files.put_file(str(folder / name), f"{target}/{name}")
                    bar.update(size)
            if gone := [each for each in sizes if not self._files.exists(f"{target}/{each}")]:
                message = f"{target}/{gone[0]} is gone: another trainer took this one for dead"
                raise RegistryError(message)
            if isinstance(self._files, LocalFileSystem):
                stage.sync_all(Path(target))  # before the manifest says that all is there
            body = orjson.dumps(stated.model_dump(), option=orjson.OPT_INDENT_2)
            self._write(self._manifest(stated.version), body)

    def move(
        self,
        alias: str,
        version: str,
        *,
        expected: str | None,
        metrics: Mapping[str, float],
        now: str,
    ) -> ModelPromotion:
        """Point `alias` at a version, if it still points at `expected`. Call it while `alone`.

        An alias that cannot be made out points at nothing. Raises RegistryError, also where another
        trainer moved it since, or the version's files are not as its manifest says.
        """
        standing = self.alias(alias, mending=expected is None)
        there = standing.version if standing else None
        if there != expected:
            message = (
                f"{alias} points at {there or 'nothing'} now, not at {expected or 'nothing'}: "
                "another trainer was first; compare with that one"
            )
            raise RegistryError(message)
        self.require(version)
        promotion = ModelPromotion(
            name=self.name,
            version=version,
            alias=alias,
            uri=self.uri(version),
            sha256=self._hash(version),
            previous_version=there,
            promoted_at=now,
            metrics=dict(metrics),
        )
        with _in_one_line(f"{alias} cannot be moved"):
            self._write(self._alias(alias), orjson.dumps(promotion.model_dump()))
        return promotion

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the registry, and clean what a crash left. Raises RegistryError where it is held."""
        with ExitStack() as holding:
            try:
                holding.enter_context(lock.held(self._files, self._root))
            except FileExistsError:
                path = f"{self._root}/{lock.LOCK}"
                message = f"another trainer is writing to {self._root}; {path}"
                raise RegistryError(message) from None
            except ValueError as error:
                raise RegistryError(str(error)) from None
            except storage.errors() as error:
                message = f"{self._root} cannot be written to: {_line(error)}"
                raise RegistryError(message) from error
            self._clean()
            yield

    def _clean(self) -> None:
        """Half-written versions: no alias can point at them, since their manifest is missing."""
        folder = f"{self._root}/{self.name}"
        for name in self._names(folder):
            if not self._is_whole(name):
                with _in_one_line(f"{folder} cannot be cleaned"):
                    self._remove(f"{folder}/{name}")

    def _remove(self, path: str) -> None:
        if self._files.exists(path):
            self._files.rm(path, recursive=True)

    def _forget(self, path: str) -> None:
        """What was listed before: another trainer may have written there since."""
        self._files.invalidate_cache(path)

    def _exists(self, path: str) -> bool:
        self._forget(path)
        with _in_one_line(f"{path} cannot be looked for"):
            return bool(self._files.exists(path))

    def _names(self, folder: str) -> list[str]:
        """What is in a folder; nothing where there is none."""
        if not self._exists(folder):
            return []
        with _in_one_line(f"{folder} cannot be listed"):
            found = self._files.ls(folder, detail=False)
        names = (str(path).rpartition("/")[2] for path in found)
        return [name for name in names if name]

    def _is_whole(self, version: str) -> bool:
        return self._exists(self._manifest(version))

    def _stated(self, version: str) -> ModelManifest | None:
        """The manifest of a version that has one; None where that is none. Raises RegistryError."""
        path = self._manifest(version)
        with _in_one_line(f"{path} cannot be read"):
            body = self._files.cat_file(path)
        try:
            return ModelManifest.model_validate_json(body)
        except ValidationError:
            return None

    def _damage(self, version: str) -> str | None:
        """Which file of a version is not as its manifest says, and how; None where all are.

        A file that the manifest does not know counts: workers refuse the version for it.

        Raises RegistryError.
        """
        stated, folder = self._stated(version), self._folder(version)
        if stated is None:
            return f"{self._manifest(version)} is no manifest of a model"
        with _in_one_line(f"{folder} cannot be listed"):
            there = {str(path) for path in self._files.find(folder)}
        files = {f"{folder}/{name}": sha256 for name, sha256 in stated.files.items()}
        if others := sorted(there - files.keys() - {self._manifest(version)}):
            return f"{others[0]} is none of the files of {version}"
        for path, sha256 in tqdm(files.items(), **CHECKING):
            if path not in there:
                return f"{path} is missing"
            if self._sha256(path) != sha256:
                return f"{path} is damaged: it has not the hash that {manifest.FILE_NAME} states"
        return None

    def _sha256(self, path: str) -> str:
        self._forget(path)  # its size, too
        with _in_one_line(f"{path} cannot be read"), self._files.open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _hash(self, version: str) -> str:
        path = self._manifest(version)
        with _in_one_line(f"{path} cannot be read"):
            body = self._files.cat_file(path)
        return hashlib.sha256(body).hexdigest()

    def _folder(self, version: str) -> str:
        return f"{self._root}/{self.name}/{version}"

    def _manifest(self, version: str) -> str:
        return f"{self._folder(version)}/{manifest.FILE_NAME}"

    def _alias(self, alias: str) -> str:
        return f"{self._root}/aliases/{alias}.json"

    def _withdrawn(self, alias: str, version: str) -> str:
        return f"{self._root}/withdrawn/{alias}/{version}"

    def _write(self, path: str, body: bytes) -> None:
        """All of it or nothing: by renaming on a disk; elsewhere one upload is one object."""
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        if isinstance(self._files, LocalFileSystem):
            partial = Path(f"{path}.{secrets.token_hex(4)}.partial")
            try:
                with partial.open("wb") as file:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)  # of a disk that is full
            for folder in Path(path).parents:
                if folder.is_relative_to(self._root):
                    stage.sync(folder)
        else:
            self._files.pipe_file(path, body)


def state(  # noqa: PLR0913  (what a manifest states)
    folder: Path,
    name: str,
    *,
    labels: Sequence[str],
    made_at: str,
    parent: str | None,
    metrics: Mapping[str, float],
    settings: Mapping[str, str | int | float | bool | None],
    int8: Int8Check | None = None,
) -> ModelManifest:
    """The manifest of a model folder; the version is its day and the hash of its files."""
    files = manifest.build_files(folder)
    digest = hashlib.sha256(orjson.dumps(files)).hexdigest()
    facts = {
        "name": name,
        "version": f"{made_at[:10].replace('-', '.')}-{digest[:8]}",
        "created_at": made_at,
        "labels": list(labels),
        "files": files,
        "parent": parent,
        "metrics": dict(metrics),
        "settings": dict(settings),
        "int8": int8,
    }
    return ModelManifest.model_validate(facts)


@contextmanager
def _in_one_line(what: str) -> Iterator[None]:
    """Turn what a file system may fail of into RegistryError: `what` is the case, and why."""
    try:
        yield
    except storage.errors() as error:
        raise RegistryError(f"{what}: {_line(error)}") from error


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
