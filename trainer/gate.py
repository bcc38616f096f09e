"""The gate: the student meets the champion, and where it is better the alias moves to it."""

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from schemas.manifest import ModelManifest
from schemas.promotion import ModelPromotion
from trainer import compare, evaluate, promote, publish
from trainer.compare import Comparison, Contender, Floors, Verdict
from trainer.depot import RegistryError
from trainer.lineage import Lineage
from trainer.promote import AnnounceError
from trainer.registry import AliasError, Registry
from trainer.settings import FLOORS
from trainer.stage import Done, Numbers

COMPARISON: Final = "comparison.json"
NOT_ASKED: Final = "not asked"
WITHDRAWN: Final = "withdrawn"  # the alias was rolled back from this very model


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; without a comparison there was no champion to compare with."""

    student: Done
    verdict: str
    """The gate's, or `WITHDRAWN`, or `NOT_ASKED`."""
    comparison: Comparison | None
    promotion: ModelPromotion | None = None
    untold: AnnounceError | None = None
    """Why Kafka was not told of the promotion; the alias has moved all the same."""


class Gate:
    """What stands between the candidate of a run and the alias that the workers follow."""

    def __init__(self, lineage: Lineage, connection: dict[str, Any]) -> None:
        """`connection` is for Kafka clients."""
        self.lineage = lineage
        self.options = lineage.options
        self.made: dict[str, Done] = {}
        """Its stages, by name, once they are done: of the candidate, or of what is adopted."""
        self._connection = connection

    @cached_property
    def champion(self) -> Path | None:
        """The folder of what the student is up against. Raises RegistryError, ModelError.

        Where the student serves already, since this run was killed or is done again, that is what
        served before it.
        """
        from worker import registry  # noqa: PLC0415

        store = Registry(self.options.registry, self.options.name)
        met = store.alias(self.options.alias)
        if met and met.version == self.version.version:
            met = store.previous(met)
        return registry.fetch(met).folder if met else None

    @cached_property
    def version(self) -> ModelManifest:
        """What the student is as a version of the registry. Raises RegistryError."""
        student = self.lineage.candidate
        return promote.state(
            self.published.folder / "model",
            self.options,
            made_at=student.manifest.finished_at,
            metrics=self.lineage.evaluated(student.folder / "model").manifest.numbers,
        )

    @cached_property
    def published(self) -> Done:
        """The student with its int8 graph. Raises ModelError, EngineError."""
        return self.shipped(self.lineage.candidate.folder / "model")

    def shipped(self, model: Path) -> Done:
        """A model's folder with its int8 graph. Raises ModelError, EngineError."""

        def make(folder: Path) -> Numbers:
            return publish.publish(model, folder, self.options)

        done = self.lineage.done("publish", {"model": model}, {"name", "max_length"}, make)
        self.made["publish"] = done
        if why := publish.lacking(done.folder / "model"):
            self.lineage.say(f"publish: {why}")
        return done

    def compare(self) -> Comparison | None:
        """The student against the champion; None where there is none yet."""
        champion = self.champion
        if champion is None:
            return None
        student = self.lineage.candidate.folder / "model"
        models = {"champion": champion, "student": student}
        evaluations = [self.lineage.evaluated(each).folder for each in models.values()]

        def make(folder: Path) -> Numbers:
            old, new = (evaluate.read(each)[1] for each in evaluations)
            texts = [row.text for row in self.lineage.sources.golden]
            speeds = evaluate.speeds(list(models.values()), texts, self.options)
            found = compare.compare(
                old.labels,
                Contender(old.probabilities, speeds[0]),
                Contender(new.probabilities, speeds[1]),
                Floors(**self.options.model_dump(include=FLOORS)),
                resamples=self.options.resamples,
                seed=self.options.seed,
            )
            compare.write(folder / COMPARISON, found)
            return {"macro_f1_difference": found.macro_f1.value, "detectable": found.detectable}

        # With the evaluations: another golden set may tell the same two models apart otherwise.
        inputs = models | {
            f"{name}, evaluated": each for name, each in zip(models, evaluations, strict=True)
        }
        done = self.lineage.done("compare", inputs, FLOORS | {"resamples"}, make)
        self.made["compare"] = done
        return compare.read(done.folder / COMPARISON)

    def ask(self) -> Outcome:
        """What the gate says, and nothing more. Raises RegistryError."""
        comparison = self.compare()
        verdict = comparison.verdict if comparison else NOT_ASKED
        return Outcome(self.lineage.candidate, verdict, comparison)

    def promote(self) -> Outcome:
        """Compare, and move the alias if that says so. Raises RegistryError."""
        student, stated, alias = self.lineage.candidate, self.version, self.options.alias
        store = Registry(self.options.registry, self.options.name)
        standing = store.alias(alias)
        if standing and standing.version == stated.version:
            promote.mend(self.published.folder / "model", stated, self.options)
            self.lineage.say(f"promote: {standing.version} serves already")
            comparison = self.compare()
            verdict = comparison.verdict if comparison else "promote"
            return Outcome(student, verdict, comparison, standing, self._announce(standing))
        comparison = self.compare()
        if comparison:
            self.lineage.say(compare.describe(comparison))
        if left := store.withdrawn_as(alias, stated):
            self.lineage.say(
                f"promote: {alias} was rolled back from {left}, so it stays where it is; "
                f"`rollback {left}` points it there again"
            )
            return Outcome(student, WITHDRAWN, comparison)
        verdict = comparison.verdict if comparison else self._without_champion(store, student)
        if verdict != "promote":
            return Outcome(student, verdict, comparison)
        expected = standing.version if standing else None
        model = self.published.folder / "model"
        promotion = promote.promote(model, stated, self.options, expected=expected)
        self.lineage.say(f"promote: {alias} is {promotion.version} now")
        return Outcome(student, verdict, comparison, promotion, self._announce(promotion))

    def _without_champion(self, store: Registry, student: Done) -> Verdict:
        """The verdict where there is nothing to compare with. Raises RegistryError."""
        alias, others = self.options.alias, {*store.versions.names()} - {self.version.version}
        if others and not store.aliases():
            raise RegistryError(
                f"{alias} points at nothing, but {', '.join(sorted(others))} stands in the "
                "registry: is its alias lost? `rollback VERSION` points it at one of them"
            )
        _, measured = evaluate.read(self.lineage.evaluated(student.folder / "model").folder)
        resamples, seed = self.options.resamples, self.options.seed
        first = compare.first(measured.labels, measured.probabilities, resamples, seed)
        self.lineage.say(f"promote: there is no champion to compare with; {first.reason}")
        return first.verdict

    def adopt(self, spec: str) -> ModelPromotion:
        """Make a model that serves already the first champion, which students have to beat.

        `spec` is a folder or a hub id. Raises RegistryError, AnnounceError, and what the stages do.
        """
        from worker import registry  # noqa: PLC0415

        store = Registry(self.options.registry, self.options.name)
        standing = store.alias(self.options.alias, mending=True)
        if standing:
            raise RegistryError(
                f"{standing.alias} points at {standing.version} already: what follows it has to "
                "pass the gate (`promote`), or was there before (`rollback VERSION`)"
            )
        replaced = _replaced(store, self.options.alias)
        model = registry.resolve(spec).folder
        measured = self.lineage.evaluated(model)
        shipped = self.shipped(model).folder / "model"
        made_at = measured.manifest.finished_at
        stated = promote.state(
            shipped, self.options, made_at=made_at, metrics=measured.manifest.numbers, parent=spec
        )
        promotion = promote.promote(shipped, stated, self.options, expected=None)
        if replaced:
            print(f"adopt: {replaced}", file=sys.stderr)  # noqa: T201  (a warning)
        self.lineage.say(f"adopt: {self.options.alias} is {promotion.version} now")
        self._tell(promotion)
        return promotion

    def rollback(self, version: str | None) -> ModelPromotion:
        """Move the alias back, and tell. Raises RegistryError, AnnounceError."""
        alias = self.options.alias
        store = Registry(self.options.registry, self.options.name)
        before = store.alias(alias, mending=version is not None)
        promotion = promote.rollback(self.options, version)
        there = f"rollback: {alias} is {promotion.version}"
        if before and before.version == promotion.version:
            left = promotion.previous_version or "what was before"
            self.lineage.say(
                f"{there} and stays there: {left} was rolled back from; `rollback VERSION` names "
                "another"
            )
        else:
            self.lineage.say(f"{there} now")
        self._tell(promotion)
        return promotion

    def _announce(self, promotion: ModelPromotion) -> AnnounceError | None:
        try:
            self._tell(promotion)
        except AnnounceError as error:
            return error
        return None

    def _tell(self, promotion: ModelPromotion) -> None:
        if self.options.announce:
            promote.announce(promotion, self._connection, self.options)


def _replaced(store: Registry, alias: str) -> str | None:
    """What is lost for good where `alias` is pointed at a first version. Raises RegistryError."""
    try:
        store.alias(alias)
    except AliasError:
        return f"what stood in the place of {alias} was no ModelPromotion; it was written anew"
    versions = store.versions.names()
    if versions and not store.aliases():
        known = ", ".join(versions)
        return f"{alias} pointed at nothing, though {known} stands in the registry; it was lost"
    return None
