"""Once a second: lag, positions that no record moves, and whether Kafka answers."""

import asyncio
from time import monotonic
from typing import Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from worker.consumer import Source
from worker.lanes import Lanes
from worker.metrics import Metrics

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 1.0


class Housekeeping:
    """What a worker looks after beside the messages."""

    def __init__(self, source: Source, lanes: Lanes, metrics: Metrics) -> None:
        self.reachable_at = monotonic()  # when Kafka last answered
        self._source = source
        self._lanes = lanes
        self._metrics = metrics
        self._silent: set[TopicPartition] = set()  # do not tell where their logs end

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self._step_over()
            await self._measure()

    async def _step_over(self) -> None:
        for partition, lane in self._lanes.items():
            if lane.live and lane.idle:
                position = await self._source.position(partition)
                if position is not None:
                    lane.step_over(position)

    async def _measure(self) -> None:
        """Lag is what is not committed: a worker whose results nobody takes does not keep pace."""
        asked = self._lanes.owned
        try:
            ends = await self._source.ends(asked)
        except (KafkaError, TimeoutError) as error:
            log.warning("Kafka does not answer; waiting for it", error=type(error).__name__)
            return
        self.reachable_at = monotonic()
        self._mention(set(asked) - set(ends))
        for partition, end in ends.items():
            lane = self._lanes.get(partition)
            if lane is not None and lane.committed is not None:
                lag = max(0, end - lane.committed)
                self._metrics.lag.labels(partition.topic, partition.partition).set(lag)

    def _mention(self, silent: set[TopicPartition]) -> None:
        """Say once of a partition that it tells nothing, however long that lasts."""
        for partition in sorted(silent - self._silent):
            log.warning(
                "a partition does not tell where its log ends; has it a leader?",
                topic=partition.topic,
                partition=partition.partition,
            )
        self._silent = silent
