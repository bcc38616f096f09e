"""The bundled model, from public text and `data/train.tsv`: `python -m models DATA`.

base → labels → teachers → opinions → selection → students → figures → the model's folder. Each is a
stage as the trainer's are: skipped when its inputs are unchanged, and gone on with after a kill.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from models import corpus, figures, pretrain, ship, teachers
from models.corpus import Corpus
from models.pretrain import Schedule
from trainer import choose, dataset, problems, pseudo_label, select, stage, teach
from trainer.dataset import Labelled
from trainer.job import Job
from trainer.settings import DATA, FIT, TrainerSettings
from trainer.split import split
from trainer.stage import Done, Numbers

SEEDS: Final = (7, 8)  # a teacher each
ARMS: Final = ("none", "soft", "seed")
TEACHER: Final = {"epochs": 6, "batch_size": 64, "teacher_learning_rate": 3e-4}
STUDENT: Final = {"epochs": 8, "batch_size": 128, "teacher_learning_rate": 5e-4}  # more rows
ADAPTING: Final = Schedule(steps=1000, peak=6e-4)
SPLICED: Final = 60_000  # texts made of two labelled ones each
PIECES: Final = 20_000  # texts that are a few words of a labelled one
REVIEWS: Final = 20_000  # to be labelled by the teachers, beside all questions and answers
BUNDLED: Final = Path(__file__).resolve().parent / "maum-small"


@dataclass(frozen=True, slots=True)
class Story:
    """The stages in their order; each returns what it left."""

    data: Path
    work: Path
    options: TrainerSettings
    schedule: Schedule
    adapting: Schedule
    arms: Sequence[str] = ARMS

    def base(self) -> Done:
        """Public text → a pretrained model that knows no emotion yet."""

        def make(folder: Path) -> Numbers:
            texts = self._corpus().texts
            tokenizer = pretrain.vocabulary(texts, folder / "tokenizer.json")
            rows = pretrain.tokens(tokenizer, texts)
            embeddings = pretrain.vectors(rows, folder / "vectors.npy")
            model = pretrain.fresh(embeddings, self.schedule.seed)
            pretrain.masked_language(model, rows, folder, self.schedule, say)
            pretrain.save(model, tokenizer, folder / "model")
            (folder / pretrain.CHECKPOINT).unlink()
            return {"texts": len(texts), "tokens": sum(map(len, rows))}

        stated = {"shape": f"{pretrain.LAYERS}x{pretrain.WIDTH}", **asdict(self.schedule)}
        return self._done("base", self._files(), stated, make)

    def labels(self) -> Done:
        """What people labelled; comments that only score; texts without label."""

        def make(folder: Path) -> Numbers:
            public = self._corpus()
            chat = dataset.read_labelled(self.options.labelled)
            labelled = dataset.merge(chat, public.comments)
            train, _ = split(labelled, self.options.validation_share, self.options.seed)
            texts = [
                *teachers.some(public.reviews, REVIEWS),
                *public.questions,
                *public.answers,
                *teachers.spliced(train, SPLICED),
                *teachers.pieces(train, PIECES),
            ]
            for name, rows in {"labelled": labelled, "comments": public.held_out}.items():
                dataset.write_parquet(folder / f"{name}.parquet", [asdict(row) for row in rows])
            dataset.write_parquet(folder / "texts.parquet", [asdict(row) for row in texts])
            return {
                "labelled": len(labelled),
                "comments": len(public.held_out),
                "texts": len(texts),
            }

        inputs = self._files() | {"labelled": self.options.labelled}
        return self._done(
            "labels", inputs, {"reviews": REVIEWS, "spliced": SPLICED, "pieces": PIECES}, make
        )

    def adapted(self) -> Done:
        """The base, pretrained on a little more: chat and comments, as what it is to serve."""

        def make(folder: Path) -> Numbers:
            train, _ = self._people()
            public = self._corpus()
            near = [row.text for part in (train, public.questions, public.answers) for row in part]
            texts = near + [row.text for row in teachers.some(public.reviews, len(near))]
            tokenizer = pretrain.vocabulary(texts, self.base().folder / "tokenizer.json")
            model = pretrain.known(self.base().folder / "model")
            rows = pretrain.tokens(tokenizer, texts)
            pretrain.masked_language(model, rows, folder, self.adapting, say)
            pretrain.save(model, tokenizer, folder / "model")
            (folder / pretrain.CHECKPOINT).unlink(missing_ok=True)
            return {"texts": len(texts)}

        inputs = {"base": self.base().folder, "labels": self.labels().folder}
        return self._done("adapt", inputs, asdict(self.adapting), make)

    def teacher(self, seed: int) -> Done:
        """The base, fitted to the labels of people."""

        def make(folder: Path) -> Numbers:
            train, held_out = self._people()
            return self._fit(select.human(train), held_out, folder, seed, TEACHER)

        stated = self._fitting(TEACHER)
        return self._done("teach", self._start(), stated, make, seed=seed)

    def opinions(self) -> list[Done]:
        """What each teacher says of the texts without label; TF-IDF is one of them."""
        texts = self.labels().folder / "texts.parquet"
        found = []
        for seed in SEEDS:
            model = self.teacher(seed).folder / "model"

            def make(folder: Path, model: Path = model) -> Numbers:
                rows = dataset.read_texts(texts)
                return pseudo_label.pseudo_label(rows, model, folder, self.options)

            found.append(
                self._done("pseudo-label", {"teacher": model, "texts": texts}, {}, make, seed=seed)
            )
        return found

    def plain(self) -> Done:
        """TF-IDF and logistic regression: one more teacher, and the baseline to beat."""

        def make(folder: Path) -> Numbers:
            train, held_out = self._people()
            return teachers.plain(train, held_out, folder)

        inputs = {"labelled": self.labels().folder / "labelled.parquet"}
        return self._done("tf-idf", inputs, {}, make)

    def selected(self) -> Done:
        """The teachers together, and what of their opinion is believed, by each policy."""

        def make(folder: Path) -> Numbers:
            train, held_out = self._people()
            models = [self.teacher(seed).folder / "model" for seed in SEEDS]
            said = [each.folder / pseudo_label.FILE for each in opinions]
            together = teachers.together(models, self.plain().folder, said, held_out, self.options)
            human = select.human(train)
            seed_rows = select.seed_filter(
                together.rows, self.options.min_confidence, self.options.min_margin
            )
            sets = {
                "seed": [*human, *select.pseudo(seed_rows, "new", soft=False)],
                "soft": select.mix(
                    human,
                    [],
                    select.pseudo(together.rows, "new", soft=True),
                    human_share=self.options.human_share,
                    replay_share=0.0,
                    seed=self.options.seed,
                ),
            }
            for name, rows in sets.items():
                choose.write_examples(folder / f"{name}.parquet", rows)
            return {
                "offered": len(together.rows),
                "plain_weight": together.plain_weight,
                "seed_accepted": len(seed_rows),
                **together.numbers,
            }

        opinions = self.opinions()
        inputs = {f"opinion {n}": each.folder for n, each in enumerate(opinions)}
        inputs |= {"tf-idf": self.plain().folder, "labels": self.labels().folder}
        stated = self.options.model_dump(include={"min_confidence", "min_margin", "human_share"})
        return self._done("select", inputs, stated, make)

    def student(self, arm: str) -> Done:
        """The base, fitted to one selection; with no pseudo-labels that is the first teacher."""
        if arm == "none":
            return self.teacher(SEEDS[0])
        chosen = self.selected().folder / f"{arm}.parquet"

        def make(folder: Path) -> Numbers:
            _, held_out = self._people()
            rows = choose.read_examples(chosen)
            return self._fit(rows, held_out, folder, SEEDS[0], STUDENT)

        inputs = self._start() | {"selected": chosen}
        stated = self._fitting(STUDENT)
        return self._done("finetune", inputs, stated, make, seed=SEEDS[0])

    def figures(self) -> Done:
        """Every arm and the baseline, on chat and comments that nobody was fitted to."""
        students = {arm: self.student(arm).folder / "model" for arm in self.arms}

        def make(folder: Path) -> Numbers:
            _, held_out = self._people()
            sets = {
                "chat": [row for row in held_out if not row.id.startswith("kote")],
                "comments": dataset.read_labelled(self.labels().folder / "comments.parquet"),
            }
            return figures.write(folder, students, self.plain().folder, sets, self.options)

        inputs = {**students, "tf-idf": self.plain().folder, "labels": self.labels().folder}
        return self._done("figures", inputs, {}, make)

    def ship(self, out: Path) -> None:
        """The student that does best on held-out chat, as the bundled model."""
        _, held_out = self._people()
        figures = self.figures()
        arm = max(self.arms, key=lambda each: figures.manifest.numbers[f"{each} on chat"])
        made = ship.Made(
            arm, self.student(arm).folder / "model", self.plain().folder, figures.folder, held_out
        )
        told = {
            "reviews": f"{REVIEWS:,}",
            "spliced": f"{SPLICED:,}",
            "pieces": f"{PIECES:,}",
            "steps": f"{self.schedule.steps:,}",
            "adapting": f"{self.adapting.steps:,}",
        }
        ship.write(out, made, told, self.options)

    def _corpus(self) -> Corpus:
        return corpus.read(self.data, self.options.golden)

    def _files(self) -> dict[str, Path]:
        return {name: self.data / name for name in corpus.FILES} | {"golden": self.options.golden}

    def _people(self) -> tuple[list[Labelled], list[Labelled]]:
        rows = dataset.read_labelled(self.labels().folder / "labelled.parquet")
        return split(rows, self.options.validation_share, self.options.seed)

    def _start(self) -> dict[str, Path]:
        return {
            "adapted": self.adapted().folder / "model",
            "labelled": self.labels().folder / "labelled.parquet",
        }

    def _fitting(self, how: Mapping[str, float]) -> dict[str, object]:
        stated = self.options.model_dump(mode="json", include={"teacher_learning_rate", *FIT})
        return stated | dict(how)

    def _fit(
        self,
        train: list[select.Example],
        held_out: list[Labelled],
        folder: Path,
        seed: int,
        how: Mapping[str, float],
    ) -> Numbers:
        options = self.options.model_copy(update={"seed": seed, **how})
        start, rate = str(self.adapted().folder / "model"), options.teacher_learning_rate
        return teach.fitted(Job(start, train, select.human(held_out), options, rate), folder)

    def _done(
        self,
        name: str,
        inputs: dict[str, Path],
        settings: dict[str, object],
        make: Callable[[Path], Numbers],
        seed: int = 0,
    ) -> Done:
        done = stage.run(self.work, name, inputs, settings, make, seed=seed)  # type: ignore[arg-type]
        if not done.skipped:
            say(f"{name}: {stage.told(done.manifest.numbers)} → {done.folder}")
        return done


def say(line: str) -> None:
    """To whoever waits."""
    print(line, flush=True)


def main() -> int:
    """Make the model; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with " + ", ".join(corpus.FILES))
    parser.add_argument("--work", type=Path, default=Path("runs/bundled"), help="of the stages")
    parser.add_argument("--out", type=Path, help="where the model goes; without it, figures only")
    parser.add_argument(
        "--arm",
        action="append",
        choices=ARMS,
        help="of the ablation; all by default, an hour or so each",
    )
    given = parser.parse_args()
    options = TrainerSettings(
        _env_file=None,
        labelled=DATA / "train.tsv",
        golden=DATA / "golden.tsv",
        group_by_length=True,
        validation_share=0.1,
    )
    try:
        with stage.alone(given.work):
            story = Story(given.data, given.work, options, Schedule(), ADAPTING, given.arm or ARMS)
            found = story.figures()
            say((found.folder / figures.TABLE).read_text(encoding="utf-8"))
            if given.out:
                story.ship(given.out)
                say(f"the model is in {given.out}")
    except problems.expected() as error:
        print(f"models: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
