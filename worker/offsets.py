"""Which offset of a partition may be committed, when results finish out of order (pure)."""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class OffsetTracker(Generic[T]):
    """Releases outcomes of one partition in input order.

    `position` is the next offset expected from the log: all below it was taken in. Offsets may have
    gaps (transaction markers, aborted records, compaction), so order is kept by arrival, and what
    may be committed is one past the last released offset, never a count.
    """

    position: int
    _order: deque[int] = field(default_factory=deque)  # taken in and not released
    _open: set[int] = field(default_factory=set)  # of those, the ones without an outcome
    _outcomes: dict[int, T] = field(default_factory=dict)  # of the others

    def take_in(self, offset: int) -> bool:
        """Open `offset`; False if it was taken in before (a repeat after a seek)."""
        if offset < self.position:
            return False
        self._order.append(offset)
        self._open.add(offset)
        self.position = offset + 1
        return True

    def complete(self, offset: int, outcome: T) -> None:
        """Set the outcome of `offset`. Raises KeyError if it is not open: a result of nothing."""
        self._open.remove(offset)
        self._outcomes[offset] = outcome

    def release(self, limit: int) -> tuple[list[T], int]:
        """Take at most `limit` finished outcomes from the front, in order.

        Returns them and the offset to commit with them. Raises IndexError when not `ready`.
        """
        outcomes: list[T] = []
        next_offset = self.first
        order, unfinished, pop = self._order, self._open, self._outcomes.pop
        while order and order[0] not in unfinished and len(outcomes) < limit:
            offset = order.popleft()
            outcomes.append(pop(offset))
            next_offset = offset + 1
        return outcomes, next_offset

    @property
    def first(self) -> int:
        """The oldest offset that is not released. Raises IndexError when there is none."""
        return self._order[0]

    @property
    def front(self) -> T:
        """The outcome of the oldest offset. Raises IndexError or KeyError when not `ready`."""
        return self._outcomes[self._order[0]]

    @property
    def ready(self) -> bool:
        """Whether the oldest open offset is finished."""
        return bool(self._order) and self._order[0] not in self._open

    @property
    def unfinished(self) -> int:
        """How many offsets are still without an outcome."""
        return len(self._open)

    @property
    def empty(self) -> bool:
        """Whether everything taken in was released."""
        return not self._order
