"""What is gained where chat repeats itself, by working equal token sequences out once."""

import copy
from collections.abc import Sequence
from itertools import accumulate, count
from random import Random
from statistics import median
from typing import Any, Final

from bench.classify import Row, alternate, classify_with, load, ratio, settings_of
from worker import parts, room
from worker.classifier import Classifier, Tokenized
from worker.settings import BUNDLED_MODEL

MESSAGES: Final = 6144
REPEATED: Final = 2 / 3  # of the messages repeat an earlier one


class Alone(tuple[int, ...]):
    """Token ids that equal no others: neither queue nor cache can merge them."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other


class Separate(Classifier):
    """A classifier whose token ids never equal each other."""

    def tokenize(self, texts: Sequence[str]) -> list[Tokenized]:
        """Encode as ever, and make each sequence one of its own."""
        return [
            Tokenized(Alone(encoded.tokens), encoded.truncated)
            for encoded in super().tokenize(texts)
        ]


def run(texts: list[str], rounds: int) -> list[Row]:
    """A row a precision, bundled model."""
    stream = repeating(texts)
    rows: list[Row] = []
    for precision in ("fp32", "int8"):
        options = settings_of(BUNDLED_MODEL)
        cached = options.model_copy(update={"cache_entries": 20_000})
        classifier = load(BUNDLED_MODEL, precision)
        separate: Any = copy.copy(classifier)
        separate.__class__ = Separate
        # As the worker's: in a longer queue all that is equal would wait at the same time.
        queue = room.default(parts.batch_tokens(options, classifier))
        sides = {
            "once": classify_with(cached, classifier, stream, queue),
            "off": classify_with(options, classifier, stream, queue),
            "each": classify_with(options, separate, stream, queue),
        }
        rates = alternate(sides, len(stream), rounds)
        rows.append(
            {
                "bundled model": precision,
                "repeated": f"{1 - len(set(stream)) / len(stream):.0%}",
                "equal ones once, msg/s": median(rates["once"]),
                "each by itself, msg/s": median(rates["each"]),
                "ratio": ratio(rates, "once", "each"),
                "cache off, merged in the queue, msg/s": median(rates["off"]),
                "over the cache off alone": ratio(rates, "once", "off"),
            }
        )
    return rows


def repeating(texts: list[str]) -> list[str]:
    """A stream of which two thirds repeat what was said before, by Zipf's law of rank."""
    random = Random(11)  # noqa: S311  (no secret)
    fresh = (f"{text} {number}" for number in count() for text in texts)
    said: list[str] = []
    stream: list[str] = []
    weights = list(accumulate(1 / rank for rank in range(1, MESSAGES + 1)))
    while len(stream) < MESSAGES:
        if said and random.random() < REPEATED:
            stream += random.choices(said, cum_weights=weights[: len(said)])
        else:
            said.append(next(fresh))
            stream.append(said[-1])
    return stream
