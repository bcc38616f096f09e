"""The seam behind which a model runs: token ids in, logits out.

`choice` has the one for a device; engines import their library lazily.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = tuple[int, ...]


class InferenceError(Exception):
    """This batch failed; a smaller one may succeed. What fails alone goes to the dead letters."""


class OutOfMemoryError(InferenceError):
    """This batch was too large for the device: smaller ones from now on."""


class DeviceLostError(Exception):
    """The device is gone: nothing more can be served. The process stops, uncommitted."""


class EngineError(Exception):
    """The engine cannot be had here (device, precision, library). The message says what to do."""


def first_line(error: BaseException) -> str:
    """What a library says of a file, in one line: its first, after the kind of the error."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


@dataclass(frozen=True, slots=True)
class Source:
    """A model on disk, and what an engine has to know to load and check it."""

    folder: Path
    pad_id: int
    labels: Sequence[str]  # in logit order
    encode: Callable[[Sequence[str]], list[Tokens]]
    cache: Path  # for what is derived from models


class Engine(Protocol):
    """Runs one model on one device. `prepare` may run in another thread than `run`."""

    @property
    def name(self) -> str:
        """Library and device, such as `torch-cpu`."""

    @property
    def precision(self) -> str:
        """One of fp32, bf16, fp16, int8."""

    @property
    def multiple(self) -> int:
        """The length of a batch's rows is rounded up to a multiple of it."""

    def prepare(self, rows: Sequence[Tokens]) -> Any:  # noqa: ANN401  (each engine's own)
        """Pad `rows` into what `run` takes, in pinned memory where that helps. Raises as `run`."""

    def run(self, prepared: Any) -> NDArray[np.float32]:  # noqa: ANN401
        """Logits, (rows, labels). Raises InferenceError or DeviceLostError."""


def padded(rows: Sequence[Tokens], pad_id: int, multiple: int = 1) -> NDArray[np.int64]:
    """`rows` as one matrix, filled with `pad_id` to the longest, rounded up to `multiple`."""
    width = max(map(len, rows))
    width = -(-width // multiple) * multiple
    matrix = np.full((len(rows), width), pad_id, dtype=np.int64)
    for place, row in enumerate(rows):
        matrix[place, : len(row)] = row
    return matrix
