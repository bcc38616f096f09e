"""Several teachers as one: transformers of different seeds, and a TF-IDF model beside them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from models import plain
from schemas.emotion import EMOTIONS
from trainer import calibrate, dataset, predict, pseudo_label
from trainer.dataset import Labelled, Pseudo, Text
from trainer.scores import Floats, Labels, score
from trainer.settings import TrainerSettings
from trainer.stage import Numbers

WEIGHTS: Final = tuple(step / 10 for step in range(11))  # of the TF-IDF model

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Together:
    """The mean opinion, softened so that it suits the held-out labels."""

    rows: list[Pseudo]
    plain_weight: float
    numbers: Numbers  # macro-F1 on the held-out labels: of each, and of all


def together(
    models: Sequence[Path],
    plain_folder: Path,
    said: Sequence[Path],
    held_out: Sequence[Labelled],
    options: TrainerSettings,
) -> Together:
    """Average the teachers; TF-IDF weighs what makes the held-out labels most likely.

    `said`: what each of `models` said of the same texts; `plain_folder` holds what TF-IDF said.
    Raises DataError, ModelError, EngineError, InferenceError.
    """
    labels, words = indices(held_out), [row.text for row in held_out]
    each = [predict.of(model, words, options) for model in models]
    each.append(plain.said(plain_folder, "held_out"))
    heats = [calibrate.temperature(one, labels) for one in each]
    opinions = [dataset.read_pseudo(path) for path in said]
    texts = [Text(row.id, row.text) for row in opinions[0]]
    offered = [np.array([row.scores for row in rows]) for rows in opinions]
    offered.append(plain.said(plain_folder, "texts"))
    weight = min(WEIGHTS, key=lambda share: _loss(_mean(each, heats, share), labels))
    both = _mean(each, heats, weight)
    heat = calibrate.temperature(both, labels)
    softened = calibrate.soften(_mean(offered, heats, weight), heat)
    rows = [
        Pseudo(**(row | {"scores": tuple(row["scores"])}))
        for row in pseudo_label.rows(texts, softened)
    ]
    numbers = {f"teacher_{n}": f1(one, labels) for n, one in enumerate(each)}
    return Together(rows, weight, numbers | {"together": f1(both, labels), "temperature": heat})


def _mean(each: Sequence[Floats], heats: Sequence[float], plain_weight: float) -> Floats:
    """The calibrated opinions together; the last of them is TF-IDF's."""
    *neural, simple = (calibrate.soften(*one) for one in zip(each, heats, strict=True))
    mean: Floats = (1 - plain_weight) * np.mean(neural, axis=0) + plain_weight * simple
    return mean


def some(rows: Sequence[T], count: int, seed: int = 7) -> list[T]:
    """`count` of them at random, in their order."""
    places = random.Random(seed).sample(range(len(rows)), min(count, len(rows)))  # noqa: S311
    return [rows[place] for place in sorted(places)]


def spliced(rows: Sequence[Labelled], count: int, seed: int = 7) -> list[Text]:
    """`count` texts that begin as one row and end as another: chat-like, and nobody's label.

    What a teacher says of them carries its judgement of phrases into the student.
    """
    draw = random.Random(seed)  # noqa: S311
    made = []
    for place in range(count):
        first, last = (draw.choice(rows).text.split() for _ in range(2))
        words = [*first[: (len(first) + 1) // 2], *last[len(last) // 2 :]]
        made.append(Text(f"spliced-{place}", " ".join(words)))
    return made


def pieces(rows: Sequence[Labelled], count: int, seed: int = 7) -> list[Text]:
    """`count` runs of one to four words of a row: short messages, and nobody's label."""
    draw = random.Random(seed)  # noqa: S311
    made = []
    for place in range(count):
        words = draw.choice(rows).text.split()
        first = draw.randrange(len(words))
        made.append(Text(f"piece-{place}", " ".join(words[first : first + draw.randint(1, 4)])))
    return made


def indices(rows: Sequence[Labelled]) -> Labels:
    """(n,): each label's place among `EMOTIONS`."""
    return np.array([EMOTIONS.index(row.emotion) for row in rows], dtype=np.int64)


def f1(probabilities: Floats, labels: Labels) -> float:
    """Macro-F1 of the likeliest emotions, (n, 6) against (n,)."""
    return score(labels, probabilities.argmax(axis=1)).macro_f1


def _loss(probabilities: Floats, labels: Labels) -> float:
    softened = calibrate.soften(probabilities, calibrate.temperature(probabilities, labels))
    return float(-np.log(softened[np.arange(len(labels)), labels] + 1e-12).mean())
