"""teachers → opinions → selection → students → figures → the model's folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models import choose, corpus, figures, plain, readers, ship, teachers
from models.average import average
from models.ground import Ground
from models.scale import Fitting, Scale
from trainer import dataset, predict, pseudo_label, select, teach
from trainer.choose import read_examples
from trainer.dataset import Labelled
from trainer.job import Job
from trainer.scores import score
from trainer.select import Example
from trainer.settings import FIT
from trainer.stage import Done, Numbers

SEEDS: Final = (7, 8)  # a teacher each
SETTLED: Final = "settled"
READ: Final = "read"
ARMS: Final = ("none", "soft", "seed", SETTLED, READ)

Rows = tuple[list[Example], list[Example]]  # to learn from, and held out to stop by


@dataclass(frozen=True, slots=True)
class Story:
    """The stages in their order; each returns what it left."""

    ground: Ground
    arms: Sequence[str] = ARMS

    def teacher(self, seed: int) -> Done:
        """The teacher's base, fitted to the labels of people, undecided ones among them."""
        scale = self.ground.scale
        start = self.ground.adapted(scale.teacher).folder / "model"

        def rows() -> Rows:
            return self.ground.taught(), self._certain()[1]

        return self._fitted("teach", start, scale.teach, rows, {}, seed=seed)

    def opinion(self, seed: int) -> Done:
        """What a teacher says of the texts without label."""
        model, options = self.teacher(seed).folder / "model", self.ground.options
        texts = self.ground.labels().folder / "texts.parquet"

        def make(folder: Path) -> Numbers:
            return pseudo_label.pseudo_label(dataset.read_texts(texts), model, folder, options)

        inputs = {"teacher": model, "texts": texts}
        return self.ground.done("pseudo-label", inputs, {}, make, seed=seed)

    def plain(self) -> Done:
        """TF-IDF and logistic regression on the labels of people: one more teacher."""
        labels = self.ground.labels().folder

        def make(folder: Path) -> Numbers:
            train, held_out = self.ground.people()
            plain.fit(train, folder)
            texts = dataset.read_texts(labels / "texts.parquet")
            sets = {"held_out": [row.text for row in held_out]}
            plain.keep(folder, sets | {"texts": [row.text for row in texts]})
            found = plain.said(folder, "held_out").argmax(axis=1)
            return {"macro_f1": score(teachers.indices(held_out), found).macro_f1}

        return self.ground.done("tf-idf", {"labels": labels}, {}, make)

    def baseline(self) -> Done:
        """TF-IDF on all labels that a student of `arms` is fitted to: what that has to beat."""
        if READ not in self.arms:
            return self.plain()
        inputs = {"labels": self.ground.labels().folder, "readers": self.ground.readers}

        def make(folder: Path) -> Numbers:
            train, read = self.ground.people()[0], readers.first(self.ground.read()[0])
            plain.fit([*train, *read], folder)
            return {"labels": len(train) + len(read)}

        return self.ground.done("tf-idf", inputs, {}, make)

    def selected(self) -> Done:
        """The teachers together, and what of their opinion is believed, by each policy."""
        share = self.ground.scale.human_share
        options = self.ground.options.model_copy(update={"human_share": share})
        opinions = [self.opinion(seed) for seed in SEEDS]

        def make(folder: Path) -> Numbers:
            _, held_out = self.ground.people()
            models = [self.teacher(seed).folder / "model" for seed in SEEDS]
            said = [each.folder / pseudo_label.FILE for each in opinions]
            together = teachers.together(models, self.plain().folder, said, held_out, options)
            return choose.choose(together, self.ground.taught(), folder, options)

        inputs = {f"opinion {n}": each.folder for n, each in enumerate(opinions)}
        inputs |= {"tf-idf": self.plain().folder, "labels": self.ground.labels().folder}
        stated = options.model_dump(include={"min_confidence", "min_margin", "human_share"})
        stated |= {"none": True}  # among what is written
        return self.ground.done("select", inputs, stated, make)

    def student(self, arm: str) -> Done:
        """The base, fitted to one selection; `none`: to the labels of people and nothing else.

        `settled`: half way from the `soft` one to what it becomes by a fit to certain labels.
        `read`: half way from that to what it becomes by a fit to these and to what readers said.
        """
        scale = self.ground.scale
        if arm == SETTLED:
            return self._half_way("settle", self.student("soft"), scale.settle, self._certain, {})
        if arm == READ:
            inputs = {"readers": self.ground.readers}
            return self._half_way("read", self.student(SETTLED), scale.read, self._read, inputs)
        start = self.ground.adapted(scale.student).folder / "model"
        chosen = self.selected().folder / f"{arm}.parquet"

        def rows() -> Rows:
            return read_examples(chosen), self._certain()[1]

        inputs = {"selected": chosen}
        return self._fitted("finetune", start, scale.finetune, rows, inputs, seed=SEEDS[0])

    def figures(self) -> Done:
        """Every arm and the baseline, on texts that nobody was fitted to."""
        students = {arm: self.student(arm).folder / "model" for arm in self.arms}
        simple = self.baseline().folder

        def make(folder: Path) -> Numbers:
            sets = self._sets()
            said = {
                name: plain.say(simple, [row.text for row in rows]) for name, rows in sets.items()
            }
            return figures.write(folder, students, said, sets, self.ground.options)

        inputs = {**students, "tf-idf": simple, "labels": self.ground.labels().folder}
        inputs["readers"] = self.ground.readers
        return self.ground.done("figures", inputs, {"ablation": True}, make)

    def ship(self, out: Path) -> None:
        """The student that does best on held-out chat and comments, as the bundled model."""
        figures = self.figures()
        arm = max(self.arms, key=lambda each: self.student(each).manifest.numbers["macro_f1"])
        _, held_out = self.ground.people()
        if arm == READ:  # its confidence is to hold on what people type, too
            held_out = [*held_out, *readers.first(self.ground.read()[1])]
        student, simple = self.student(arm).folder / "model", self.baseline().folder
        made = ship.Made(arm, student, simple, figures.folder, held_out)
        told = told_of(self.ground.scale)
        ship.write(out, made, told, self.ground.options)

    def _sets(self) -> dict[str, list[Labelled]]:
        _, held_out = self.ground.people()
        read = readers.first(self.ground.read()[1])
        sets = {
            "chat": [row for row in held_out if not row.id.startswith(corpus.COMMENT)],
            "comments": dataset.read_labelled(self.ground.labels().folder / "comments.parquet"),
            "questions": [row for row in read if row.id.startswith(corpus.QUESTION)],
            "reviews": [row for row in read if not row.id.startswith(corpus.QUESTION)],
        }
        return {name: rows for name, rows in sets.items() if rows}

    def _certain(self) -> Rows:
        train, held_out = self.ground.people()
        return select.human(train), select.human(held_out)

    def _read(self) -> Rows:
        _, held_out = self._certain()
        read, unread = self.ground.read()
        return [*self.ground.taught(), *read], [*held_out, *unread]

    def _half_way(
        self,
        name: str,
        before: Done,
        how: Fitting,
        rows: Callable[[], Rows],
        chosen: Mapping[str, Path],
    ) -> Done:
        """The mean of `before` and of what it becomes by one more fit, the stage `name`."""
        start = before.folder / "model"
        after = self._fitted(name, start, how, rows, chosen, seed=SEEDS[0]).folder / "model"

        def make(folder: Path) -> Numbers:
            average(start, after, folder / "model")
            _, held_out = self.ground.people()
            words = [row.text for row in held_out]
            found = predict.of(folder / "model", words, self.ground.options).argmax(axis=1)
            return {"macro_f1": score(teachers.indices(held_out), found).macro_f1}

        return self.ground.done("average", {"before": start, "after": after}, {}, make)

    def _fitted(  # noqa: PLR0913  (what is fitted, how, and to what)
        self,
        name: str,
        start: Path,
        how: Fitting,
        rows: Callable[[], Rows],
        chosen: Mapping[str, Path],
        *,
        seed: int,
    ) -> Done:
        """The model in `start`, fitted to `rows`; `chosen` is the file that they come from."""
        labelled = self.ground.labels().folder / "labelled.parquet"
        options = self.ground.options.model_copy(
            update={"seed": seed, "epochs": how.epochs, "batch_size": how.batch_size}
        )

        def make(folder: Path) -> Numbers:
            kept, held_out = rows()
            train = [row for row in kept for _ in range(times(row, how))]
            job = Job(str(start), train, held_out, options, how.learning_rate)
            return teach.fitted(job, folder)

        inputs = {"start": start, "labelled": labelled, **chosen}
        stated = options.model_dump(mode="json", include=FIT)
        stated |= {"learning_rate": how.learning_rate}
        stated |= {"comments": how.comments, "undecided": how.undecided}
        return self.ground.done(name, inputs, stated, make, seed=seed)


def times(row: Example, how: Fitting) -> int:
    """How often `row` comes in an epoch."""
    if row.id.startswith(corpus.UNDECIDED):
        return how.undecided
    return how.comments if row.id.startswith(corpus.COMMENT) else 1


def told_of(scale: Scale) -> dict[str, str]:
    """What the card says of how the model was made."""
    teacher, student = scale.teacher, scale.student
    return {
        "reviews": f"{scale.reviews:,}",
        "spliced": f"{scale.spliced:,}",
        "pieces": f"{scale.pieces:,}",
        "steps": f"{student.pretraining.steps:,}",
        "tokens": f"{student.pretraining.tokens:,}",
        "adapting": f"{student.adapting.steps:,}",
        "start": "skip-gram vectors of them" if student.vectors else "nothing",
        "where": ", which takes hours on two CPU cores" if student.vectors else " on one GPU",
        "teacher": f"{teacher.shape.layers} layers of {teacher.shape.width}, pretrained alike for "
        f"{teacher.pretraining.steps:,} steps",
    }
