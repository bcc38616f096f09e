"""How long a message takes end to end, at what load, and what a burst does.

Messages are sent on schedule whatever the worker does (an open loop), and a message's latency
counts from the moment it was due: a stall of the worker, or of the sender, counts against us.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench import plots
from bench.classify import Row
from bench.stream import ROOMS, WORKER, Stream, message, process, resident
from deploy import broker
from worker import pacing

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator

SHARES: Final = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1)  # of what a backlog is worked off at
STEP_SECONDS: Final = 12.0
BISECTIONS: Final = 2  # between the last load that is kept pace with and the first that is not
HALF_SECONDS: Final = 30.0
HALVES: Final = 3  # runs of half load, of which the one with the median p99 is shown
BACKLOG: Final = 4000  # messages, to see how fast one is worked off
BURST: Final = ((10.0, 1.0), (5.0, 10.0), (5.0, 1.0))  # seconds, times the rate
QUIET_SECONDS: Final = 10.0  # after a burst, before its memory is looked at
BURST_SHARE: Final = 0.2  # of the knee: ten times that is twice what the worker can do
PACE_SECONDS: Final = 1.0  # a p99 above this: the load is past the knee
DEADLINE_SECONDS: Final = 90.0
WARM_MESSAGES: Final = 500
PLOT: Final = "latency.svg"


def run(texts: list[str], _rounds: int) -> list[Row]:
    """A row a load; the bundled model, 8 partitions, exactly once, as it comes.

    The embedded broker takes more of the cores the longer it runs (0.15 of one at first and 0.40
    after 72 s of 360 messages a second), so what is watched for long starts on a new one.
    """
    return asyncio.run(measure(texts))


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Latency against load."""
    steps = [row for row in rows if row["arrivals"] == STEADY]
    lines = {
        name: [float(row[f"{column}, ms"]) for row in steps]
        for name, column in (("중앙값", "p50"), ("99번째 백분위수", "p99"))
    }
    shares = [float(row["of the knee"]) for row in steps]
    return [plots.latency(shares, lines, folder / PLOT)]


STEADY: Final = "Poisson"
HALF: Final = "Poisson, half load"
BURSTY: Final = "a burst of ten times the rate for 5 s"
AGAIN: Final = "the same again"  # what caches took is there by now; what grows again stays


@dataclass(slots=True)
class Seen:
    """What became of the messages, by number."""

    due: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)  # seconds; infinite: nothing came yet
    events: int = 0  # that came, those that came twice among them
    reordered: int = 0
    last: dict[tuple[str, int], int] = field(default_factory=dict)  # offset, by input partition

    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def reaches(self, events: int) -> None:
        """Wait for that many."""
        while self.events < events:
            self.more.clear()
            await self.more.wait()

    def take(self, value: bytes) -> None:
        """An event is visible to a reader of committed records."""
        now = perf_counter()
        event = orjson.loads(value)
        number, source = int(event["message_id"][2:]), event["source"]
        where = source["topic"], source["partition"]
        self.reordered += source["offset"] < self.last.get(where, -1)
        self.last[where] = source["offset"]
        self.events += 1
        self.more.set()
        self.took[number] = min(self.took[number], now - self.due[number])


@dataclass(frozen=True, slots=True)
class Step:
    """One load, from its first message until all came through."""

    rate: float  # messages a second, as they came to be due
    took: list[float]  # seconds
    reordered: int
    twice: int
    before: float  # bytes of memory, at its beginning
    memory: float  # and at its end

    @property
    def lost(self) -> int:
        """Messages that nothing came of."""
        return sum(each == float("inf") for each in self.took)

    @property
    def kept_pace(self) -> bool:
        """Whether the worker did."""
        return self.percentile(99) <= PACE_SECONDS

    def percentile(self, share: float) -> float:
        """Seconds."""
        return float(np.percentile(self.took, share, method="higher"))


