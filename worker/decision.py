"""From probabilities to an emotion, its margin, and whether a message goes to review (pure)."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.emotion import EMOTIONS

_EMPTY_HASH: Final = blake2b(digest_size=8)
DIGITS = 6  # what is published; far finer than any model is calibrated


class Decision(NamedTuple):
    """What was decided of one message; `scores` follow `EMOTIONS` and sum to 1."""

    emotion: str
    confidence: float
    margin: float
    low_margin: bool
    scores: tuple[float, ...]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Row-wise softmax, (rows, labels) → (rows, labels), in double precision."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=1, keepdims=True)
    return shifted


def decide(probabilities: NDArray[np.float64], margin_threshold: float) -> list[Decision]:
    """Decide each row of `probabilities`, (rows, 6) in the order of `EMOTIONS`.

    The scores are cut to `DIGITS` and the top one takes up what is cut off, so that they sum to 1
    as published and the top stays the top, even of six that are equal. Confidence and margin are
    taken from the published scores.
    """
    one = 10**DIGITS
    # A thousandth of a unit, so that 0.2 does not become 0.199999.
    units = np.floor(probabilities * one + 1e-3).astype(np.int64)
    rows = np.arange(len(units))
    top = probabilities.argmax(axis=1)
    units[rows, top] += one - units.sum(axis=1)
    scores = units / one
    confidence = scores[rows, top]
    others = units.copy()
    others[rows, top] = -1
    margin = (units[rows, top] - others.max(axis=1)) / one
    low = margin < margin_threshold
    fields = zip(
        [EMOTIONS[label] for label in top.tolist()],
        confidence.tolist(),
        margin.tolist(),
        low.tolist(),
        map(tuple, scores.tolist()),
        strict=True,
    )
    return list(map(Decision._make, fields))


def sampled(event_id: str, rate: float) -> bool:
    """Whether the uniform random review sample of `rate` (0..1) takes this message.

    A hash of the id decides, so a replay, another worker and a later audit choose the same ones.
    """
    if rate <= 0.0:
        return False
    hashed = _EMPTY_HASH.copy()  # half the time of making one
    hashed.update(event_id.encode("utf-8", "surrogatepass"))
    return int.from_bytes(hashed.digest(), "big") < rate * 2.0**64


def reorder(labels: Sequence[str]) -> list[int]:
    """Columns of a model with `labels` (logit order) in the order of `EMOTIONS`.

    Raises ValueError when they are not exactly the six.
    """
    if len(labels) != len(EMOTIONS) or set(labels) != set(EMOTIONS):
        message = f"the labels are {', '.join(labels)}; expected {', '.join(EMOTIONS)}"
        raise ValueError(message)
    return [labels.index(emotion) for emotion in EMOTIONS]
