"""What a model is fitted to, and how: a lesson, of which a stage is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models import corpus, teachers
from models.average import average
from models.ground import Ground
from models.scale import Fitting
from trainer import predict, select, teach
from trainer.job import Job
from trainer.select import Example
from trainer.settings import FIT
from trainer.stage import Done, Numbers

TIMES: Final = ("comments", "undecided", "chat", "read")  # how often what comes in an epoch
Rows = tuple[list[Example], list[Example]]  # to learn from, and held out to stop by
Learned = Callable[[Ground], Rows]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the model in `start` is fitted to; the stage is called `name`."""

    name: str
    start: Path
    how: Fitting
    rows: Learned  # asked where the stage is not done already
    files: Mapping[str, Path]  # that they come from, beside the labels of people
    seed: int
    alone: bool = False  # in one process: others would not know the class of the model


def certain(ground: Ground) -> Rows:
    """What people labelled."""
    train, held_out = ground.people()
    return select.human(train), select.human(held_out)


def taught(ground: Ground) -> Rows:
    """The same with the comments that are undecided, to learn from."""
    return ground.taught(), certain(ground)[1]


def read(ground: Ground) -> Rows:
    """The same with what readers said of public text."""
    train, held_out = taught(ground)
    read, unread = ground.read()
    return [*train, *read], [*held_out, *unread]


def fitted(ground: Ground, lesson: Lesson) -> Done:
    """What the model becomes. Raises DataError, FitError, StageError."""
    how = lesson.how
    options = ground.options.model_copy(
        update={
            "seed": lesson.seed,
            "epochs": how.epochs,
            "batch_size": how.batch_size,
            "processes": 1 if lesson.alone else ground.options.processes,
        }
    )

    def make(folder: Path) -> Numbers:
        rows, held_out = lesson.rows(ground)
        train = [row for row in rows for _ in range(times(row, how))]
        job = Job(str(lesson.start), train, held_out, options, how.learning_rate)
        return teach.fitted(job, folder)

    labelled = ground.labels().folder / "labelled.parquet"
    inputs = {"start": lesson.start, "labelled": labelled, "public": ground.public().folder}
    inputs |= lesson.files
    stated = options.model_dump(mode="json", include=FIT)
    stated |= {"learning_rate": how.learning_rate}
    stated |= {name: getattr(how, name) for name in TIMES}
    return ground.done(lesson.name, inputs, stated, make, seed=lesson.seed)


def half_way(ground: Ground, lesson: Lesson) -> Done:
    """The mean of the model and of what it becomes.

    Raises DataError, FitError, StageError, ModelError, EngineError, InferenceError.
    """
    start, after = lesson.start, fitted(ground, lesson).folder / "model"

    def make(folder: Path) -> Numbers:
        average(start, after, folder / "model")
        _, held_out = ground.people()
        said = predict.of(folder / "model", [row.text for row in held_out], ground.options)
        return {"macro_f1": teachers.f1(said, teachers.indices(held_out))}

    return ground.done("average", {"before": start, "after": after}, {}, make)


def times(row: Example, how: Fitting) -> int:
    """How often `row` comes in an epoch."""
    if row.origin != "human":
        return 1
    if row.id.startswith(corpus.UNDECIDED):
        return how.undecided
    if row.id.startswith(corpus.COMMENT):
        return how.comments
    return how.read if row.id.startswith((corpus.QUESTION, corpus.REVIEW)) else how.chat
