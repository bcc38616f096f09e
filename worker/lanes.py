"""The partitions that the group gave this worker: a lane each, and a task that runs it."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import Final

import structlog
from aiokafka import TopicPartition

from worker.consumer import Source
from worker.lane import Lane, Limits
from worker.metrics import Metrics
from worker.publisher import Publisher
from worker.tracing import OFF, Traces

log = structlog.get_logger(__name__)

REVOKE_SECONDS: Final = 3.0  # what is not done by then is left to the next owner


class Lanes:
    """Takes partitions over and lets them go as the group says (`consumer.Assignments`)."""

    def __init__(  # noqa: PLR0913, PLR0917  (its own parts, and those of its lanes)
        self,
        source: Source,
        publisher: Publisher,
        limits: Limits,
        metrics: Metrics,
        wall_clock: Callable[[], float],
        traces: Traces = OFF,
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._limits = limits
        self._metrics = metrics
        self._wall_clock = wall_clock
        self._traces = traces
        self._lanes: dict[TopicPartition, Lane] = {}
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None  # None: no new lanes
        self._joined = False  # an assignment came, even an empty one, and was not taken back
        self._room = asyncio.Event()

    def open(self, group: asyncio.TaskGroup) -> None:
        """Run lanes in `group` from now on."""
        self._group = group

    def close(self) -> None:
        """Take no partition over any more; those that are owned stay."""
        self._group = None
        self._joined = False

    def cancel(self) -> None:
        """End all lanes where they stand."""
        for task in self._tasks.values():
            task.cancel()

    @property
    def ready(self) -> bool:
        """Whether the group was joined and every partition it gave is taken over."""
        return self._joined and all(lane.live for lane in self._lanes.values())

    @property
    def tokens(self) -> int:
        """Tokens admitted and not yet committed."""
        return sum(lane.tokens for lane in self._lanes.values())

    @property
    def stuck_tokens(self) -> int:
        """Those of partitions that cannot publish now."""
        return sum(lane.tokens for lane in self._lanes.values() if lane.stuck)

    @property
    def owned(self) -> list[TopicPartition]:
        """All partitions that the group gave us."""
        return list(self._lanes)

    @property
    def flowing(self) -> list[TopicPartition]:
        """Those of which more is to be taken in."""
        return [partition for partition, lane in self._lanes.items() if lane.flows]

    def __len__(self) -> int:
        return len(self._lanes)

    def items(self) -> Iterator[tuple[TopicPartition, Lane]]:
        """Partitions and lanes, as they are now; they may change meanwhile."""
        yield from list(self._lanes.items())

    def get(self, partition: TopicPartition) -> Lane | None:
        """The lane of `partition`, unless it was let go."""
        return self._lanes.get(partition)

    async def room(self) -> None:
        """Wait until tokens went, or a lane got stuck or came loose."""
        self._room.clear()
        await self._room.wait()

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take partitions over, each by itself: heartbeats rest until this returns."""
        if self._group is None:
            return
        self._joined = True
        for partition in partitions:
            lane = self._lanes[partition] = Lane(
                partition,
                self._source,
                self._publisher,
                self._limits,
                self._metrics,
                self._wall_clock,
                self._room.set,
                self._traces,
            )
            self._tasks[partition] = self._group.create_task(lane.run())

    async def revoked(
        self, partitions: Collection[TopicPartition], seconds: float | None = None
    ) -> None:
        """Let partitions go: drain for at most `seconds` (`REVOKE_SECONDS`), drop what is left."""
        self._joined = False
        tasks = [self._tasks[partition] for partition in partitions if partition in self._tasks]
        for partition in partitions:
            if partition in self._lanes:
                self._lanes[partition].drain()
        if tasks:
            _, late = await asyncio.wait(
                tasks, timeout=REVOKE_SECONDS if seconds is None else seconds
            )
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            if late:
                log.info("work in flight is left to the next owner", partitions=len(late))
        try:
            await asyncio.gather(*(self._publisher.close(partition) for partition in partitions))
        finally:
            self._drop(partitions)

    def _drop(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            lane = self._lanes.pop(partition, None)
            self._tasks.pop(partition, None)
            if lane is not None:
                lane.epoch += 1  # late results are dropped
                self._metrics.forget(partition.topic, partition.partition)
        self._room.set()
