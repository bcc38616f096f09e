"""The ground that teachers and students stand on: pretrained bases, people's labels, and texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from models import corpus, pretrain, readers, teachers, words
from models.scale import Base, Scale
from trainer import choose, dataset, select, stage, tables
from trainer.dataset import Labelled, Text
from trainer.leakage import Firewall
from trainer.select import Example
from trainer.settings import TrainerSettings
from trainer.split import split
from trainer.stage import Done, Numbers, Setting

PUBLIC: Final = ("reviews", "questions", "answers", "comments")


@dataclass(frozen=True, slots=True)
class Ground:
    """Stages that know of no emotion but what people said; each returns what it left."""

    data: Path
    work: Path
    options: TrainerSettings
    scale: Scale
    say: Callable[[str], None]
    readers: Path = readers.FILE

    def public(self) -> Done:
        """Public text, without what repeats a text that scores."""

        def make(folder: Path) -> Numbers:
            found = corpus.read(self.data, self.options.golden)
            for name in (*PUBLIC, "held_out"):
                _keep(folder, name, getattr(found, name))
            choose.write_examples(folder / "undecided.parquet", found.undecided)
            parts = (*PUBLIC, "undecided", "held_out")
            return {name: len(getattr(found, name)) for name in parts}

        files = {name: self.data / name for name in corpus.FILES}
        return self.done("public", files | {"golden": self.options.golden}, {}, make)

    def words(self) -> Done:
        """The WordPieces of public text."""

        def make(folder: Path) -> Numbers:
            tokenizer = words.vocabulary(self.texts(), folder / "tokenizer.json")
            return {"word_pieces": tokenizer.get_vocab_size()}

        return self.done("words", {"public": self.public().folder}, {}, make)

    def base(self, base: Base) -> Done:
        """Public text → a pretrained model that knows no emotion yet."""
        tokenizer_file = self.words().folder / "tokenizer.json"

        def make(folder: Path) -> Numbers:
            texts = self.texts()
            tokenizer = words.vocabulary(texts, tokenizer_file)
            rows = words.tokens(tokenizer, texts)
            start = None
            if base.vectors:
                start = words.vectors(rows, base.shape.width, folder / "vectors.npy")
            model = pretrain.fresh(base.shape, base.pretraining.seed, start)
            pretrain.masked_language(model, rows, folder, base.pretraining, self.say)
            pretrain.save(model, tokenizer, folder / "model")
            (folder / pretrain.CHECKPOINT).unlink(missing_ok=True)
            return {"texts": len(texts), "tokens": sum(map(len, rows))}

        inputs = {"public": self.public().folder, "words": tokenizer_file}
        stated = {**asdict(base.shape), **asdict(base.pretraining), "vectors": base.vectors}
        return self.done("base", inputs, stated, make)

    def labels(self) -> Done:
        """What people labelled; comments that only score; texts without label."""
        public, scale = self.public().folder, self.scale

        def make(folder: Path) -> Numbers:
            chat = dataset.read_labelled(self.options.labelled)
            golden = dataset.read_golden(self.options.golden)
            comments = dataset.read_labelled(public / "held_out.parquet")
            Firewall(golden).check(chat)  # somebody chose these: it has to be mended by hand
            # Nor may what is made of labelled texts repeat, by chance, a text that only scores.
            wall = Firewall([*golden, *comments])
            found = dataset.merge(chat, dataset.read_labelled(public / "comments.parquet"))
            labelled = wall.without(found)
            train, _ = split(labelled, self.options.validation_share, self.options.seed)
            made = [
                *teachers.spliced(train, scale.spliced),
                *teachers.pieces(train, scale.pieces),
            ]
            texts = [
                *teachers.some(self.unlabelled("reviews"), scale.reviews),
                *self.unlabelled("questions"),
                *self.unlabelled("answers"),
                *wall.without(made),
            ]
            _keep(folder, "labelled", labelled)
            _keep(folder, "comments", comments)
            _keep(folder, "texts", texts)
            return {"labelled": len(labelled), "comments": len(comments), "texts": len(texts)}

        inputs = {
            "public": public,
            "labelled": self.options.labelled,
            "golden": self.options.golden,
        }
        stated = {name: getattr(scale, name) for name in ("reviews", "spliced", "pieces")}
        return self.done("labels", inputs, stated, make)

    def adapted(self, base: Base) -> Done:
        """The base, pretrained on a little more: chat and comments, as what it is to serve."""
        start = self.base(base).folder / "model"

        def make(folder: Path) -> Numbers:
            parts = (self.taught(), self.unlabelled("questions"), self.unlabelled("answers"))
            near = [row.text for part in parts for row in part]
            reviews = teachers.some(self.unlabelled("reviews"), len(near))
            texts = near + [row.text for row in reviews]
            tokenizer = words.vocabulary(texts, self.words().folder / "tokenizer.json")
            model = pretrain.known(start)
            rows = words.tokens(tokenizer, texts)
            pretrain.masked_language(model, rows, folder, base.adapting, self.say)
            pretrain.save(model, tokenizer, folder / "model")
            (folder / pretrain.CHECKPOINT).unlink(missing_ok=True)
            return {"texts": len(texts)}

        inputs = {"base": start, "labels": self.labels().folder}
        return self.done("adapt", inputs, asdict(base.adapting), make)

    def people(self) -> tuple[list[Labelled], list[Labelled]]:
        """What people labelled: (to train on, held out)."""
        rows = dataset.read_labelled(self.labels().folder / "labelled.parquet")
        return split(rows, self.options.validation_share, self.options.seed)

    def taught(self) -> list[Example]:
        """What people labelled to train on, with the comments that are undecided."""
        undecided = choose.read_examples(self.public().folder / "undecided.parquet")
        return [*select.human(self.people()[0]), *undecided]

    def read(self) -> tuple[list[Example], list[Example]]:
        """Reviews and questions with what readers said of them: (to train on, held out).

        None that people labelled.
        """
        labelled = [row.text for part in self.people() for row in part]
        texts = [*self.unlabelled("reviews"), *self.unlabelled("questions")]
        rows = readers.examples(self.readers, texts, labelled)
        return split(rows, self.options.validation_share, self.options.seed)

    def done(
        self,
        name: str,
        inputs: Mapping[str, Path],
        settings: Mapping[str, Setting],
        make: Callable[[Path], Numbers],
        seed: int = 0,
    ) -> Done:
        """A stage; told of where it was not there already. How labels are split is part of it."""
        split = {"split_seed": self.options.seed, "held_out": self.options.validation_share}
        done = stage.run(self.work, name, inputs, {**settings, **split}, make, seed=seed)
        if not done.skipped:
            self.say(f"{name}: {stage.told(done.manifest.numbers)} → {done.folder}")
        return done

    def unlabelled(self, name: str) -> list[Text]:
        """The public texts of one kind."""
        return dataset.read_texts(self.public().folder / f"{name}.parquet")

    def texts(self) -> list[str]:
        """Everything that is learned from without its label."""
        return [row.text for name in (*PUBLIC, "undecided") for row in self.unlabelled(name)]


def _keep(folder: Path, name: str, rows: Sequence[Labelled] | Sequence[Text]) -> None:
    tables.write(folder / f"{name}.parquet", [asdict(row) for row in rows])
