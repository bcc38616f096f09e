"""Rows of token ids → padded batches of like length, and what is masked in them (pure)."""

import random
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from models import words
from models.scale import Schedule
from models.words import CLS, LONGEST, MASK, PAD, SPECIAL, Ids

WINDOW: Final = 4096  # texts that are sorted by length at a time, at least
JOINED: Final = 16  # one text in so many is part of a row of full length: all positions are learned


def batches(rows: Sequence[Ids], schedule: Schedule) -> Iterator[Ids]:
    """Batches of like length, padded, without end; the same for the same seed."""
    draw = random.Random(schedule.seed)  # noqa: S311  (a shuffle, not a secret)
    size = max(WINDOW, schedule.tokens // 2)  # large batches want a large choice of like rows
    while True:
        order = list(range(len(rows)))
        draw.shuffle(order)
        for first in range(0, len(order), size):
            window = [rows[place] for place in order[first : first + size]]
            cut = len(window) // JOINED
            ready = packed(
                sorted([*_joined(window[:cut]), *window[cut:]], key=len), schedule.tokens
            )
            draw.shuffle(ready)
            yield from ready


def mask(batch: Ids, schedule: Schedule, step: int) -> tuple[Ids, Ids, Ids]:
    """(what the model sees, masked places in the flat batch, what was there).

    Of the masked tokens 80 % are [MASK], 10 % another token, 10 % themselves.
    """
    draw = np.random.default_rng((schedule.seed, step))
    flat = batch.reshape(-1)
    ordinary = np.flatnonzero(flat >= len(SPECIAL))
    count = max(1, int(schedule.masked * len(ordinary)))
    places = np.sort(draw.choice(ordinary, count, replace=False))
    seen = flat.copy()
    kind = draw.random(count)
    seen[places[kind < 0.8]] = MASK  # noqa: PLR2004  (the paper's shares, above)
    other = (kind >= 0.8) & (kind < 0.9)  # noqa: PLR2004
    seen[places[other]] = draw.integers(len(SPECIAL), words.VOCABULARY, other.sum())
    return seen.reshape(batch.shape), places, flat[places]


def packed(rows: Sequence[Ids], budget: int) -> list[Ids]:
    """Rows, shortest first → padded batches of `budget` tokens at most."""
    ready: list[Ids] = []
    batch: list[Ids] = []
    for row in rows:
        if batch and len(row) * (len(batch) + 1) > budget:
            ready.append(_padded(batch))
            batch = []
        batch.append(row)
    return [*ready, _padded(batch)] if batch else ready


def _joined(rows: Sequence[Ids]) -> Iterator[Ids]:
    """Texts behind one another, in rows of the greatest length."""
    if not rows:
        return
    line = np.concatenate([row[1:] for row in rows])
    for first in range(0, len(line), LONGEST - 1):
        yield np.concatenate([[CLS], line[first : first + LONGEST - 1]])


def _padded(rows: Sequence[Ids]) -> Ids:
    found = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found
