"""Which samples people are asked first: three piles that take turns (pure)."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any


def most_valuable(
    samples: Sequence[dict[str, Any]],
    opinions: dict[str, str],
    labelled: set[str],
    limit: int,
) -> list[dict[str, Any]]:
    """The most valuable first, from three piles in turn.

    The random stratum, then of the low-margin one those on which the teacher (`opinions`: id →
    emotion) disagrees with the worker, the surest first, and the lowest margins. The random
    stratum is shuffled, what the newest model answered before the rest, and nothing else decides:
    were the likely mistakes, or one partition, labelled first, its labels would not stand for it.
    """
    left = [row for row in samples if row["id"] not in labelled]
    answers = ((row["classified_at"], row["model_version"]) for row in samples)
    newest = max(answers, default=("", ""))[1]
    random = sorted(
        (row for row in left if row["reason"] == "random"),
        key=lambda row: (row["model_version"] != newest, _shuffled(row["id"])),
    )
    unsure = sorted(
        (row for row in left if row["reason"] != "random"),
        key=lambda row: (row["margin"], row["id"]),
    )
    differing = [row for row in unsure if opinions.get(row["id"], row["emotion"]) != row["emotion"]]
    surest = sorted(differing, key=lambda row: -row["confidence"])
    return list(islice(_in_turn(random, surest, unsure), limit))


def _in_turn(*piles: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The next of each pile, and so on; none twice."""
    taken: set[str] = set()
    left = [iter(each) for each in piles]
    while left:
        for pile in list(left):
            row = next((each for each in pile if each["id"] not in taken), None)
            if row is None:
                left.remove(pile)
            else:
                taken.add(row["id"])
                yield row


def _shuffled(name: str) -> bytes:
    """A place that says nothing of the sample, and is the same every time."""
    return blake2b(name.encode(), digest_size=8).digest()
