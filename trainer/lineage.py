"""What a run makes, each from what was made before: teacher, pseudo-labels, selection, students.

Each is a stage on files (see `trainer.stage`), found or done when it is first asked for.
"""

from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Final, Literal

from trainer import dataset, evaluate, stage
from trainer.evaluate import Evaluation
from trainer.pseudo_label import FILE as PSEUDO
from trainer.pseudo_label import pseudo_label
from trainer.settings import FIT, SELECT, TrainerSettings
from trainer.sources import NOTHING, Given, Sources
from trainer.split import split
from trainer.stage import Done, Numbers
from worker import hub

LEFT_OUT: Final = "golden_left_out"  # a stage's number: what the firewall kept from it

Say = Callable[[str], None]
Selection = Literal["none", "seed", "calibrated"]


class Lineage:
    """The stages of one run, told of in a line each."""

    def __init__(self, options: TrainerSettings, say: Say, given: Given = NOTHING) -> None:
        """`say` takes one line a stage; `given` files stand in for what it would read."""
        self.options = options
        self.given = given
        self.sources = Sources(options, given)
        self.say = say
        self.used: set[Path] = set()  # the folders of stages, made or found made
        self._commit = cache(hub.commit)  # the same for all of a run
        self._said: set[tuple[Path, str]] = set()  # each stage is told once

    @cached_property
    def teacher(self) -> Done:
        """Labelled data → a teacher. Raises LeakageError, DataError, FitError, StageError."""
        from trainer.teach import teach  # noqa: PLC0415  (lazy: brings torch)

        commit = self._commit(self.options.teacher)

        def make(folder: Path) -> Numbers:
            labelled, golden = self.sources.labelled, self.sources.golden
            numbers = teach(labelled, golden, folder, self.options, commit)
            return numbers | {LEFT_OUT: len(self.sources.reviewed) - len(self.sources.free)}

        inputs = self.sources.labels | _model("start", self.options.teacher)
        settings = {"teacher", "teacher_learning_rate", *self._fit}
        return self.done("teach", inputs, settings, make, commit=commit)

    @cached_property
    def pseudo(self) -> Done:
        """The teacher's opinion of everything unlabelled. Raises what `pseudo_label` raises."""

        def make(folder: Path) -> Numbers:
            texts = self.sources.texts()
            numbers = pseudo_label(texts, self._teachers_model, folder, self.options)
            return numbers | {LEFT_OUT: len(self.sources.stream) - len(texts)}

        inputs = {"teacher": self._teachers_folder, "golden": self.options.golden}
        return self.done("pseudo-label", inputs | self.sources.streams, {"max_length"}, make)

    @cached_property
    def selected(self) -> Done:
        """What to train on, by each policy. Raises LeakageError, DataError."""
        from trainer.choose import choose  # noqa: PLC0415  (lazy: brings the classifier)

        def make(folder: Path) -> Numbers:
            # The held-out ones decide temperature and thresholds.
            self.sources.firewall.check(self.sources.labelled)
            people, held_out = split(
                self.sources.labelled, self.options.validation_share, self.options.seed
            )
            rows = dataset.read_pseudo(self.given.pseudo or self.pseudo.folder / PSEUDO)
            # What the stage before left has no golden text; of a file of other making who knows.
            free = self.sources.firewall.without(rows) if self.given.pseudo else rows
            numbers = choose(
                free,
                people,
                held_out,
                replayed=self.sources.replayed_ids(),
                samples=self.sources.samples(),
                teacher=self._teachers_model,
                folder=folder,
                options=self.options,
            )
            return numbers | {LEFT_OUT: len(rows) - len(free)}

        inputs = {
            "pseudo": self.given.pseudo or self.pseudo.folder,
            "teacher": self._teachers_folder,
        }
        return self.done(
            "select", inputs | self.sources.labels | self.sources.streams, SELECT, make
        )

    def selection(self, name: Selection) -> Path:
        """The training set that a policy chose, or the one that is given."""
        return self.given.training or self.selected.folder / f"{name}.parquet"

    def student(self, name: Selection) -> Done:
        """A student of one selection. Raises LeakageError, DataError, FitError."""
        from trainer.choose import read_examples  # noqa: PLC0415  (lazy)
        from trainer.finetune import finetune  # noqa: PLC0415  (lazy: brings torch)

        selected, commit = self.selection(name), self._commit(self.options.student)

        def make(folder: Path) -> Numbers:
            return finetune(
                read_examples(selected),
                self.sources.labelled,
                self.sources.golden,
                folder,
                self.options,
                commit,
            )

        inputs = self.sources.labels | {"selected": selected}
        inputs |= _model("start", self.options.student)
        settings = {"student", "student_learning_rate", "settle_weights", *self._fit}
        note = "given" if self.given.training else name
        return self.done("finetune", inputs, settings, make, note=note, commit=commit)

    @cached_property
    def candidate(self) -> Done:
        """The student that is put to the gate."""
        return self.student(self.options.selection)

    def evaluated(self, model: Path) -> Done:
        """A model on the golden set. Raises what `evaluate` raises."""

        def make(folder: Path) -> Numbers:
            return evaluate.evaluate(model, self.options.golden, folder, self.options)

        inputs = {"model": model, "golden": self.options.golden}
        # Evaluations without precision and recall of the classes are made again.
        return self.done("evaluate", inputs, {"max_length", "resamples"}, make, classes=True)

    def measured(self, model: Path) -> Evaluation:
        """A model's figures on the golden set."""
        return evaluate.read(self.evaluated(model).folder)[0]

    def done(
        self,
        name: str,
        inputs: dict[str, Path],
        settings: set[str],
        make: Callable[[Path], Numbers],
        note: str = "",
        **others: stage.Setting,
    ) -> Done:
        """A stage of this run: `settings` are the names of those that decide what it makes.

        So do `others`, which are none of the options; what is None is not stated.
        """
        stated = self.options.model_dump(mode="json", include=settings)
        stated |= {key: each for key, each in others.items() if each is not None}
        done = stage.run(self.options.work, name, inputs, stated, make, seed=self.options.seed)
        self.used.add(done.folder)
        return self.told(done, note)

    def told(self, done: Done, note: str = "") -> Done:
        """Say what a stage has to tell; `note` says which of several it is."""
        state = "unchanged, skipped" if done.skipped else stage.told(done.manifest.numbers)
        kind = f" ({note})" if note else ""
        if (done.folder, note) not in self._said:
            self._said.add((done.folder, note))
            self.say(f"{done.manifest.stage}{kind}: {state} → {done.folder}")
        return done

    @property
    def _teachers_folder(self) -> Path:
        """Where the teacher is, as an input of a stage."""
        return self.given.teacher or self.teacher.folder

    @property
    def _teachers_model(self) -> Path:
        return self.given.teacher or self.teacher.folder / "model"

    @property
    def _fit(self) -> set[str]:
        """What decides a fit. One process is how fits were made before they could be shared."""
        return FIT if self.options.processes == 1 else {*FIT, "processes"}


def _model(name: str, spec: str) -> dict[str, Path]:
    """A model's folder as an input; a hub id is a setting, and so is its commit."""
    folder = hub.folder(spec)
    return {name: folder} if folder else {}
