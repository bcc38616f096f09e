"""Backpressure by tokens: nothing is polled for while too many are admitted and not committed.

A partition that cannot publish is left out: what it holds takes room from the others, but not all,
or one partition without a leader would stop every other.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from worker.consumer import Source
from worker.lanes import Lanes
from worker.metrics import Metrics

PATIENCE_SECONDS: Final = 1.0  # with a full queue, before partitions pause
BATCHES: Final = 4  # of the device: as many as may be queued, where no other limit is set,
LEAST: Final = 16_384  # but so many tokens at least: a transaction takes its time on any device
LEFT: Final = 4  # one part in so many of the limit is for those that move, whatever others hold


def default(batch_tokens: int) -> int:
    """The limit in tokens, by what the device takes at a time."""
    return max(LEAST, BATCHES * batch_tokens)


class Room:
    """How much of the limit is taken, and the wait for more."""

    def __init__(self, source: Source, lanes: Lanes, metrics: Metrics, limit: int) -> None:
        """`limit` in tokens."""
        self._source = source
        self._lanes = lanes
        self._metrics = metrics
        self._limit = limit

    async def wait(self, poll: Callable[[], Awaitable[None]]) -> None:
        """Return where there is room; with a full queue, once half of it is free.

        A short wait leaves what aiokafka has fetched in place; a pause throws it away, but keeps
        the member in the group however long it lasts, as `poll` goes on.
        """
        if self._is_below(self._allowed):
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not self._is_below(self._allowed // 2):
                    await self._lanes.room()
                return
        except TimeoutError:
            pass
        try:
            while not self._is_below(self._allowed // 2):
                self._source.pause(self._lanes.owned)  # again: a take-over resumes its own
                await poll()
        finally:
            self._source.resume(self._lanes.flowing)

    @property
    def _allowed(self) -> int:
        """Tokens that the partitions which move may have admitted."""
        return max(self._limit - self._lanes.stuck_tokens, self._limit // LEFT)

    def _is_below(self, tokens: int) -> bool:
        admitted = self._lanes.tokens
        self._metrics.queue_tokens.set(admitted)
        return admitted - self._lanes.stuck_tokens < max(1, tokens)
