"""The ground that teachers and students stand on: a pretrained base, people's labels, and texts."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from models import corpus, pretrain, teachers
from models.corpus import Corpus
from models.pretrain import Schedule
from trainer import dataset, stage
from trainer.dataset import Labelled
from trainer.leakage import Firewall
from trainer.settings import TrainerSettings
from trainer.split import split
from trainer.stage import Done, Numbers, Setting

SPLICED: Final = 60_000  # texts made of two labelled ones each
PIECES: Final = 20_000  # texts that are a few words of a labelled one
REVIEWS: Final = 20_000  # to be labelled by the teachers, beside all questions and answers


@dataclass(frozen=True, slots=True)
class Ground:
    """Stages that know of no emotion but what people said; each returns what it left."""

    data: Path
    work: Path
    options: TrainerSettings
    schedule: Schedule
    adapting: Schedule
    say: Callable[[str], None]

    def base(self) -> Done:
        """Public text → a pretrained model that knows no emotion yet."""

        def make(folder: Path) -> Numbers:
            texts = self._corpus().texts
            tokenizer = pretrain.vocabulary(texts, folder / "tokenizer.json")
            rows = pretrain.tokens(tokenizer, texts)
            embeddings = pretrain.vectors(rows, folder / "vectors.npy")
            model = pretrain.fresh(embeddings, self.schedule.seed)
            pretrain.masked_language(model, rows, folder, self.schedule, self.say)
            pretrain.save(model, tokenizer, folder / "model")
            (folder / pretrain.CHECKPOINT).unlink(missing_ok=True)
            return {"texts": len(texts), "tokens": sum(map(len, rows))}

        stated = {"shape": f"{pretrain.LAYERS}x{pretrain.WIDTH}", **asdict(self.schedule)}
        return self.done("base", self._files(), stated, make)

    def labels(self) -> Done:
        """What people labelled; comments that only score; texts without label."""

        def make(folder: Path) -> Numbers:
            public = self._corpus()
            chat = dataset.read_labelled(self.options.labelled)
            golden = dataset.read_golden(self.options.golden)
            Firewall(golden).check(chat)  # somebody chose these: it has to be mended by hand
            # Nor may what is made of labelled texts repeat, by chance, a text that only scores.
            wall = Firewall([*golden, *public.held_out])
            labelled = wall.without(dataset.merge(chat, public.comments))
            train, _ = split(labelled, self.options.validation_share, self.options.seed)
            made = [*teachers.spliced(train, SPLICED), *teachers.pieces(train, PIECES)]
            texts = [
                *teachers.some(public.reviews, REVIEWS),
                *public.questions,
                *public.answers,
                *wall.without(made),
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
        stated = {"reviews": REVIEWS, "spliced": SPLICED, "pieces": PIECES, "walled": True}
        return self.done("labels", inputs, stated, make)

    def adapted(self) -> Done:
        """The base, pretrained on a little more: chat and comments, as what it is to serve."""

        def make(folder: Path) -> Numbers:
            train, _ = self.people()
            public = self._corpus()
            near = [row.text for part in (train, public.questions, public.answers) for row in part]
            texts = near + [row.text for row in teachers.some(public.reviews, len(near))]
            tokenizer = pretrain.vocabulary(texts, self.base().folder / "tokenizer.json")
            model = pretrain.known(self.base().folder / "model")
            rows = pretrain.tokens(tokenizer, texts)
            pretrain.masked_language(model, rows, folder, self.adapting, self.say)
            pretrain.save(model, tokenizer, folder / "model")
            (folder / pretrain.CHECKPOINT).unlink(missing_ok=True)
            return {"texts": len(texts)}

        inputs = {"base": self.base().folder, "labels": self.labels().folder}
        return self.done("adapt", inputs, asdict(self.adapting), make)

    def people(self) -> tuple[list[Labelled], list[Labelled]]:
        """What people labelled: (to train on, held out)."""
        rows = dataset.read_labelled(self.labels().folder / "labelled.parquet")
        return split(rows, self.options.validation_share, self.options.seed)

    def done(
        self,
        name: str,
        inputs: Mapping[str, Path],
        settings: Mapping[str, Setting],
        make: Callable[[Path], Numbers],
        seed: int = 0,
    ) -> Done:
        """A stage; told of where it was not there already."""
        done = stage.run(self.work, name, inputs, settings, make, seed=seed)
        if not done.skipped:
            self.say(f"{name}: {stage.told(done.manifest.numbers)} → {done.folder}")
        return done

    def _corpus(self) -> Corpus:
        return corpus.read(self.data, self.options.golden)

    def _files(self) -> dict[str, Path]:
        return {name: self.data / name for name in corpus.FILES} | {"golden": self.options.golden}
