"""The messages of a cell on their way to the input topic, as planned, whatever is done to it."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from time import monotonic
from typing import Final

from aiokafka import AIOKafkaProducer

from tests.kafka import harness
from tests.kafka.harness import Input

TICK_SECONDS: Final = 0.05
PROMPT: Final = 0.8  # of the messages come at their rate; the others wait for the faults
DECAY: Final = 0.1  # of what is left comes in each second of waiting, but for the last message


class Sender:
    """Sends on schedule; a partition that the cluster does not take holds no other up."""

    def __init__(self, servers: str, topic: str) -> None:
        self.producer = AIOKafkaProducer(
            bootstrap_servers=servers,
            enable_idempotence=True,
            linger_ms=2,
            request_timeout_ms=120_000,  # it outlasts what is done to the brokers
        )
        self.sent: list[Input] = []  # acknowledged and, in transactions, committed
        self.taken: dict[int, list[float]] = {}
        """By partition, in monotonic seconds: when the cluster took some."""
        self.waiting = True  # faults are still to come: there have to be messages at each
        self.rest_at: int | None = None  # messages, after which none come until `flowing` is set
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._topic = topic

    @property
    def last(self) -> float:
        """Monotonic seconds: when the cluster took the last of them so far."""
        return max((times[-1] for times in self.taken.values()), default=0.0)

    async def stream(self, inputs: Iterator[Input], count: int, seconds: float) -> None:
        """Send `count` evenly over `seconds`, or as fast as the cluster takes them if slower.

        While faults are still to come, the last fifth comes ever slower instead of running out. At
        `rest_at` it waits for `flowing`, and nothing is caught up afterwards.
        """
        due: dict[int, list[Input]] = {}
        sending: dict[int, asyncio.Task[None]] = {}
        planned, progress, now = 0, 0.0, monotonic()
        async with asyncio.TaskGroup() as group:
            while planned < count:
                before, now = now, monotonic()
                held_back = self.waiting and progress >= PROMPT * count
                rate = DECAY * (count - progress) if held_back else count / seconds
                progress += (now - before) * rate
                most = count - 1 if held_back else count
                if self.rest_at is not None:
                    most = min(most, self.rest_at)
                reached = max(planned, min(most, int(progress) + 1))
                for each in islice(inputs, reached - planned):
                    due.setdefault(each.partition or 0, []).append(each)
                for partition in due:
                    if partition not in sending or sending[partition].done():
                        sending[partition] = group.create_task(self._send(partition, due))
                planned = reached
                if planned == self.rest_at:
                    self.rest_at = None
                    self.flowing.clear()
                    await self.flowing.wait()
                    now = monotonic()
                await asyncio.sleep(TICK_SECONDS)  # the schedule itself

    def took(self, acknowledged: Sequence[Input]) -> None:
        """The cluster has them."""
        now = monotonic()
        self.sent += acknowledged
        for partition in {each.partition or 0 for each in acknowledged}:
            self.taken.setdefault(partition, []).append(now)

    async def _send(self, partition: int, due: dict[int, list[Input]]) -> None:
        while chunk := due.pop(partition, []):
            self.took(await harness.send(self.producer, self._topic, chunk))
