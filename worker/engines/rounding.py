"""Floats as bytes: how int8 tells weights, vectors and activations.

A weight or vector is a whole number of steps; the steps are float32. x86 without VNNI adds two
neighbouring products in 16 bits, so no pair of weights may be too large for that: the same graph
serves on every processor.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LARGEST: Final = 127  # that a byte holds
PAIR: Final = 128  # the largest sum of two weights of which 255 times as much fits into 16 bits
TINY: Final = np.float32(1e-12)

Floats = NDArray[np.float32]
Bytes = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Scale:
    """How activations become unsigned bytes: a token's largest is `levels` steps from `zero`."""

    zero: int
    levels: int
    least: np.float32  # what a token's largest is taken for where it is smaller


EVEN: Final = Scale(zero=128, levels=LARGEST, least=TINY)
# GELU is never below -0.17: most of the byte goes to what is above 0, and nothing is cut off.
AFTER_GELU: Final = Scale(zero=40, levels=215, least=np.float32(0.17 * 215 / 40))


def columns(weight: Floats) -> tuple[Bytes, Floats]:
    """(inputs, outputs) weights in int8, and the step of each output.

    No two weights of one sign that meet neighbouring inputs pass `PAIR` together.
    """
    even = np.pad(weight, ((0, len(weight) % 2), (0, 0)))
    pairs = even.reshape(-1, 2, weight.shape[1])
    above, below = (np.clip(each, 0, None).sum(axis=1).max(axis=0) for each in (pairs, -pairs))
    # A weight by itself is at most its pair; both are rounded, which adds 1 at most.
    return _told(weight, np.maximum(above, below) / (PAIR - 1))


def rows(vectors: Floats) -> tuple[Bytes, Floats]:
    """(tokens, width) vectors in int8, and the step of each: (tokens, 1)."""
    return _told(vectors, np.abs(vectors).max(axis=1, keepdims=True) / LARGEST)


def settled(weight: Floats) -> Floats:
    """Weights as int8 has them, which `columns` tells without a difference: fp32 and int8 agree.

    For what is fitted once and shipped in both.
    """
    told, steps = columns(weight)
    signed = told.astype(np.int64)
    pairs = signed[: len(signed) // 2 * 2].reshape(-1, 2, weight.shape[1])
    for sign in (1, -1):  # what rounding made larger than the step was made for
        sums = np.clip(sign * pairs, 0, None).sum(axis=1)
        for pair, column in np.argwhere(sums > PAIR - 1):
            larger = np.argmax(sign * pairs[pair, :, column])
            pairs[pair, larger, column] -= sign
    found: Floats = (signed * steps).astype(np.float32)
    return found


def _told(floats: Floats, steps: NDArray[Any]) -> tuple[Bytes, Floats]:
    steps = np.maximum(steps, TINY).astype(np.float32)
    return np.rint(floats / steps).astype(np.int8), steps
