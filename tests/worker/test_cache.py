"""The cache of decisions keeps the latest, exactly as they were, in little memory."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.cache import Cache
from worker.decision import Decision, decide

# Few, so that they come again, and what they may be at most among them.
SEQUENCES = st.lists(st.sampled_from([0, 7, 2**32 - 1]), max_size=2).map(tuple)
DECISIONS = st.lists(st.floats(1e-9, 1), min_size=6, max_size=6).map(
    lambda row: decide(np.array([row]) / sum(row), 0.2)[0]
)


@given(st.integers(0, 4), st.lists(st.tuples(SEQUENCES, st.none() | DECISIONS)))
def test_what_was_put_or_asked_for_last_is_found_unchanged(
    entries: int, steps: list[tuple[tuple[int, ...], Decision | None]]
) -> None:
    cache, known = Cache(entries), dict[tuple[int, ...], Decision]()
    for tokens, put in steps:
        if put is None:
            assert cache.get(tokens) == known.get(tokens)
            if tokens in known:
                known[tokens] = known.pop(tokens)
        else:
            cache.put(tokens, put)
            known[tokens] = put  # at its old place, should it be known: it was asked for before
            for oldest in list(known)[: max(0, len(known) - entries)]:
                del known[oldest]
        assert len(cache) == len(known)
    cache.clear()
    assert all(cache.get(tokens) is None for tokens, _ in steps)


def test_an_entry_takes_a_third_of_a_kilobyte() -> None:
    count, length = 4096, 20
    (decision,) = decide(np.full((1, 6), 1 / 6), 0.2)
    tracemalloc.start()
    try:
        cache = Cache(count)
        for number in range(count):
            cache.put(tuple(range(number * length, (number + 1) * length)), decision)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / count < 420


def test_what_was_asked_for_stays_longer_than_what_was_not() -> None:
    first, second = (decide(np.array([row]), 0.2)[0] for row in np.eye(6)[:2])
    cache = Cache(2)
    cache.put((1,), first)
    cache.put((2,), second)
    assert cache.get((1,)) == first
    cache.put((3,), second)
    assert cache.get((1,)) == first
    assert cache.get((2,)) is None
