"""The gate: the student meets the champion, and where it is better the alias moves to it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from schemas.manifest import ModelManifest
from schemas.promotion import ModelPromotion
from trainer import compare, evaluate, promote
from trainer.compare import Comparison, Contender, Floors
from trainer.lineage import Lineage
from trainer.registry import Registry
from trainer.settings import FLOORS
from trainer.stage import Done, Numbers

COMPARISON: Final = "comparison.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; without a comparison there was no champion to compare with."""

    student: Done
    comparison: Comparison | None
    promotion: ModelPromotion | None

    @property
    def verdict(self) -> str:
        """The gate's; `promote` where there was no champion."""
        if self.comparison:
            return self.comparison.verdict
        return "promote" if self.promotion else "not asked"


class Gate:
    """What stands between the candidate of a run and the alias that the workers follow."""

    def __init__(self, lineage: Lineage, connection: dict[str, Any]) -> None:
        """`connection` is for Kafka clients."""
        self.lineage = lineage
        self.options = lineage.options
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
            self.published(student).folder / "model",
            self.options,
            made_at=student.manifest.finished_at,
            metrics=self.lineage.evaluated(student.folder / "model").manifest.numbers,
        )

    def published(self, student: Done) -> Done:
        """A student with its int8 graph. Raises ModelError, EngineError."""
        from trainer.publish import publish  # noqa: PLC0415  (lazy: brings the classifier)

        model = student.folder / "model"

        def make(folder: Path) -> Numbers:
            return publish(model, folder, self.options)

        return self.lineage.done("publish", {"model": model}, {"name", "max_length"}, make)

    def compare(self) -> Comparison | None:
        """The student against the champion; None where there is none yet."""
        champion = self.champion
        if champion is None:
            return None
        student = self.lineage.candidate.folder / "model"
        models = {"champion": champion, "student": student}
        evaluations = {name: self.lineage.evaluated(each).folder for name, each in models.items()}

        def make(folder: Path) -> Numbers:
            old, new = (evaluate.read(each)[1] for each in evaluations.values())
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

        done = self.lineage.done("compare", evaluations | models, FLOORS | {"resamples"}, make)
        return compare.read(done.folder / COMPARISON)

    def promote(self) -> Outcome:
        """Compare, and move the alias if that says so. Raises RegistryError, AnnounceError."""
        student, stated = self.lineage.candidate, self.version
        standing = Registry(self.options.registry, self.options.name).alias(self.options.alias)
        if standing and standing.version == stated.version:
            self.lineage.say(f"promote: {standing.version} serves already")
            self._announce(standing)
            return Outcome(student, self.compare(), standing)
        comparison = self.compare()
        if comparison:
            self.lineage.say(compare.describe(comparison))
            if comparison.verdict != "promote":
                return Outcome(student, comparison, None)
        expected = standing.version if standing else None
        model = self.published(student).folder / "model"
        promotion = promote.promote(model, stated, self.options, expected=expected)
        self.lineage.say(f"promote: {self.options.alias} is {promotion.version} now")
        self._announce(promotion)
        return Outcome(student, comparison, promotion)

    def rollback(self, version: str | None) -> ModelPromotion:
        """Move the alias back, and tell. Raises RegistryError, AnnounceError."""
        promotion = promote.rollback(self.options, version)
        self.lineage.say(f"rollback: {self.options.alias} is {promotion.version} now")
        self._announce(promotion)
        return promotion

    def _announce(self, promotion: ModelPromotion) -> None:
        if self.options.announce:
            promote.announce(promotion, self._connection, self.options)
