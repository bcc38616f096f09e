"""The versions of a model: each uploaded whole, its `manifest.json` last, and never changed."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import ValidationError
from tqdm import tqdm

from schemas import manifest
from schemas.manifest import Int8Check, ModelManifest
from trainer import damage
from trainer.depot import Depot, RegistryError, in_one_line
from worker.engines import kept

VERSION: Final = re.compile(r"\d{4}\.\d{2}\.\d{2}-[0-9a-f]{8}")  # as `state` names them
BAR: Final[dict[str, Any]] = {"desc": "promote", "unit": "B", "unit_scale": True}
CHECKING: Final[dict[str, Any]] = {"desc": "check the version", "unit": "file", "delay": 1.0}


class Versions:
    """The versions of the models called `name`, in a registry's folder."""

    def __init__(self, depot: Depot, name: str) -> None:
        self.name = name
        self._depot = depot
        self._root = f"{depot.root}/{name}"
        self._sound: set[str] = set()  # versions whose files were found to be as stated

    def names(self) -> list[str]:
        """The whole versions, by name; half-written ones are no versions. Raises RegistryError."""
        return sorted(each for each in self._depot.names(self._root) if self.has(each))

    def told(self) -> str:
        """Their names, in a line. Raises RegistryError."""
        return ", ".join(self.names()) or "none"

    def has(self, version: str) -> bool:
        """Whether a whole version is there. Raises RegistryError."""
        return self._depot.exists(self._manifest(version))

    def uri(self, version: str) -> str:
        """Where a version lies."""
        return self._depot.uri(self._folder(version))

    def sha256(self, version: str) -> str:
        """The hash of a version's manifest, by which aliases know it. Raises RegistryError."""
        return hashlib.sha256(self._depot.read(self._manifest(version))).hexdigest()

    def require(self, version: str) -> None:
        """Raises RegistryError unless `version` is there, each file as its manifest says.

        Its files are read once, with a bar: nothing but who is `alone` writes to them meanwhile.
        """
        if version in self._sound:
            return
        if not self.has(version):
            raise RegistryError(f"no version {version} of {self.name} (there are: {self.told()})")
        if found := self._damage(version):
            raise RegistryError(f"{found}; restore that file from a copy, or name another version")
        self._sound.add(version)

    def is_model(self, version: str, stated: ModelManifest) -> bool:
        """Whether `version` is there and is that model, whatever graphs. Raises RegistryError."""
        there = self._stated(version) if self.has(version) else None
        return there is not None and _model(there) == _model(stated)

    def put(self, folder: Path, stated: ModelManifest) -> None:
        """Upload a version, with a bar, unless it is there and sound.

        Call it while `alone`.

        Raises RegistryError, also where what was uploaded reads otherwise.
        """
        version = stated.version
        if not self.has(version):
            self._upload(folder, stated)
        elif self._damage(version):
            there = self._stated(version)
            # Aliases know a manifest by its hash: one that states the same files stays as it is.
            self._upload(folder, there if there and there.files == stated.files else stated)
        else:
            self._sound.add(version)
        self.require(version)

    def clean(self) -> None:
        """Remove half-written versions. Raises RegistryError.

        No alias can point at them, since their manifest is missing. What is called otherwise is
        not ours: the registry may lie where other things do.
        """
        for name in self._depot.names(self._root):
            if VERSION.fullmatch(name) and not self.has(name):
                with in_one_line(f"{self._root} cannot be cleaned"):
                    self._depot.clear(self._folder(name))

    def _upload(self, folder: Path, stated: ModelManifest) -> None:
        target = self._folder(stated.version)
        with in_one_line(f"{target} cannot be written"):
            self._depot.clear(target)
            sizes = {name: (folder / name).stat().st_size for name in stated.files}
            with tqdm(total=sum(sizes.values()), **BAR) as bar:
                for name, size in sizes.items():
                    self._depot.upload(folder / name, f"{target}/{name}")
                    bar.update(size)
            paths = [f"{target}/{name}" for name in sizes]
            if gone := [path for path in paths if not self._depot.files.exists(path)]:
                raise RegistryError(f"{gone[0]} is gone: another trainer took this one for dead")
            self._depot.sync(target)  # before the manifest says that all is there
            body = orjson.dumps(stated.model_dump(), option=orjson.OPT_INDENT_2)
            self._depot.write(self._manifest(stated.version), body)

    def _damage(self, version: str) -> str | None:
        """Which file of a version is not as its manifest says, and how; None where all are.

        Raises RegistryError.
        """
        stated, folder = self._stated(version), self._folder(version)
        if stated is None:
            return f"{self._manifest(version)} is no manifest of a model"
        there = self._depot.below(folder)
        with tqdm(total=len(stated.files), **CHECKING) as bar:

            def sha256(path: str) -> str:
                found = self._depot.sha256(path)
                bar.update()
                return found

            return damage.find(stated, folder, there, sha256)

    def _stated(self, version: str) -> ModelManifest | None:
        """The manifest of a version that has one; None where that is none. Raises RegistryError."""
        body = self._depot.read(self._manifest(version))
        try:
            return ModelManifest.model_validate_json(body)
        except ValidationError:
            return None

    def _folder(self, version: str) -> str:
        return f"{self._root}/{version}"

    def _manifest(self, version: str) -> str:
        return f"{self._folder(version)}/{manifest.FILE_NAME}"


def _model(stated: ModelManifest) -> dict[str, Any]:
    """The files of a version but for its graphs."""
    graphs = f"{kept.FOLDER}/"
    return {name: each for name, each in stated.files.items() if not name.startswith(graphs)}


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
