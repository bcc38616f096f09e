"""The batcher, against every order of arrivals and takes."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.batcher import Batcher, Row

MAX_WAIT = 1.0
LONGEST = 12

sequences = st.builds(
    lambda value, length: (value,) * length, st.integers(0, 3), st.integers(0, LONGEST)
)
arrivals = st.tuples(sequences, st.floats(0.0, 0.4))
takes = st.tuples(st.none(), st.floats(0.0, 0.4))
histories = st.lists(st.one_of(arrivals, arrivals, takes), max_size=60)


class Watched:
    """A batcher, and by its side what it has to hold."""

    def __init__(self, batcher: Batcher[int]) -> None:
        self.batcher = batcher
        self.waiting: dict[tuple[int, ...], tuple[float, list[int]]] = {}  # in order of arrival
        self.taken: dict[tuple[int, ...], list[int]] = {}
        self.running: deque[list[Row[int]]] = deque()
        self.added = self.seen = 0

    def add(self, tokens: tuple[int, ...], now: float) -> None:
        self.batcher.add(self.added, tokens, now)
        if tokens in self.taken:
            self.taken[tokens].append(self.added)
        else:
            self.waiting.setdefault(tokens, (now, []))[1].append(self.added)
        self.added += 1

    def take(self, now: float) -> None:
        batch = self.batcher.take(now)
        assert bool(batch) == bool(self.waiting)
        if not batch:
            return
        multiple = self.batcher.multiple
        lengths = [-(-len(row.tokens) // multiple) * multiple for row in batch]
        assert lengths == sorted(lengths)
        assert len(batch) == 1 or len(batch) * max(lengths) <= self.batcher.max_batch_tokens
        oldest, (arrived, _) = next(iter(self.waiting.items()))
        if now - arrived >= MAX_WAIT:
            assert oldest in [row.tokens for row in batch]
        for row in batch:
            arrived, items = self.waiting.pop(row.tokens)
            assert (row.arrived, row.items) == (arrived, items)
            self.taken[row.tokens] = items
        self.running.append(batch)

    def finish(self, ahead: int = 0) -> None:
        """But for the last `ahead` batches."""
        while len(self.running) > ahead:
            batch = self.running.popleft()
            for row in batch:
                assert row.items == self.taken.pop(row.tokens)
                self.seen += len(row.items)
            self.batcher.finish(batch)
            assert not any(row.items for row in batch)


@given(
    histories,
    st.integers(1, 40),
    st.integers(1, 8),
    st.sampled_from([1, 2, 8]),
    st.integers(0, 2),
)
def test_every_item_comes_out_once_in_batches_that_keep_every_promise(
    history: list[tuple[tuple[int, ...] | None, float]],
    budget: int,
    window: int,
    multiple: int,
    ahead: int,
) -> None:
    watched = Watched(Batcher(budget, MAX_WAIT, window, multiple))
    now = 0.0
    for tokens, pause in history:
        now += pause
        if tokens is None:
            watched.take(now)
            watched.finish(ahead)
        else:
            watched.add(tokens, now)
        assert len(watched.batcher) == len(watched.waiting)
        assert len(watched.batcher._sorted) <= window
    while watched.waiting:
        watched.take(now)
    watched.finish()
    assert watched.seen == watched.added
    assert watched.batcher.take(now) == []


def test_equal_sequences_share_a_row() -> None:
    batcher: Batcher[str] = Batcher(100, MAX_WAIT)
    for item in "abc":
        batcher.add(item, (2, 7, 3), 0.0)
    assert [row.items for row in batcher.take(0.0)] == [["a", "b", "c"]]


def test_an_equal_sequence_joins_a_row_that_was_taken_until_that_is_finished() -> None:
    batcher: Batcher[str] = Batcher(100, MAX_WAIT)
    batcher.add("a", (2, 7, 3), 0.0)
    (row,) = batcher.take(0.0)
    batcher.add("b", (2, 7, 3), 0.1)
    assert (row.items, len(batcher), batcher.take(9.0)) == (["a", "b"], 0, [])
    batcher.finish([row])
    batcher.add("c", (2, 7, 3), 0.2)
    assert [row.items for row in batcher.take(0.2)] == [["c"]]


def test_the_shortest_go_first_while_nobody_is_overdue() -> None:
    batcher: Batcher[str] = Batcher(8, MAX_WAIT)
    batcher.add("long", (1,) * 8, 0.0)
    batcher.add("short", (2,) * 4, 0.5)
    assert [row.items for row in batcher.take(0.9)] == [["short"]]
    batcher.add("shorter", (3,) * 2, 0.9)
    assert [row.items for row in batcher.take(1.0)] == [["long"]]


@pytest.mark.parametrize("overdue", [3, 25])
def test_rows_of_other_lengths_are_left_for_another_batch(overdue: int) -> None:
    """They would fit: 8 × 25 padded tokens; but three of four of those would be padding."""
    batcher: Batcher[int] = Batcher(200, MAX_WAIT)
    for place, length in enumerate([overdue, 3, 3, 3, 3, 3, 3, 25]):
        batcher.add(place, (place,) * length, 0.0)
    lengths = [len(row.tokens) for row in batcher.take(5.0)]
    assert set(lengths) == {overdue}


def test_a_few_tokens_of_padding_cost_less_than_one_more_batch() -> None:
    batcher: Batcher[int] = Batcher(200, MAX_WAIT)
    for place, length in enumerate([9, 10, 11]):
        batcher.add(place, (place,) * length, 0.0)
    assert len(batcher.take(5.0)) == 3


def test_a_row_beyond_the_budget_goes_alone() -> None:
    batcher: Batcher[str] = Batcher(4, MAX_WAIT)
    batcher.add("huge", (1,) * 9, 0.0)
    batcher.add("next", (2,) * 9, 0.0)
    assert [row.items for row in batcher.take(5.0)] == [["huge"]]
    assert [row.items for row in batcher.take(5.0)] == [["next"]]
