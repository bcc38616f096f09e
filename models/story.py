"""teachers → opinions → selection → students → figures → the model's folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models import again, figures, lesson, plain, readers, ship, teachers
from models.ground import Ground
from models.lesson import Lesson, Rows
from models.opinion import Round
from trainer import predict
from trainer.choose import read_examples
from trainer.stage import Done, Numbers

SEEDS: Final = (7, 8)  # a teacher each
SETTLED: Final = "settled"
READ: Final = "read"
TOLD: Final = "told"
CUT: Final = "cut"
ARMS: Final = ("none", "soft", "seed", SETTLED, READ, TOLD, CUT)
ALL: Final = {READ, TOLD, CUT}  # those that learn from what readers said, too


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

    def first(self) -> Round:
        """Teachers that know what people said, of all texts without label."""
        labels = self.ground.labels().folder
        return Round(self.ground, lesson.taught, labels / "texts.parquet", {"labels": labels})

    def baseline(self) -> Done:
        """TF-IDF on all labels that a student of `arms` is fitted to: what that has to beat."""
        read = ALL & set(self.arms)
        return (again.second(self.ground) if read else self.first()).plain()

    def selected(self) -> Done:
        """What the teachers together say, and what of it is believed, by each policy."""
        models = [self.teacher(seed).folder / "model" for seed in SEEDS]
        return self.first().selected(models, SEEDS)

    def told(self) -> Done:
        """The same of the second round."""
        seeds = SEEDS[:1]
        models = [again.teacher(self.ground, seed).folder / "model" for seed in seeds]
        return again.second(self.ground).selected(models, seeds)

    def student(self, arm: str) -> Done:
        """The base, fitted to one selection; `none`: to the labels of people and nothing else.

        `settled`: half way from the `soft` one to what it becomes by a fit to certain labels.
        `read`: half way from that to what it becomes by a fit to these and to what readers said.
        `told`: half way from that to what it becomes by the second round's opinion and all labels.
        `cut`: the published encoder's lowest layers, fitted to the same.
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
        if arm in {TOLD, CUT}:
            return self._told(arm)
        start = self.ground.adapted(scale.student).folder / "model"
        chosen = self.selected().folder / f"{arm}.parquet"

        def rows(ground: Ground) -> Rows:
            return read_examples(chosen), lesson.certain(ground)[1]

        tuning = Lesson("finetune", start, scale.finetune, rows, {"selected": chosen}, seed)
        return lesson.fitted(self.ground, tuning)

    def _told(self, arm: str) -> Done:
        """What learns from the second round."""
        scale, seed = self.ground.scale, SEEDS[0]
        chosen = self.told().folder / "soft.parquet"

        def told(ground: Ground) -> Rows:
            return read_examples(chosen), lesson.read(ground)[1]

        def once(ground: Ground) -> Rows:
            """The labels as they are: how often each comes is for the scale to say."""
            known, held_out = lesson.read(ground)
            opinions = [row for row in read_examples(chosen) if row.origin != "human"]
            return [*known, *opinions], held_out

        files = {"selected": chosen, "readers": self.ground.readers}
        if arm == TOLD:
            start = self.student(READ).folder / "model"
            telling = Lesson("tell", start, scale.tell, told, files, seed)
            return lesson.half_way(self.ground, telling)
        start = again.lowest(self.ground).folder / "model"
        cutting = Lesson("finetune", start, scale.cut, once, files, seed)
        return lesson.fitted(self.ground, cutting)

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
        """The student that does best on the labels held out for stopping, as the bundled model."""
        figures = self.figures()
        _, held_out = self.ground.people()
        if ALL & set(self.arms):  # it is to hold on what people type, too
            held_out = [*held_out, *readers.first(self.ground.read()[1])]
        words, labels = [row.text for row in held_out], teachers.indices(held_out)
        models = {arm: self.student(arm).folder / "model" for arm in self.arms}
        options = self.ground.options
        reached = {
            arm: teachers.f1(predict.of(model, words, options), labels)
            for arm, model in models.items()
        }
        arm = max(self.arms, key=reached.__getitem__)
        student, simple = models[arm], self.baseline().folder
        made = ship.Made(arm, student, simple, figures.folder, held_out)
        ship.write(out, made, self.ground.scale, options)
