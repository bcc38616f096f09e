"""Which offset of a partition may be committed, when results finish out of order (pure)."""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Slot(Generic[T]):
    offset: int
    outcome: T | None = None
    done: bool = False


@dataclass(slots=True)
class OffsetTracker(Generic[T]):
    """Releases outcomes of one partition in input order.

    `position` is the next offset expected from the log: all below it was taken in. Offsets may have
    gaps (transaction markers, aborted records, compaction), so order is kept by arrival, and what
    may be committed is one past the last released offset, never a count.
    """

    position: int
    _slots: deque[_Slot[T]] = field(default_factory=deque)
    _by_offset: dict[int, _Slot[T]] = field(default_factory=dict)

    def take_in(self, offset: int) -> bool:
        """Open a slot for `offset`; False if it was taken in before (a repeat after a seek)."""
        if offset < self.position:
            return False
        slot: _Slot[T] = _Slot(offset)
        self._slots.append(slot)
        self._by_offset[offset] = slot
        self.position = offset + 1
        return True

    def complete(self, offset: int, outcome: T) -> None:
        """Set the outcome of `offset`. Raises KeyError if it is not open: a result of nothing."""
        slot = self._by_offset.pop(offset)
        slot.outcome = outcome
        slot.done = True

    def release(self, limit: int) -> tuple[list[T], int]:
        """Take at most `limit` finished outcomes from the front, in order.

        Returns them and the offset to commit with them. Raises IndexError when not `ready`.
        """
        outcomes: list[T] = []
        next_offset = self.first
        while self._slots and self._slots[0].done and len(outcomes) < limit:
            slot = self._slots.popleft()
            outcomes.append(slot.outcome)  # type: ignore[arg-type]  # done slots have an outcome
            next_offset = slot.offset + 1
        return outcomes, next_offset

    @property
    def first(self) -> int:
        """The oldest offset that is not released. Raises IndexError when there is none."""
        return self._slots[0].offset

    @property
    def ready(self) -> bool:
        """Whether the oldest open offset is finished."""
        return bool(self._slots) and self._slots[0].done

    @property
    def unfinished(self) -> int:
        """How many offsets are still without an outcome."""
        return len(self._by_offset)

    @property
    def empty(self) -> bool:
        """Whether everything taken in was released."""
        return not self._slots
