"""How good predictions are: per class and as a whole, with intervals (pure).

Labels and predictions are indices into `EMOTIONS`, (n,) integers; probabilities are (n, 6).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.emotion import EMOTIONS

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

CLASSES: Final = len(EMOTIONS)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def triple(self) -> tuple[float, float, float]:
        """Value, low, high."""
        return self.value, self.low, self.high

    def __str__(self) -> str:
        """Such as `0.781 (0.750-0.812)`."""
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One emotion: precision, recall and F1 of 0 to 1, and how many are labelled so."""

    emotion: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Scores:
    """The seed's table."""

    classes: tuple[ClassScore, ...]
    accuracy: float
    macro_f1: float
    weighted_f1: float
    count: int

    def table(self) -> str:
        """Markdown: a row a class, then the averages."""
        lines = ["| emotion | precision | recall | F1 | support |", "|---|---|---|---|---|"]
        for each in self.classes:
            numbers = f"{each.precision:.4f} | {each.recall:.4f} | {each.f1:.4f}"
            lines.append(f"| {each.emotion} | {numbers} | {each.support} |")
        for name in ("accuracy", "macro_f1", "weighted_f1"):
            shown = name.replace("_f1", "-F1")
            lines.append(f"| **{shown}** | | | {getattr(self, name):.4f} | {self.count} |")
        return "\n".join(lines)


def indices(emotions: Iterable[str]) -> Labels:
    """Names as places in `EMOTIONS`, (n,)."""
    return np.array([EMOTIONS.index(each) for each in emotions], dtype=np.int64)


def confusion(labels: Labels, predictions: Labels) -> NDArray[np.int64]:
    """Counts, (6 labels, 6 predictions)."""
    flat = np.bincount(labels * CLASSES + predictions, minlength=CLASSES * CLASSES)
    return flat.reshape(CLASSES, CLASSES)


def score(labels: Labels, predictions: Labels) -> Scores:
    """Every number of the table."""
    return of_counts(confusion(labels, predictions))


def of_counts(counts: NDArray[np.int64]) -> Scores:
    """The table of a confusion. A class that is neither labelled nor predicted has F1 0."""
    hits, predicted, support = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(predicted + support, 1)
    classes = tuple(
        ClassScore(name, float(precision[k]), float(recall[k]), float(f1[k]), int(support[k]))
        for k, name in enumerate(EMOTIONS)
    )
    count = int(support.sum())
    total = max(count, 1)
    weighted = float((f1 * support).sum() / total)
    return Scores(classes, float(hits.sum() / total), float(f1.mean()), weighted, count)


def class_f1(labels: Labels, predictions: Labels, weights: Floats) -> Floats:
    """F1 of each class in each resample: `weights` (resamples, n) → (resamples, 6)."""
    hits, support, predicted = _counts(labels, predictions, weights)
    found: Floats = 2 * hits / np.maximum(support + predicted, 1e-12)
    return found


def class_intervals(
    labels: Labels, predictions: Labels, weights: Floats
) -> dict[str, dict[str, Interval]]:
    """`precision` and `recall` of each class; `weights` (resamples, n) as of `resample`."""
    hits, support, predicted = _counts(labels, predictions, weights)
    draws = {
        "precision": hits / np.maximum(predicted, 1e-12),
        "recall": hits / np.maximum(support, 1e-12),
    }
    exact = score(labels, predictions).classes
    return {
        name: {
            each.emotion: interval(getattr(each, name), drawn[:, place])
            for place, each in enumerate(exact)
        }
        for name, drawn in draws.items()
    }


def _counts(labels: Labels, predictions: Labels, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Right, labelled and predicted so of each class in each resample, (resamples, 6) each."""
    truth = np.eye(CLASSES)[labels]
    guess = np.eye(CLASSES)[predictions]
    return weights @ (truth * guess), weights @ truth, weights @ guess


def resample(labels: Labels, resamples: int, seed: int) -> Floats:
    """Bootstrap weights, (resamples, n): how often each item is drawn, class by class.

    Within each class, since the golden set has a fixed number of each.
    """
    draws = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(labels)))
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        chances = np.full(len(places), 1 / len(places))
        weights[:, places] = draws.multinomial(len(places), chances, size=resamples)
    return weights


def interval(value: float, draws: Floats) -> Interval:
    """The percentile interval (Efron 1979) of bootstrap `draws`, (resamples,)."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def distance(value: float, draws: Floats) -> Interval:
    """The interval of a distance, which is never below 0: chance alone makes it grow.

    It grew once in the sample and once more in each draw, so both are taken off (the basic
    bootstrap's correction, Davison & Hinkley 1997, section 5.2).
    """
    grown = float(draws.mean()) - value
    low, high = np.percentile(draws, [2.5, 97.5]) - 2 * grown
    return Interval(value, max(0.0, min(value, float(low))), max(value, float(high)))


def part(labels: Labels, predictions: Labels, weights: Floats) -> tuple[Interval, Interval]:
    """Accuracy and macro-F1 of a part of the set, over the classes that occur in it.

    `weights` (resamples, n) are the whole set's of `resample` at the part's items.
    """
    exact = [each.f1 for each in score(labels, predictions).classes if each.support]
    right = labels == predictions
    drawn = weights[weights.any(axis=1)]  # it may be empty in a draw
    occurs = drawn @ np.eye(CLASSES)[labels] > 0
    f1 = np.where(occurs, class_f1(labels, predictions, drawn), 0.0)
    accuracy = interval(float(right.mean()), drawn @ right / drawn.sum(axis=1))
    return accuracy, interval(float(np.mean(exact)), f1.sum(axis=1) / occurs.sum(axis=1))


def intervals(
    labels: Labels, predictions: Labels, resamples: int, seed: int
) -> dict[str, Interval]:
    """`accuracy`, `macro_f1`, `weighted_f1` and the F1 of each class, with intervals."""
    weights = resample(labels, resamples, seed)
    exact = score(labels, predictions)
    support = np.array([each.support for each in exact.classes])
    f1 = class_f1(labels, predictions, weights)
    right = (weights @ (labels == predictions).astype(float)) / len(labels)
    found = {
        "accuracy": interval(exact.accuracy, right),
        "macro_f1": interval(exact.macro_f1, f1.mean(axis=1)),
        # Each draw has as many of a class as the set has.
        "weighted_f1": interval(exact.weighted_f1, f1 @ support / support.sum()),
    }
    for place, each in enumerate(exact.classes):
        found[each.emotion] = interval(each.f1, f1[:, place])
    return found


def weighted_shares(values: Labels, inclusion: Floats, resamples: int, seed: int) -> Floats:
    """Draws (resamples, 6) of each class's share of all messages, from samples of unequal chances.

    Hájek's estimator: each sample weighs 1 / `inclusion` probability; (n,) of them, and `values`.
    Equal samples are drawn together, so a million of them are as quick as a hundred.
    """
    kinds, counts = np.unique(np.stack([values, inclusion]), axis=1, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(
        len(values), counts / len(values), size=resamples
    )
    weights = drawn / kinds[1]
    sums = weights @ np.eye(CLASSES)[kinds[0].astype(int)]
    shares: Floats = sums / sums.sum(axis=1, keepdims=True)
    return shares
