"""From a queue of token sequences to batches under a token budget and a deadline (pure).

The cost of a padded batch is `rows * longest`, so rows of like length belong together. A bounded
window of the queue is kept sorted by length; a batch is a run of neighbours whose padded tokens
keep to the budget, cut where padding would waste more than another batch costs. While nobody is
overdue the shortest go first (lowest mean wait); once the oldest has waited `max_wait` seconds the
next batch is cut around it, so nothing starves.
Equal token sequences share one row, also one that is on the device already, until its batch is
`finish`ed: chat is full of ㅋㅋㅋ, ㅇㅇ and 네.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

BATCH_COST: Final = 1 / 8  # of the budget: what a batch takes beside its rows, in tokens

T = TypeVar("T")
Tokens = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Row(Generic[T]):
    """One distinct token sequence and everyone who waits for its result."""

    tokens: Tokens
    arrived: float  # seconds, the caller's monotonic clock
    order: int  # of arrival
    width: int  # tokens that it takes in a batch, at least
    items: list[T] = field(default_factory=list)
    taken: bool = False

    @property
    def placed(self) -> "tuple[int, int, Row[T]]":
        """The row with what it is sorted by: shorter first, then older first.

        A tuple, since comparing tuples is several times cheaper than calling a key function.
        """
        return (self.width, self.order, self)


class Batcher(Generic[T]):
    """`add` token sequences, `take` batches of rows. Times are seconds, given by the caller."""

    def __init__(
        self, max_batch_tokens: int, max_wait: float, window: int = 4096, multiple: int = 1
    ) -> None:
        """`max_batch_tokens`: padded tokens a batch; `window`: rows that are sorted at a time.

        `multiple`: what the device wants the length of a batch's rows to be a multiple of.
        """
        self.max_batch_tokens = max_batch_tokens
        self.max_wait = max_wait
        self.window = window
        self.multiple = multiple
        self._by_tokens: dict[Tokens, Row[T]] = {}  # queued, or taken and not finished
        self._arrivals: deque[Row[T]] = deque()  # every row, oldest first; taken ones linger
        self._sorted: list[tuple[int, int, Row[T]]] = []  # but for those `add` put at its end
        self._overflow: deque[Row[T]] = deque()  # rows behind the window, in order of arrival
        self._count = 0

    def __len__(self) -> int:
        """Rows queued."""
        return len(self._sorted) + len(self._overflow)

    def add(self, item: T, tokens: Tokens, now: float) -> None:
        """Queue `item`; it joins the row of an equal sequence if there is one."""
        row = self._by_tokens.get(tokens)
        if row is None:
            self._count += 1
            width = -(-len(tokens) // self.multiple) * self.multiple
            row = Row(tokens, now, self._count, width, [item])
            self._by_tokens[tokens] = row
            self._arrivals.append(row)
            if len(self._sorted) < self.window:
                self._sorted.append(row.placed)
            else:
                self._overflow.append(row)
        else:
            row.items.append(item)

    def take(self, now: float) -> list[Row[T]]:
        """Return the next batch, shortest row first; empty when nothing is queued.

        Items may still join its rows, until they are handed to `finish`.
        """
        if not self._sorted:
            return []
        # Once a batch: a list that is sorted but for its end takes less than a search a row.
        self._sorted.sort()
        oldest = self._oldest()
        overdue = now - oldest.arrived >= self.max_wait
        first, last = self._around(bisect_left(self._sorted, oldest.placed) if overdue else 0)
        batch = [row for *_, row in self._sorted[first : last + 1]]
        del self._sorted[first : last + 1]
        for row in batch:
            row.taken = True
        while self._overflow and len(self._sorted) < self.window:
            self._sorted.append(self._overflow.popleft().placed)
        return batch

    def finish(self, rows: Iterable[Row[T]]) -> None:
        """Let go of `rows`, which were taken, and of their items; an equal one is queued anew."""
        for row in rows:
            del self._by_tokens[row.tokens]
            row.items.clear()  # the row may stay for a while yet, among those that arrived

    def _oldest(self) -> Row[T]:
        # The oldest row is always inside the window, since rows enter the window in order.
        while self._arrivals[0].taken:
            self._arrivals.popleft()
        return self._arrivals[0]

    def _around(self, place: int) -> tuple[int, int]:
        """The neighbours of the row at `place` that make, with it, the batch of least waste.

        Of each padded token and of what a batch costs whatever its size, the share that is no
        padding is made as large as it can be: a row much shorter than the others, or one more that
        is much longer, is better off in another batch.
        """
        rows, budget = self._sorted, self.max_batch_tokens
        longest = rows[place][0]  # 0 is possible: a tokenizer without [CLS], an empty text
        first = max(0, place + 1 - max(1, budget // max(1, longest)))
        tokens = sum(row[0] for row in rows[first:place])
        best, found = 0.0, (place, place)
        for last in range(place, len(rows)):
            longest = rows[last][0]
            tokens += longest
            fit = max(1, budget // max(1, longest))
            cost = (last + 1 - first) * longest + budget * BATCH_COST
            while first < place and (
                last - first >= fit or rows[first][0] * cost < tokens * longest
            ):
                tokens -= rows[first][0]
                cost -= longest
                first += 1
            if last - first >= fit:
                break
            if tokens / cost > best:
                best, found = tokens / cost, (first, last)
        return found
