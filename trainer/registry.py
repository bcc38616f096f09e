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

BAR: Final[dict[str, Any]] = {"desc": "promote", "unit": "B", "unit_scale": True}


class RegistryError(Exception):
    """The registry cannot be used so; the message is one clear line, and the alias is unmoved."""


class Registry:
    """The models called `name` at `url`, any fsspec URL."""

    def __init__(self, url: str, name: str) -> None:
        """Raises RegistryError for a URL that nothing here can open."""
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except storage.errors(ImportError, ValueError) as error:
            raise RegistryError(f"{url} cannot be opened: {_line(error)}") from error
        self._root = str(root).rstrip("/")
        self.name = name

    def alias(self, alias: str) -> ModelPromotion | None:
        """What `alias` points at; None where it was never set. Raises RegistryError."""
        path = self._alias(alias)
        self._forget(path)
        try:
            return ModelPromotion.model_validate_json(self._files.cat_file(path))
        except FileNotFoundError:
            return None
        except storage.errors(ValidationError) as error:
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
        """Raises RegistryError unless `version` is there, whole."""
        if not self._is_whole(version):
            known = ", ".join(self.versions()) or "none"
            raise RegistryError(f"no version {version} of {self.name} (there are: {known})")

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
        """Upload a version, with a bar, unless it is there; its manifest's hash.

        Call it while `alone`.

        Raises RegistryError.
        """
        target = f"{self._root}/{self.name}/{stated.version}"
        with _in_one_line(f"{target} cannot be written"):
            if not self._is_whole(stated.version):
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
        return self._hash(stated.version)

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

        Raises RegistryError, also where another trainer moved it since.
        """
        standing = self.alias(alias)
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

    def _hash(self, version: str) -> str:
        path = self._manifest(version)
        with _in_one_line(f"{path} cannot be read"):
            body = self._files.cat_file(path)
        return hashlib.sha256(body).hexdigest()

    def _manifest(self, version: str) -> str:
        return f"{self._root}/{self.name}/{version}/{manifest.FILE_NAME}"

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
