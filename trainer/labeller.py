"""Texts → a teacher's probabilities, a part at a time: what this process and a cluster do alike."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from schemas.emotion import EMOTIONS
from trainer import predict
from trainer.scores import Floats, Labels
from worker.classifier import Classifier
from worker.engines import InferenceError

PART: Final = 16_384  # texts a part: at most so many are labelled twice after a kill
MOST_FAILED: Final = 100  # texts that a teacher may fail on: more than that is a broken one

Labelled = tuple[Labels, Floats]  # places, (n,), and their probabilities, (n, 6)
Progress = Callable[[int], object]  # told how many texts were done


class ClusterError(Exception):
    """The Ray cluster cannot be had, or failed: the message, one clear line, says what to do."""


def label(
    words: Sequence[str], classifier: Classifier, budget: int, progress: Progress
) -> Iterator[Labelled]:
    """What the classifier says, `PART` texts at a time; NaN of a text that it fails on.

    Raises InferenceError where it fails on more than `MOST_FAILED`.
    """
    failures: list[InferenceError] = []

    def failed(error: InferenceError) -> None:
        failures.append(error)
        if len(failures) > MOST_FAILED:
            raise InferenceError(f"{error}; so did {MOST_FAILED} texts before") from error

    for first in range(0, len(words), PART):
        part = words[first : first + PART]
        scores = np.full((len(part), len(EMOTIONS)), np.nan)
        for places, tokens in predict.batches(classifier, part, budget, failed):
            for who, row in zip(places, predict.run(classifier, tokens, failed), strict=True):
                scores[who] = row
            progress(sum(map(len, places)))
        yield np.arange(first, first + len(part)), scores
