"""The offset tracker: what may be committed, and in which order results leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.offsets import OffsetTracker


@given(st.data())
def test_outcomes_leave_in_order_and_the_commit_is_one_past_the_last(data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=20))
    start = data.draw(st.integers(0, 1_000))
    offsets = [start + sum(gaps[:place]) for place in range(1, len(gaps) + 1)]
    tracker: OffsetTracker[str] = OffsetTracker(start)
    assert all(tracker.take_in(offset) for offset in offsets)
    assert not any(tracker.take_in(offset) for offset in offsets)
    assert tracker.position == offsets[-1] + 1
    released: list[str] = []
    for done, offset in enumerate(data.draw(st.permutations(offsets)), start=1):
        tracker.complete(offset, f"outcome {offset}")
        assert tracker.unfinished == len(offsets) - done
        if tracker.ready:
            limit = data.draw(st.integers(1, 5))
            outcomes, next_offset = tracker.release(limit)
            assert 1 <= len(outcomes) <= limit
            released += outcomes
            assert next_offset == offsets[len(released) - 1] + 1
    while not tracker.empty:
        released += tracker.release(100)[0]
    assert released == [f"outcome {offset}" for offset in offsets]


def test_nothing_is_released_past_an_open_offset() -> None:
    tracker: OffsetTracker[str] = OffsetTracker(5)
    for offset in (5, 6, 9):
        tracker.take_in(offset)
    tracker.complete(6, "b")
    tracker.complete(9, "c")
    assert not tracker.ready
    assert tracker.first == 5
    tracker.complete(5, "a")
    assert tracker.release(2) == (["a", "b"], 7)
    assert tracker.release(2) == (["c"], 10)
    assert tracker.empty


def test_what_was_taken_in_before_is_refused() -> None:
    tracker: OffsetTracker[str] = OffsetTracker(5)
    assert not tracker.take_in(4)
    assert tracker.take_in(7)
    assert not tracker.take_in(7)
    assert not tracker.take_in(6)


def test_a_result_of_nothing_is_an_error() -> None:
    tracker: OffsetTracker[str] = OffsetTracker(0)
    tracker.take_in(0)
    tracker.complete(0, "a")
    for offset in (0, 1):
        with pytest.raises(KeyError):
            tracker.complete(offset, "again")
