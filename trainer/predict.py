"""Texts → probabilities, on the worker's own classifier and batcher."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np

from schemas.emotion import EMOTIONS
from trainer.scores import Floats
from trainer.settings import TrainerSettings
from worker.batcher import Batcher
from worker.classifier import Classifier, Tokenized
from worker.engines import InferenceError
from worker.inference import alone

WINDOW: Final = 2048  # texts that are sorted by length at a time

Failed = Callable[[InferenceError], None]  # told of a text that fails even alone; may raise


def refuse(error: InferenceError) -> None:
    """Raises what a text failed with: every one is to be answered."""
    raise error


@dataclass(frozen=True, slots=True)
class Predictions:
    """Probabilities, (n, 6) in the order of `EMOTIONS`, and how fast they came."""

    probabilities: Floats
    messages_a_second: float


def load(folder: Path, max_length: int, threads: int) -> tuple[Classifier, int]:
    """The classifier as the worker would load it, warmed, and its token budget a batch.

    The settings of a worker that may stand beside it, such as `WORKER_PRECISION`, do not count: no
    stage would be done anew for another one. Raises ModelError, EngineError, InferenceError.
    """
    from worker import parts  # noqa: PLC0415  (lazy: brings the worker's settings)
    from worker.settings import WorkerSettings  # noqa: PLC0415

    options = WorkerSettings.model_construct(  # which reads no environment
        model=str(folder), max_length=max_length, threads=threads
    )
    classifier = parts.classifier(options)
    return classifier, parts.batch_tokens(options, classifier)


def predict(
    classifier: Classifier,
    texts: Sequence[str],
    budget: int,
    *,
    title: str = "predict",
    quiet: bool = True,
) -> Predictions:
    """Classify `texts`; a bar with the time left on standard error unless `quiet`.

    Raises InferenceError for a text that fails even alone.
    """
    from tqdm import tqdm  # noqa: PLC0415  (lazy)

    probabilities = np.zeros((len(texts), len(EMOTIONS)))
    started = perf_counter()
    with tqdm(total=len(texts), desc=title, unit="text", disable=quiet, smoothing=0.02) as bar:
        for places, rows in batches(classifier, texts, budget):
            found = run(classifier, rows)
            for who, row in zip(places, found, strict=True):
                probabilities[who] = row
            bar.update(sum(map(len, places)))
    seconds = max(perf_counter() - started, 1e-9)
    return Predictions(probabilities, len(texts) / seconds)


def of(model: Path, texts: Sequence[str], options: TrainerSettings) -> Floats:
    """(n, 6): what the model in a folder says of `texts`.

    Raises ModelError, EngineError, InferenceError.
    """
    classifier, budget = load(model, options.max_length, options.threads)
    return predict(classifier, texts, budget).probabilities


Batch = tuple[list[list[int]], list[tuple[int, ...]]]


def batches(
    classifier: Classifier, texts: Sequence[str], budget: int, failed: Failed = refuse
) -> Iterator[Batch]:
    """Batches of distinct rows under `budget` padded tokens, each row with the places it is for.

    One window is tokenised ahead, while the model works on the one before. A text that the
    tokenizer fails on is in none of them. Raises what `failed` raises.
    """
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(_window, classifier, texts, 0, budget, failed)
        for following in range(WINDOW, len(texts) + WINDOW, WINDOW):
            made = coming.result()
            coming = ahead.submit(_window, classifier, texts, following, budget, failed)
            yield from made


def _window(
    classifier: Classifier, texts: Sequence[str], first: int, budget: int, failed: Failed
) -> list[Batch]:
    batcher: Batcher[int] = Batcher(
        budget, float("inf"), window=WINDOW, multiple=classifier.engine.multiple
    )
    part = texts[first : first + WINDOW]
    found: Sequence[Tokenized | InferenceError]
    try:
        found = classifier.tokenize(part)
    except InferenceError:
        found = alone(classifier, part)
    for place, encoded in enumerate(found, first):
        if isinstance(encoded, InferenceError):
            failed(encoded)
        else:
            batcher.add(place, encoded.tokens, 0.0)
    made = []
    while rows := batcher.take(0.0):
        made.append(([row.items for row in rows], [row.tokens for row in rows]))
    return made


def run(classifier: Classifier, rows: list[tuple[int, ...]], failed: Failed = refuse) -> Floats:
    """A failing batch is cut in two until the culprit is alone, as in the worker.

    That one's row is NaN, unless `failed` raises.
    """
    try:
        return classifier.run(classifier.prepare(rows))
    except InferenceError as error:
        if len(rows) == 1:
            failed(error)
            return np.full((1, len(EMOTIONS)), np.nan)
        middle = len(rows) // 2
        halves = (rows[:middle], rows[middle:])
        return np.concatenate([run(classifier, half, failed) for half in halves])
