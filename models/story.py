"""teachers → opinions → selection → students → figures → the model's folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models import choose, corpus, figures, ground, ship, teachers
from models.ground import Ground
from models.pretrain import Schedule
from trainer import dataset, pseudo_label, select, teach
from trainer.choose import read_examples
from trainer.job import Job
from trainer.select import Example
from trainer.settings import FIT
from trainer.stage import Done, Numbers

SEEDS: Final = (7, 8)  # a teacher each
ARMS: Final = ("none", "soft", "seed")
TEACHER: Final = {"epochs": 6, "batch_size": 64, "teacher_learning_rate": 3e-4}
STUDENT: Final = {"epochs": 8, "batch_size": 128, "teacher_learning_rate": 5e-4}  # more rows
ADAPTING: Final = Schedule(steps=1000, peak=6e-4)


@dataclass(frozen=True, slots=True)
class Story:
    """The stages in their order; each returns what it left."""

    ground: Ground
    arms: Sequence[str] = ARMS

    def teacher(self, seed: int) -> Done:
        """The base, fitted to the labels of people."""

        def rows() -> list[Example]:
            train, _ = self.ground.people()
            return select.human(train)

        return self._fitted("teach", rows, {}, TEACHER, seed)

    def opinions(self) -> list[Done]:
        """What each teacher says of the texts without label; TF-IDF is one of them."""
        texts = self.ground.labels().folder / "texts.parquet"
        found = []
        for seed in SEEDS:
            model = self.teacher(seed).folder / "model"

            def make(folder: Path, model: Path = model) -> Numbers:
                rows = dataset.read_texts(texts)
                return pseudo_label.pseudo_label(rows, model, folder, self.ground.options)

            inputs = {"teacher": model, "texts": texts}
            found.append(self.ground.done("pseudo-label", inputs, {}, make, seed=seed))
        return found

    def plain(self) -> Done:
        """TF-IDF and logistic regression: one more teacher, and the baseline to beat."""

        def make(folder: Path) -> Numbers:
            train, held_out = self.ground.people()
            return teachers.plain(train, held_out, folder)

        inputs = {"labelled": self.ground.labels().folder / "labelled.parquet"}
        return self.ground.done("tf-idf", inputs, {}, make)

    def selected(self) -> Done:
        """The teachers together, and what of their opinion is believed, by each policy."""
        options = self.ground.options
        opinions = self.opinions()

        def make(folder: Path) -> Numbers:
            train, held_out = self.ground.people()
            models = [self.teacher(seed).folder / "model" for seed in SEEDS]
            said = [each.folder / pseudo_label.FILE for each in opinions]
            together = teachers.together(models, self.plain().folder, said, held_out, options)
            return choose.choose(together, train, folder, options)

        inputs = {f"opinion {n}": each.folder for n, each in enumerate(opinions)}
        inputs |= {"tf-idf": self.plain().folder, "labels": self.ground.labels().folder}
        stated = options.model_dump(include={"min_confidence", "min_margin", "human_share"})
        stated |= {"none": True}  # among what is written
        return self.ground.done("select", inputs, stated, make)

    def student(self, arm: str) -> Done:
        """The base, fitted to one selection; `none`: to the labels of people and nothing else."""
        chosen = self.selected().folder / f"{arm}.parquet"

        def rows() -> list[Example]:
            return read_examples(chosen)

        return self._fitted("finetune", rows, {"selected": chosen}, STUDENT, SEEDS[0])

    def figures(self) -> Done:
        """Every arm and the baseline, on chat and comments that nobody was fitted to."""
        students = {arm: self.student(arm).folder / "model" for arm in self.arms}
        labels, plain = self.ground.labels().folder, self.plain().folder

        def make(folder: Path) -> Numbers:
            _, held_out = self.ground.people()
            sets = {
                "chat": [row for row in held_out if not row.id.startswith(corpus.COMMENT)],
                "comments": dataset.read_labelled(labels / "comments.parquet"),
            }
            return figures.write(folder, students, plain, sets, self.ground.options)

        return self.ground.done(
            "figures", {**students, "tf-idf": plain, "labels": labels}, {"ablation": True}, make
        )

    def ship(self, out: Path) -> None:
        """The student that does best on held-out chat, as the bundled model."""
        _, held_out = self.ground.people()
        figures = self.figures()
        arm = max(self.arms, key=lambda each: figures.manifest.numbers[f"{each} on chat"])
        made = ship.Made(
            arm, self.student(arm).folder / "model", self.plain().folder, figures.folder, held_out
        )
        told = {
            "reviews": f"{ground.REVIEWS:,}",
            "spliced": f"{ground.SPLICED:,}",
            "pieces": f"{ground.PIECES:,}",
            "steps": f"{self.ground.schedule.steps:,}",
            "adapting": f"{self.ground.adapting.steps:,}",
        }
        ship.write(out, made, told, self.ground.options)

    def _fitted(
        self,
        name: str,
        rows: Callable[[], list[Example]],
        chosen: Mapping[str, Path],
        how: Mapping[str, float],
        seed: int,
    ) -> Done:
        """The adapted base, fitted to `rows`; `chosen` is the file that they come from."""
        start = self.ground.adapted().folder / "model"
        labelled = self.ground.labels().folder / "labelled.parquet"

        def make(folder: Path) -> Numbers:
            _, held_out = self.ground.people()
            options = self.ground.options.model_copy(update={"seed": seed, **how})
            rate = options.teacher_learning_rate
            return teach.fitted(
                Job(str(start), rows(), select.human(held_out), options, rate), folder
            )

        inputs = {"adapted": start, "labelled": labelled, **chosen}
        stated = self.ground.options.model_dump(
            mode="json", include={"teacher_learning_rate", *FIT}
        )
        return self.ground.done(name, inputs, stated | dict(how), make, seed=seed)
