"""A read_committed subscriber of all outputs, reading while the faults happen."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from time import monotonic
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from tests.kafka import verifier

STALL_SECONDS: Final = 1.0  # without a message of a partition: there is nothing to hear of


class Arrival(NamedTuple):
    """When a record became visible to a subscriber, in monotonic seconds."""

    at: float
    record: Any


class Watcher:
    """Collects what arrives, in the order of each partition."""

    def __init__(self, servers: str, topics: list[str]) -> None:
        self.arrivals: dict[TopicPartition, list[Arrival]] = {}
        self._servers, self._topics = servers, topics
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=servers,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._consumer.start()
        places = [
            place for topic in self._topics for place in await verifier.places(self._servers, topic)
        ]
        self.arrivals = {place: [] for place in places}
        self._consumer.assign(places)
        await self._consumer.seek_to_beginning(*places)
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            try:
                found = await self._consumer.getmany(timeout_ms=200, max_records=2000)
            except KafkaError:
                continue  # a broker is gone: that is the point
            now = monotonic()
            for place, records in found.items():
                self.arrivals[place] += [Arrival(now, record) for record in records]

    @property
    def count(self) -> int:
        """Records that have arrived."""
        return sum(map(len, self.arrivals.values()))

    @property
    def last(self) -> float:
        """Monotonic seconds: when the last of them arrived."""
        return max((each[-1].at for each in self.arrivals.values() if each), default=0.0)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    def heard(self, topic: str, since: float) -> set[int]:
        """The input partitions with a new event from then on."""
        return {
            verifier._source(record)[0]
            for place, arrivals in self.arrivals.items()
            if place.topic == topic
            for _, record in takewhile(lambda arrival: arrival.at > since, reversed(arrivals))
        }


def silence(
    arrivals: Mapping[TopicPartition, Sequence[Arrival]],
    topic: str,
    since: float,
    until: float,
    taken: Mapping[int, Sequence[float]],
) -> float:
    """Seconds: the longest that any input partition was without a new event from then on.

    `taken` is when the cluster took messages, by input partition: after the last of one there
    is nothing more to hear of it.
    """
    times: dict[int, list[float]] = {}
    for place, found in arrivals.items():
        if place.topic == topic:
            for at, record in found:
                times.setdefault(verifier._source(record)[0], []).append(at)
    gaps = (
        longest_gap(each, since, min([until, *sent[-1:]]), stalls(sent))
        for partition, each in times.items()
        for sent in (taken.get(partition, ()),)
    )
    return max(gaps, default=0.0)


def stalls(taken: Sequence[float]) -> list[tuple[float, float]]:
    """The stretches in which the cluster took nothing for a partition."""
    return [each for each in pairwise(taken) if each[1] - each[0] > STALL_SECONDS]


def longest_gap(
    times: Iterable[float], since: float, until: float, stalls: Sequence[tuple[float, float]] = ()
) -> float:
    """The longest stretch without any of `times` that begins between `since` and `until`.

    It ends with the next of them, also after `until`; without a next one it ends at `until`. What
    lies in `stalls`, in which nothing could come, is not counted.
    """
    moments = [since, *sorted(each for each in times if each > since)]
    ends = [*moments[1:], max(until, moments[-1])]
    gaps = (
        end - began - sum(max(0.0, min(end, b) - max(began, a)) for a, b in stalls)
        for began, end in zip(moments, ends, strict=True)
        if began <= until
    )
    return max(gaps, default=0.0)
