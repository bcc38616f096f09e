"""The batcher, against every order of arrivals and takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.batcher import Batcher

MAX_WAIT = 1.0
LONGEST = 12

sequences = st.builds(
    lambda value, length: (value,) * length, st.integers(0, 3), st.integers(0, LONGEST)
)
arrivals = st.tuples(sequences, st.floats(0.0, 0.4))
takes = st.tuples(st.none(), st.floats(0.0, 0.4))
histories = st.lists(st.one_of(arrivals, arrivals, takes), max_size=60)


@given(histories, st.integers(1, 40), st.integers(1, 8), st.sampled_from([1, 2, 8]))
def test_every_item_comes_out_once_in_batches_that_keep_every_promise(
    history: list[tuple[tuple[int, ...] | None, float]], budget: int, window: int, multiple: int
) -> None:
    batcher: Batcher[int] = Batcher(budget, MAX_WAIT, window, multiple)
    waiting: dict[tuple[int, ...], tuple[float, list[int]]] = {}  # in order of arrival
    now, added, seen = 0.0, 0, 0

    def take() -> None:
        nonlocal seen
        batch = batcher.take(now)
        assert bool(batch) == bool(waiting)
        if not batch:
            return
        lengths = [-(-len(row.tokens) // multiple) * multiple for row in batch]
        assert lengths == sorted(lengths)
        assert len(batch) == 1 or len(batch) * max(lengths) <= budget
        oldest, (arrived, _) = next(iter(waiting.items()))
        if now - arrived >= MAX_WAIT:
            assert oldest in [row.tokens for row in batch]
        for row in batch:
            arrived, items = waiting.pop(row.tokens)
            assert (row.arrived, row.items) == (arrived, items)
            seen += len(items)

    for tokens, pause in history:
        now += pause
        if tokens is None:
            take()
        else:
            batcher.add(added, tokens, now)
            waiting.setdefault(tokens, (now, []))[1].append(added)
            added += 1
        assert len(batcher) == len(waiting)
        assert batcher.tokens == sum(map(len, waiting))
        assert len(batcher._sorted) <= window
    while waiting:
        take()
    assert seen == added
    assert batcher.take(now) == []


@given(st.lists(sequences, max_size=30))
def test_draining_gives_every_item_back(rows: list[tuple[int, ...]]) -> None:
    batcher: Batcher[int] = Batcher(16, MAX_WAIT, window=4)
    for item, tokens in enumerate(rows):
        batcher.add(item, tokens, 0.0)
    assert sorted(batcher.drain()) == list(range(len(rows)))
    assert (len(batcher), batcher.tokens, batcher.take(9.0)) == (0, 0, [])


def test_equal_sequences_share_a_row() -> None:
    batcher: Batcher[str] = Batcher(100, MAX_WAIT)
    for item in "abc":
        batcher.add(item, (2, 7, 3), 0.0)
    assert [row.items for row in batcher.take(0.0)] == [["a", "b", "c"]]


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
