"""Whether a probability means what it says, and the temperature that mends it (pure).

Probabilities are (n, 6), labels (n,) indices.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer import scores
from trainer.scores import Floats, Labels

BINS: Final = 15
# A few held-out labels that are all right would call for 0: every doubt would be certainty then.
COLDEST, HOTTEST = 0.25, 20.0
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of like confidence: how sure they were, and how often right."""

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """`ece`: expected calibration error; `brier`: of six classes, 0 to 2.

    `overconfidence` is the part of the error where confidence is above accuracy.
    """

    ece: float
    overconfidence: float
    brier: float
    bins: tuple[Bin, ...]


def temperature(probabilities: Floats, labels: Labels) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017, section 4.2)."""
    from scipy.optimize import minimize_scalar  # noqa: PLC0415  (lazy: takes a moment)

    rows = np.arange(len(labels))

    def loss(log_t: float) -> float:
        softened = soften(probabilities, float(np.exp(log_t)))
        return float(-np.log(softened[rows, labels] + _TINY).mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def soften(probabilities: Floats, heat: float) -> Floats:
    """The softmax of the logits divided by `heat`, from probabilities alone."""
    logs = np.log(probabilities + _TINY) / heat
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    softened: Floats = powers / powers.sum(axis=1, keepdims=True)
    return softened


def measure(probabilities: Floats, labels: Labels) -> Calibration:
    """ECE over `BINS` bins of equal width (Naeini et al. 2015), and Brier's score (1950)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = _places(confidence)
    bins, error, excess = [], 0.0, 0.0
    for place in range(BINS):
        inside = places == place
        count = int(inside.sum())
        sure = float(confidence[inside].mean()) if count else 0.0
        hits = float(right[inside].mean()) if count else 0.0
        error += abs(sure - hits) * count / len(labels)
        excess += max(sure - hits, 0.0) * count / len(labels)
        bins.append(Bin(place / BINS, (place + 1) / BINS, sure, hits, count))
    brier = float(_brier(probabilities, labels).mean())
    return Calibration(error, excess, brier, tuple(bins))


def intervals(
    probabilities: Floats, labels: Labels, weights: Floats
) -> tuple[scores.Interval, scores.Interval]:
    """ECE and Brier's score with intervals; `weights` (resamples, n) as of `scores.resample`."""
    exact = measure(probabilities, labels)
    confidence = probabilities.max(axis=1)
    gaps = confidence - (probabilities.argmax(axis=1) == labels)
    binned = np.eye(BINS)[_places(confidence)] * gaps[:, None]
    errors = np.abs(weights @ binned).sum(axis=1) / len(labels)
    briers = weights @ _brier(probabilities, labels) / len(labels)
    return scores.distance(exact.ece, errors), scores.interval(exact.brier, briers)


def _places(confidence: Floats) -> Labels:
    places: Labels = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return places


def _brier(probabilities: Floats, labels: Labels) -> Floats:
    truth = np.eye(probabilities.shape[1])[labels]
    found: Floats = ((probabilities - truth) ** 2).sum(axis=1)
    return found