class Load:
    """Sends on schedule, and watches what comes out."""

    def __init__(
        self, producer: AIOKafkaProducer, topic: str, texts: Sequence[str], pid: int
    ) -> None:
        self.seen = Seen()
        self._producer = producer
        self._topic = topic
        self._texts = texts
        self.pid = pid
        self._random = Random(5)  # noqa: S311  (no secret)

    async def step(self, plan: Sequence[tuple[float, float]]) -> Step:
        """Send by `plan` (seconds, messages a second), and wait until all came through."""
        first, reordered, before = len(self.seen.due), self.seen.reordered, resident(self.pid)
        events, began = self.seen.events, perf_counter() + 0.1
        arrivals = list(self._poisson(plan))
        self.seen.due += [began + each for each in arrivals]
        self.seen.took += [float("inf")] * len(arrivals)
        for number in range(first, len(self.seen.due)):
            await self._send(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self.seen.reaches(events + len(arrivals))
        took = self.seen.took[first:]
        came = sum(each < float("inf") for each in took)
        return Step(
            len(arrivals) / sum(seconds for seconds, _ in plan),
            took,
            self.seen.reordered - reordered,
            self.seen.events - events - came,
            before,
            resident(self.pid),
        )

    async def burst(self, calm: float) -> Step:
        """A burst over `calm` messages a second, with the memory once it has been quiet."""
        step = await self.step([(seconds, calm * times) for seconds, times in BURST])
        await asyncio.sleep(QUIET_SECONDS)
        return replace(step, memory=resident(self.pid))

    async def backlog(self, count: int) -> float:
        """Messages a second that `count` due at once are worked off at."""
        step = await self.step([(0.001, count / 0.001)])
        return len(step.took) / max(step.took)  # most become visible near the end, in order

    def _poisson(self, plan: Sequence[tuple[float, float]]) -> Iterator[float]:
        began = 0.0
        for seconds, rate in plan:
            now = self._random.expovariate(rate)
            while now < seconds:
                yield began + now
                now += self._random.expovariate(rate)
            began += seconds

    async def _send(self, number: int) -> None:
        early = self.seen.due[number] - perf_counter()
        if early > 0 or number % 50 == 0:  # what is late goes out at once, but lets the reader read
            await asyncio.sleep(max(0.0, early))
        value = message(number, f"{self._texts[number % len(self._texts)]} {number}")
        await self._producer.send(self._topic, value, f"room-{number % ROOMS}".encode())


@asynccontextmanager
async def loading(
    stream: Stream, run: str, texts: Sequence[str], worker: "subprocess.Popen[bytes]"
) -> "AsyncIterator[Load]":
    """A load on the topics of `run`, watched for the length of the block."""
    options = stream.settings(run)
    pacing.install()  # what watches must not take the cores
    consumer = AIOKafkaConsumer(
        options.emotion_topic,
        bootstrap_servers=stream.servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=stream.servers)
    async with producer, consumer:
        load = Load(producer, options.input_topic, texts, worker.pid)

        async def watch() -> None:
            while True:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    for record in records:
                        load.seen.take(record.value)

        watching = asyncio.create_task(watch())
        try:
            yield load
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def started(texts: Sequence[str]) -> "AsyncIterator[Load]":
    """A load on a warm worker and a broker of its own."""
    with broker.running() as servers:
        stream = Stream(servers, "load")
        await stream.create("run")
        try:
            with process(WORKER, stream.environment("run")) as worker:
                async with loading(stream, "run", texts, worker) as load:
                    await load.backlog(WARM_MESSAGES)
                    yield load
        finally:
            await stream.remove()


async def measure(texts: Sequence[str]) -> list[Row]:
    """Every step of the table."""
    async with started(texts) as load:
        able = await load.backlog(BACKLOG)
        steps = [await load.step([(STEP_SECONDS, able * share)]) for share in SHARES]
    async with started(texts) as load:
        await load.backlog(BACKLOG)
        steps = await bisect(steps, lambda rate: load.step([(STEP_SECONDS, rate)]))
    knee = find_knee(steps)
    halves = []
    for _ in range(HALVES):
        async with started(texts) as load:
            await load.backlog(BACKLOG)
            halves.append(await load.step([(HALF_SECONDS, knee / 2)]))
    async with started(texts) as load:  # without a backlog, which would grow first what bursts do
        bursts = [(name, await load.burst(knee * BURST_SHARE)) for name in (BURSTY, AGAIN)]
    named = [*((STEADY, step) for step in steps), (HALF, middle(halves)), *bursts]
    return [row(name, step, knee) for name, step in named]


async def bisect(steps: Sequence[Step], load: Callable[[float], Awaitable[Step]]) -> list[Step]:
    """`steps`, and more of them where the knee lies; from the lowest up."""
    found = sorted(steps, key=lambda step: step.rate)
    for _ in range(BISECTIONS):
        bad = next((place for place, step in enumerate(found) if not step.kept_pace), 0)
        if not bad:  # all were kept pace with, or not even the lowest was
            break
        found.insert(bad, await load((found[bad - 1].rate + found[bad].rate) / 2))
    return found


def middle(steps: Sequence[Step]) -> Step:
    """The one with the median p99."""
    return sorted(steps, key=lambda step: step.percentile(99))[len(steps) // 2]


def find_knee(steps: Sequence[Step]) -> float:
    """Messages a second of the highest load that is kept pace with, from the lowest up."""
    knee = steps[0].rate
    for step in steps:
        if not step.kept_pace:
            break
        knee = step.rate
    return knee


def row(name: str, step: Step, knee: float) -> Row:
    """One line of the table."""
    return {
        "arrivals": name,
        "messages a second": step.rate,
        "of the knee": step.rate / knee,
        "p50, ms": step.percentile(50) * 1000,
        "p99, ms": step.percentile(99) * 1000,
        "lost": f"{step.lost}",
        "reordered": f"{step.reordered}",
        "twice": f"{step.twice}",
        "resident memory over that before": step.memory / step.before,
    }
