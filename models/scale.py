"""How large the recipe is: what two CPU cores can do in hours, and what one GPU can in minutes."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a transformer; heads are 64 wide, and what lies between is four times the width."""

    layers: int
    width: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast a masked language model learns."""

    steps: int = 4000
    tokens: int = 4096  # a step, padding included
    peak: float = 1e-3  # learning rate, after warm-up, falling to 0
    warm_up: float = 0.06  # share of the steps
    masked: float = 0.15  # share of the tokens
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Base:
    """A pretrained model that knows no emotion yet."""

    shape: Shape
    pretraining: Schedule
    adapting: Schedule  # a little more, on what is like that which it is to serve
    vectors: bool  # whether it starts from skip-gram vectors: they spare hours on a CPU


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a fit has of its own; the rest is the trainer's."""

    epochs: int
    batch_size: int
    learning_rate: float
    comments: int = 1  # times that a comment comes: of the labels of people chat has nine in ten
    undecided: int = 1  # times that one between emotions comes
    chat: int = 1  # and what is of `data/train.tsv`
    read: int = 1  # and what readers labelled


@dataclass(frozen=True, slots=True)
class Scale:
    """Everything that is more where there is a GPU."""

    teacher: Base
    student: Base
    teach: Fitting
    finetune: Fitting
    settle: Fitting  # of a student that was fitted to opinions, to certain labels alone
    read: Fitting  # of that, to what readers said of public text as well
    encoder: Fitting  # of the published one
    tell: Fitting  # of the student, to what that and TF-IDF say together
    cut: Fitting  # of what is cut from the published one, to the same
    reviews: int  # that teachers label, beside all questions and answers
    spliced: int  # texts made of two labelled ones each
    pieces: int  # texts that are a few words of a labelled one
    human_share: float  # of labels of people in what a student is fitted to, repeated for it


SETTLE: Final = Fitting(epochs=3, batch_size=128, learning_rate=1e-4, comments=4)
READ: Final = Fitting(epochs=3, batch_size=128, learning_rate=3e-4, comments=4, undecided=2)
ENCODER: Final = Fitting(epochs=3, batch_size=64, learning_rate=2e-4)
TELL: Final = Fitting(epochs=2, batch_size=128, learning_rate=5e-4)
CUT: Final = Fitting(epochs=3, batch_size=64, learning_rate=4e-4, chat=3, read=2)
SMALL: Final = Shape(layers=4, width=256)  # of the students that are pretrained here
_ON_CPU: Final = Base(SMALL, Schedule(), Schedule(steps=1000, peak=6e-4), vectors=True)
TWO_CORES: Final = Scale(
    teacher=_ON_CPU,
    student=_ON_CPU,
    teach=Fitting(epochs=6, batch_size=64, learning_rate=3e-4),
    finetune=Fitting(epochs=8, batch_size=128, learning_rate=5e-4),
    settle=SETTLE,
    read=READ,
    encoder=ENCODER,
    tell=TELL,
    cut=CUT,
    reviews=20_000,
    spliced=60_000,
    pieces=20_000,
    human_share=0.3,
)
GPU: Final = Scale(
    teacher=Base(
        Shape(layers=8, width=512),
        Schedule(steps=2400, tokens=32_768, peak=6e-4, warm_up=0.1),
        Schedule(steps=200, tokens=32_768, peak=3e-4),
        vectors=False,
    ),
    student=Base(
        SMALL,
        Schedule(steps=2200, tokens=32_768, peak=1.2e-3),
        Schedule(steps=300, tokens=32_768, peak=6e-4),
        vectors=False,
    ),
    teach=Fitting(epochs=5, batch_size=64, learning_rate=1.5e-4),
    finetune=Fitting(epochs=6, batch_size=512, learning_rate=1e-3),
    settle=SETTLE,
    read=READ,
    encoder=ENCODER,
    tell=TELL,
    cut=CUT,
    reviews=150_000,
    spliced=150_000,
    pieces=30_000,
    human_share=0.15,
)
SCALES: Final = {"cpu": TWO_CORES, "gpu": GPU}
