"""The registry of models over fsspec: immutable versions, aliases moved atomically.

`{name}/{version}/` holds a version, its `manifest.json` written last; `aliases/{alias}.json` the
ModelPromotion that workers follow; `withdrawn/{alias}/{version}` says that the alias was rolled
back from it; `promote.lock` stands while somebody writes.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import orjson
from pydantic import ValidationError

from schemas.manifest import ModelManifest
from schemas.promotion import ModelPromotion
from trainer import lock
from trainer.depot import Depot, RegistryError, in_one_line
from trainer.versions import Versions


class AliasError(RegistryError):
    """What stands in an alias's place is none: half a file, or somebody else's."""


class Registry:
    """The models called `name` at `url`, any fsspec URL: their `versions`, and the aliases."""

    def __init__(self, url: str, name: str) -> None:
        """Raises SettingsError for a URL of no kind that is installed here, RegistryError."""
        self._depot = Depot(url)
        self.versions = Versions(self._depot, name)

    def alias(self, alias: str, *, mending: bool = False) -> ModelPromotion | None:
        """What `alias` points at; None where it was never set.

        Raises RegistryError; AliasError where that is no promotion, which is None to who is
        `mending` it.
        """
        path = self._alias(alias)
        body = self._depot.look(path)
        if body is None:
            return None
        try:
            return ModelPromotion.model_validate_json(body)
        except ValidationError as error:
            if mending:
                return None
            message = (
                f"{path} is no ModelPromotion; `python -m trainer rollback VERSION` writes it "
                f"anew (there are: {self.versions.told()})"
            )
            raise AliasError(message) from error

    def aliases(self) -> list[str]:
        """The aliases that were ever set, by name. Raises RegistryError."""
        names = self._depot.names(f"{self._depot.root}/aliases")
        return sorted(each.removesuffix(".json") for each in names if each.endswith(".json"))

    def is_withdrawn(self, alias: str, version: str) -> bool:
        """Whether `alias` was rolled back from `version`. Raises RegistryError."""
        return self._depot.exists(self._withdrawn(alias, version))

    def withdrawn_as(self, alias: str, stated: ModelManifest) -> str | None:
        """The version that `alias` was rolled back from and that is the model of `stated`.

        By its weights and its tokenizer: a graph that was made anew makes another version, and the
        same model. Raises RegistryError.
        """
        names = self._depot.names(f"{self._depot.root}/withdrawn/{alias}")
        same = (each for each in names if self.versions.is_model(each, stated))
        return stated.version if stated.version in names else next(same, None)

    def withdraw(self, alias: str, version: str) -> None:
        """Remember that `alias` goes back from `version`. Raises RegistryError."""
        path = self._withdrawn(alias, version)
        with in_one_line(f"{path} cannot be written"):
            self._depot.write(path, b"")

    def reinstate(self, alias: str, version: str) -> None:
        """Forget it. Raises RegistryError."""
        path = self._withdrawn(alias, version)
        with in_one_line(f"{path} cannot be removed"):
            self._depot.remove(path)

    def previous(self, standing: ModelPromotion) -> ModelPromotion | None:
        """What the alias pointed at before `standing`; None where that is not there (any more).

        Raises RegistryError.
        """
        version = standing.previous_version
        if version is None or not self.versions.has(version):
            return None
        there = {
            "version": version,
            "uri": self.versions.uri(version),
            "sha256": self.versions.sha256(version),
        }
        return standing.model_copy(update={**there, "previous_version": None, "metrics": {}})

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
        self.versions.require(version)
        promotion = ModelPromotion(
            name=self.versions.name,
            version=version,
            alias=alias,
            uri=self.versions.uri(version),
            sha256=self.versions.sha256(version),
            previous_version=there,
            promoted_at=now,
            metrics=dict(metrics),
        )
        with in_one_line(f"{alias} cannot be moved"):
            self._depot.write(self._alias(alias), orjson.dumps(promotion.model_dump()))
        return promotion

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the registry, and clean what a crash left. Raises RegistryError where it is held."""
        with lock.held(self._depot):
            self.versions.clean()
            yield

    def _alias(self, alias: str) -> str:
        return f"{self._depot.root}/aliases/{alias}.json"

    def _withdrawn(self, alias: str, version: str) -> str:
        return f"{self._depot.root}/withdrawn/{alias}/{version}"
