"""Does int8 say what fp32 says? The golden messages decide; nothing is ever trained on them."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.manifest import Int8Check
from worker.engines import Engine, EngineError, Tokens

MIN_AGREEMENT: Final = 0.99
MAX_F1_DELTA: Final = 0.002
BATCH_TOKENS: Final = 1024

# In a checkout; and in an installation, where the wheel and the image put the same file.
GOLDEN: Final = (
    Path(__file__).resolve().parents[2] / "data" / "golden.tsv",
    Path(__file__).resolve().parents[1] / "golden.tsv",
)


class Golden(NamedTuple):
    """The messages that a check is made with, and their labels."""

    sha256: str  # of the file
    texts: list[str]
    emotions: list[str]


def read_golden() -> Golden:
    """Read the golden messages. Raises EngineError where they were not installed."""
    path = next((path for path in GOLDEN if path.is_file()), None)
    if path is None:
        raise EngineError("no golden.tsv to check int8 with; install the wheel or use fp32")
    body = path.read_bytes()
    _, *rows = (line.split("\t") for line in body.decode("utf-8").splitlines())
    return Golden(sha256(body).hexdigest(), [row[2] for row in rows], [row[1] for row in rows])


def logits_of(engine: Engine, rows: Sequence[Tokens]) -> NDArray[np.float32]:
    """What `engine` says of `rows`, in their order, worked out in batches of like lengths."""
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    found: list[NDArray[np.float32]] = []
    while len(found) < len(order):
        longest = len(rows[order[min(len(found) + 31, len(order) - 1)]])
        batch = order[len(found) : len(found) + max(1, min(32, BATCH_TOKENS // longest))]
        found += list(engine.run(engine.prepare([rows[place] for place in batch])))
    back = np.argsort(order)
    return np.array(found)[back]


def compare(
    fp32: NDArray[np.float32], int8: NDArray[np.float32], labels: Sequence[int]
) -> Int8Check:
    """Both logits (rows, labels) of the same messages, whose true `labels` are logit places."""
    truth, before, after = np.array(labels), fp32.argmax(axis=1), int8.argmax(axis=1)
    agreement = float((before == after).mean()) if np.isfinite(int8).all() else 0.0
    delta = macro_f1(truth, after) - macro_f1(truth, before)
    used = agreement >= MIN_AGREEMENT and abs(delta) <= MAX_F1_DELTA
    return Int8Check(agreement=round(agreement, 6), macro_f1_delta=round(delta, 6), used=used)


def macro_f1(truth: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """The mean over the labels that occur in `truth` of their F1."""
    scores = []
    for label in np.unique(truth):
        right = np.sum((truth == label) & (found == label))
        scores.append(2 * right / (np.sum(truth == label) + np.sum(found == label)))
    return float(np.mean(scores))
