"""teachers → opinions → selection → students → figures → the model's folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models import choose, corpus, figures, plain, ship, teachers
from models.average import average
from models.ground import Ground
from models.scale import Fitting, Scale
from trainer import dataset, predict, pseudo_label, select, teach
from trainer.choose import read_examples
from trainer.job import Job
from trainer.scores import score
from trainer.select import Example
from trainer.settings import FIT
from trainer.stage import Done, Numbers

SEEDS: Final = (7, 8)  # a teacher each
SETTLED: Final = "settled"
ARMS: Final = ("none", "soft", "seed", SETTLED)


@dataclass(frozen=True, slots=True)
class Story:
    """The stages in their order; each returns what it left."""

    ground: Ground
    arms: Sequence[str] = ARMS

    def teacher(self, seed: int) -> Done:
        """The teacher's base, fitted to the labels of people, undecided ones among them."""
        scale = self.ground.scale
        start = self.ground.adapted(scale.teacher).folder / "model"
        return self._fitted("teach", start, scale.teach, self.ground.taught, {}, seed=seed)

    def opinion(self, seed: int) -> Done:
        """What a teacher says of the texts without label."""
        model, options = self.teacher(seed).folder / "model", self.ground.options
        texts = self.ground.labels().folder / "texts.parquet"

        def make(folder: Path) -> Numbers:
            return pseudo_label.pseudo_label(dataset.read_texts(texts), model, folder, options)

        inputs = {"teacher": model, "texts": texts}
        return self.ground.done("pseudo-label", inputs, {}, make, seed=seed)

    def plain(self) -> Done:
        """TF-IDF and logistic regression: one more teacher, and the baseline to beat."""
        labels = self.ground.labels().folder

        def make(folder: Path) -> Numbers:
            train, held_out = self.ground.people()
            plain.fit(train, folder)
            sets = {"held_out": [row.text for row in held_out]}
            for name in ("comments", "texts"):
                rows = dataset.read_texts(labels / f"{name}.parquet")
                sets[name] = [row.text for row in rows]
            plain.keep(folder, sets)
            found = plain.said(folder, "held_out").argmax(axis=1)
            return {"macro_f1": score(teachers.indices(held_out), found).macro_f1}

        return self.ground.done("tf-idf", {"labels": labels}, {}, make)

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
        """
        scale = self.ground.scale
        if arm == SETTLED:
            return self._settled(self.student("soft").folder / "model")
        start = self.ground.adapted(scale.student).folder / "model"
        chosen = self.selected().folder / f"{arm}.parquet"

        def rows() -> list[Example]:
            return read_examples(chosen)

        inputs = {"selected": chosen}
        return self._fitted("finetune", start, scale.finetune, rows, inputs, seed=SEEDS[0])

    def figures(self) -> Done:
        """Every arm and the baseline, on chat and comments that nobody was fitted to."""
        students = {arm: self.student(arm).folder / "model" for arm in self.arms}
        labels, simple = self.ground.labels().folder, self.plain().folder

        def make(folder: Path) -> Numbers:
            _, held_out = self.ground.people()
            chat = [not row.id.startswith(corpus.COMMENT) for row in held_out]
            sets = {
                "chat": [row for row, is_chat in zip(held_out, chat, strict=True) if is_chat],
                "comments": dataset.read_labelled(labels / "comments.parquet"),
            }
            said = {
                "chat": plain.said(simple, "held_out")[chat],
                "comments": plain.said(simple, "comments"),
            }
            return figures.write(folder, students, said, sets, self.ground.options)

        return self.ground.done(
            "figures", {**students, "tf-idf": simple, "labels": labels}, {"ablation": True}, make
        )

    def ship(self, out: Path) -> None:
        """The student that does best on held-out chat and comments, as the bundled model."""
        _, held_out = self.ground.people()
        figures = self.figures()
        arm = max(self.arms, key=lambda each: self.student(each).manifest.numbers["macro_f1"])
        made = ship.Made(
            arm, self.student(arm).folder / "model", self.plain().folder, figures.folder, held_out
        )
        told = told_of(self.ground.scale)
        ship.write(out, made, told, self.ground.options)

    def _settled(self, before: Path) -> Done:
        how = self.ground.scale.settle

        def rows() -> list[Example]:
            train, _ = self.ground.people()
            return select.human(train)

        after = self._fitted("settle", before, how, rows, {}, seed=SEEDS[0]).folder / "model"

        def make(folder: Path) -> Numbers:
            average(before, after, folder / "model")
            _, held_out = self.ground.people()
            words = [row.text for row in held_out]
            found = predict.of(folder / "model", words, self.ground.options).argmax(axis=1)
            return {"macro_f1": score(teachers.indices(held_out), found).macro_f1}

        return self.ground.done("average", {"before": before, "after": after}, {}, make)

    def _fitted(  # noqa: PLR0913  (what is fitted, how, and to what)
        self,
        name: str,
        start: Path,
        how: Fitting,
        rows: Callable[[], list[Example]],
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
            _, held_out = self.ground.people()
            train = [
                row
                for row in rows()
                for _ in range(how.comments if row.id.startswith(corpus.COMMENT) else 1)
            ]
            job = Job(str(start), train, select.human(held_out), options, how.learning_rate)
            return teach.fitted(job, folder)

        inputs = {"start": start, "labelled": labelled, **chosen}
        stated = options.model_dump(mode="json", include=FIT)
        stated |= {"learning_rate": how.learning_rate, "comments": how.comments}
        return self.ground.done(name, inputs, stated, make, seed=seed)


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
