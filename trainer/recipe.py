"""The story: collect → teach → pseudo-label → select → fine-tune → evaluate → promote.

Each step is a stage on files and is skipped when its inputs are unchanged, so a run that was
killed goes on where it was, and a command of its own redoes no more than it must.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from schemas.manifest import ModelManifest
from schemas.promotion import ModelPromotion
from trainer import collect, compare, dataset, evaluate, facts, history, promote, report, stage
from trainer.collect import Waiting
from trainer.compare import Comparison, Contender, Floors
from trainer.evaluate import Evaluation
from trainer.history import Run
from trainer.pseudo_label import FILE as PSEUDO
from trainer.registry import Registry
from trainer.settings import FIT, FLOORS, SELECT, TrainerSettings
from trainer.sources import Sources
from trainer.split import split
from trainer.stage import Done, Numbers

Say = Callable[[str], None]
Selection = Literal["none", "seed", "calibrated"]

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


class Recipe:
    """The stages of one run, each found or done when it is first asked for."""

    def __init__(self, options: TrainerSettings, say: Say, connection: dict[str, Any]) -> None:
        """`say` takes one line a stage; `connection` is for Kafka clients."""
        self.options = options
        self.sources = Sources(options)
        self.say = say
        self._connection = connection
        self._said: set[tuple[Path, str]] = set()  # each stage is told once

    def run(self, *, collecting: bool, promoting: bool) -> Outcome | Waiting:
        """One whole retraining. Raises what the stages raise; nothing is promoted then."""
        if collecting and not self.sources.snapshots:
            collected = self.collect()
            if isinstance(collected, Waiting):
                return collected
        outcome = self._gate(promoting=promoting)
        facts.write(self.options.work, facts.gather(self, outcome, self.champion))
        self._remember(outcome)
        self.report()
        return outcome

    @property
    def selection(self) -> Selection:
        """The policy whose student is put to the gate."""
        return self.options.selection

    @property
    def _fit(self) -> set[str]:
        """What decides a fit. One process is how fits were made before they could be shared."""
        return FIT if self.options.processes == 1 else {*FIT, "processes"}

    def _gate(self, *, promoting: bool) -> Outcome:
        if promoting:
            return self.promote()
        return Outcome(self.student(self.selection), self.compare(), None)

    def collect(self) -> Done | Waiting:
        """The review topic → a snapshot. Raises CollectError."""
        done = collect.collect(self._connection, self.options, history.snapshots(self.options.work))
        self.sources = Sources(self.options)
        if isinstance(done, Waiting):
            least = self.options.min_samples
            self.say(f"collect: {done.count} samples wait, {least} are needed; nothing consumed")
            return done
        return self._told(done)

    @cached_property
    def teacher(self) -> Done:
        """Labelled data → a teacher. Raises LeakageError, DataError, FitError, StageError."""
        from trainer.teach import teach  # noqa: PLC0415  (lazy: brings torch)

        def make(folder: Path) -> Numbers:
            return teach(self.sources.labelled, self.sources.golden, folder, self.options)

        inputs = self.sources.labels | _model("start", self.options.teacher)
        settings = {"teacher", "teacher_learning_rate", *self._fit}
        return self._stage("teach", inputs, settings, make)

    @cached_property
    def pseudo(self) -> Done:
        """The teacher's opinion of everything unlabelled. Raises what `pseudo_label` raises."""
        from trainer.pseudo_label import pseudo_label  # noqa: PLC0415  (lazy: brings torch)

        def make(folder: Path) -> Numbers:
            model = self.teacher.folder / "model"
            return pseudo_label(self.sources.texts(), model, folder, self.options)

        inputs = {
            "teacher": self.teacher.folder,
            "golden": self.options.golden,
            **self.sources.streams,
        }
        return self._stage("pseudo-label", inputs | self.sources.streams, {"max_length"}, make)

    @cached_property
    def selected(self) -> Done:
        """What to train on, by each policy. Raises DataError."""
        from trainer.choose import choose  # noqa: PLC0415  (lazy: brings the classifier)

        def make(folder: Path) -> Numbers:
            people, held_out = split(
                self.sources.labelled, self.options.validation_share, self.options.seed
            )
            return choose(
                dataset.read_pseudo(self.pseudo.folder / PSEUDO),
                people,
                held_out,
                replayed={row.id for row in self.sources.replay()},
                samples=self.sources.samples(),
                teacher=self.teacher.folder / "model",
                folder=folder,
                options=self.options,
            )

        inputs = {"pseudo": self.pseudo.folder, "teacher": self.teacher.folder}
        return self._stage(
            "select", inputs | self.sources.labels | self.sources.streams, SELECT, make
        )

    def student(self, selection: Selection) -> Done:
        """A student of one selection. Raises LeakageError, DataError, FitError."""
        from trainer.choose import read_examples  # noqa: PLC0415  (lazy)
        from trainer.finetune import finetune  # noqa: PLC0415  (lazy: brings torch)

        selected = self.selected.folder / f"{selection}.parquet"

        def make(folder: Path) -> Numbers:
            rows = read_examples(selected)
            return finetune(
                self.options.student,
                rows,
                self.sources.labelled,
                self.sources.golden,
                folder,
                options=self.options,
            )

        inputs = (
            self.sources.labels | {"selected": selected} | _model("start", self.options.student)
        )
        settings = {"student", "student_learning_rate", *self._fit}
        return self._stage("finetune", inputs, settings, make, note=selection)

    def evaluated(self, model: Path) -> Done:
        """A model on the golden set. Raises what `evaluate` raises."""

        def make(folder: Path) -> Numbers:
            return evaluate.evaluate(model, self.options.golden, folder, self.options)

        inputs = {"model": model, "golden": self.options.golden}
        return self._stage("evaluate", inputs, {"max_length", "resamples"}, make)

    def compare(self) -> Comparison | None:
        """The student against the champion; None where there is none yet."""
        champion = self.champion
        if champion is None:
            return None
        student = self.student(self.selection).folder / "model"
        models = {"champion": champion, "student": student}
        evaluations = {name: self.evaluated(model).folder for name, model in models.items()}

        def make(folder: Path) -> Numbers:
            old, new = (evaluate.read(each)[1] for each in evaluations.values())
            texts = [row.text for row in self.sources.golden]
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

        done = self._stage("compare", evaluations | models, FLOORS | {"resamples"}, make)
        return compare.read(done.folder / COMPARISON)

    def published(self, student: Done) -> Done:
        """A student with its int8 graph. Raises ModelError, EngineError."""
        from trainer.publish import publish  # noqa: PLC0415  (lazy: brings the classifier)

        model = student.folder / "model"

        def make(folder: Path) -> Numbers:
            return publish(model, folder, self.options)

        return self._stage("publish", {"model": model}, {"name", "max_length"}, make)

    def measured(self, model: Path) -> Evaluation:
        """A model's figures on the golden set."""
        return evaluate.read(self.evaluated(model).folder)[0]

    def rollback(self, version: str | None) -> ModelPromotion:
        """Move the alias back, and tell. Raises RegistryError, AnnounceError."""
        promotion = promote.rollback(self.options, version)
        self.say(f"rollback: {self.options.alias} is {promotion.version} now")
        self._announce(promotion)
        return promotion

    def report(self) -> Path:
        """Render what the last run left. Raises DataError."""
        folder = report.render_last(self.options.work)
        self.say(f"report: {folder / report.HTML}")
        return folder

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
        student = self.student(self.selection)
        return promote.state(
            self.published(student).folder / "model",
            self.options,
            made_at=student.manifest.finished_at,
            metrics=self.evaluated(student.folder / "model").manifest.numbers,
        )

    def promote(self) -> Outcome:
        """Ask the gate, and move the alias if it says so. Raises RegistryError, AnnounceError."""
        student, stated = self.student(self.selection), self.version
        standing = Registry(self.options.registry, self.options.name).alias(self.options.alias)
        if standing and standing.version == stated.version:
            self.say(f"promote: {standing.version} serves already")
            self._announce(standing)
            return Outcome(student, self.compare(), standing)
        comparison = self.compare()
        if comparison:
            self.say(compare.describe(comparison))
            if comparison.verdict != "promote":
                return Outcome(student, comparison, None)
        expected = standing.version if standing else None
        model = self.published(student).folder / "model"
        promotion = promote.promote(model, stated, self.options, expected=expected)
        self.say(f"promote: {self.options.alias} is {promotion.version} now")
        self._announce(promotion)
        return Outcome(student, comparison, promotion)

    def opinions(self) -> dict[str, str]:
        """What the newest teacher said of the samples: id → emotion; empty before there is one."""
        done = [
            (manifest.finished_at, folder)
            for folder in (self.options.work / "pseudo-label").glob("[!.]*")
            if (manifest := stage.read(folder))
        ]
        if not done:
            return {}
        rows = dataset.read_pseudo(max(done)[1] / PSEUDO)
        return {row.id: row.pred_emotion for row in rows}

    def _stage(
        self,
        name: str,
        inputs: dict[str, Path],
        settings: set[str],
        make: Callable[[Path], Numbers],
        note: str = "",
    ) -> Done:
        stated = self.options.model_dump(mode="json", include=settings)
        done = stage.run(self.options.work, name, inputs, stated, make, seed=self.options.seed)
        return self._told(done, note)

    def _told(self, done: Done, note: str = "") -> Done:
        state = "unchanged, skipped" if done.skipped else stage.told(done.manifest.numbers)
        kind = f" ({note})" if note else ""
        if (done.folder, note) not in self._said:
            self._said.add((done.folder, note))
            self.say(f"{done.manifest.stage}{kind}: {state} → {done.folder}")
        return done

    def _announce(self, promotion: ModelPromotion) -> None:
        if self.options.announce:
            promote.announce(promotion, self._connection, self.options)

    def _remember(self, outcome: Outcome) -> None:
        selected = self.selected.folder / f"{self.selection}.parquet"
        history.add(
            self.options.work,
            Run(
                snapshots=[each.name for each in self.sources.snapshots],
                selected=selected.relative_to(self.options.work).as_posix(),
                student=outcome.student.folder.relative_to(self.options.work).as_posix(),
                verdict=outcome.verdict,
                version=outcome.promotion.version if outcome.promotion else None,
            ),
        )


def _model(name: str, spec: str) -> dict[str, Path]:
    """A model's folder as an input; a hub id is a setting."""
    folder = Path(spec).expanduser()
    return {name: folder} if folder.is_dir() else {}
