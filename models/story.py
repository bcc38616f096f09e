"""teachers → opinions → selection → students → figures → the model's folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models import choose, figures, lesson, plain, readers, ship, teachers
from models.ground import Ground
from models.lesson import Lesson, Rows
from trainer import dataset, pseudo_label
from trainer.choose import read_examples
from trainer.stage import Done, Numbers

SEEDS: Final = (7, 8)  # a teacher each
SETTLED: Final = "settled"
READ: Final = "read"
ARMS: Final = ("none", "soft", "seed", SETTLED, READ)


@dataclass(frozen=True, slots=True)
class Story:
    """The stages in their order; each returns what it left."""

    ground: Ground
    arms: Sequence[str] = ARMS

    def teacher(self, seed: int) -> Done:
        """The teacher's base, fitted to the labels of people, undecided ones among them."""
        scale = self.ground.scale
        start = self.ground.adapted(scale.teacher).folder / "model"
        taught = Lesson("teach", start, scale.teach, lesson.taught, {}, seed)
        return lesson.fitted(self.ground, taught)

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
            said = plain.said(folder, "held_out")
            return {"macro_f1": teachers.f1(said, teachers.indices(held_out))}

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
        scale, seed = self.ground.scale, SEEDS[0]
        if arm == SETTLED:
            start = self.student("soft").folder / "model"
            settling = Lesson("settle", start, scale.settle, lesson.certain, {}, seed)
            return lesson.half_way(self.ground, settling)
        if arm == READ:
            start, files = self.student(SETTLED).folder / "model", {"readers": self.ground.readers}
            reading = Lesson("read", start, scale.read, lesson.read, files, seed)
            return lesson.half_way(self.ground, reading)
        start = self.ground.adapted(scale.student).folder / "model"
        chosen = self.selected().folder / f"{arm}.parquet"

        def rows(ground: Ground) -> Rows:
            return read_examples(chosen), lesson.certain(ground)[1]

        tuning = Lesson("finetune", start, scale.finetune, rows, {"selected": chosen}, seed)
        return lesson.fitted(self.ground, tuning)

    def figures(self) -> Done:
        """Every arm and the baseline, on texts that nobody was fitted to."""
        students = {arm: self.student(arm).folder / "model" for arm in self.arms}
        simple = self.baseline().folder

        def make(folder: Path) -> Numbers:
            sets = figures.sets(self.ground)
            say = plain.load(simple)
            said = {name: say([row.text for row in rows]) for name, rows in sets.items()}
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
        ship.write(out, made, self.ground.scale, self.ground.options)
