"""Teachers → what they say of texts without label → what of it is believed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models import choose, corpus, plain, readers, teachers
from models.ground import Ground
from models.lesson import Learned
from trainer import dataset, pseudo_label
from trainer.dataset import Labelled
from trainer.stage import Done, Numbers


@dataclass(frozen=True, slots=True)
class Round:
    """What is labelled, and by what people say; `files` are what that comes from."""

    ground: Ground
    learned: Learned
    texts: Path  # without label
    files: Mapping[str, Path]

    def opinion(self, model: Path, seed: int) -> Done:
        """What a teacher, a model's folder, says of the texts."""
        # Not over a cluster, where the class of the model may be unknown.
        options = self.ground.options.model_copy(update={"ray_address": None})

        def make(folder: Path) -> Numbers:
            return pseudo_label.pseudo_label(dataset.read_texts(self.texts), model, folder, options)

        inputs = {"teacher": model, "texts": self.texts}
        return self.ground.done("pseudo-label", inputs, {}, make, seed=seed)

    def plain(self) -> Done:
        """TF-IDF and logistic regression on the labels: one more teacher."""

        def make(folder: Path) -> Numbers:
            train, held_out = self._certain()
            plain.fit(train, folder)
            texts = dataset.read_texts(self.texts)
            sets = {"held_out": [row.text for row in held_out]}
            plain.keep(folder, sets | {"texts": [row.text for row in texts]})
            said = plain.said(folder, "held_out")
            return {"macro_f1": teachers.f1(said, teachers.indices(held_out))}

        inputs = {"texts": self.texts, "public": self.ground.public().folder, **self.files}
        return self.ground.done("tf-idf", inputs, {}, make)

    def selected(self, models: Sequence[Path], seeds: Sequence[int]) -> Done:
        """The teachers together, and what of their opinion is believed, by each policy."""
        share = self.ground.scale.human_share
        options = self.ground.options.model_copy(update={"human_share": share})
        opinions = [self.opinion(*each) for each in zip(models, seeds, strict=True)]
        simple = self.plain().folder

        def make(folder: Path) -> Numbers:
            people, _ = self.learned(self.ground)
            _, held_out = self._certain()
            said = [each.folder / pseudo_label.FILE for each in opinions]
            together = teachers.together(models, simple, said, held_out, options)
            return choose.choose(together, people, folder, options)

        inputs = {f"opinion {n}": each.folder for n, each in enumerate(opinions)}
        inputs |= {"tf-idf": simple, "public": self.ground.public().folder, **self.files}
        stated = options.model_dump(include={"min_confidence", "min_margin", "human_share"})
        stated |= {"none": True}  # among what is written
        return self.ground.done("select", inputs, stated, make)

    def _certain(self) -> tuple[list[Labelled], list[Labelled]]:
        """The labels with one emotion each, without the comments that are undecided."""
        train, held_out = self.learned(self.ground)
        return (
            readers.first(row for row in train if not row.id.startswith(corpus.UNDECIDED)),
            readers.first(held_out),
        )
