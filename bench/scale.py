"""What more of everything costs a message: backlog, partitions, rooms."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from statistics import median
from time import monotonic
from typing import Final

from bench.classify import Row
from bench.stream import (
    INSTANT,
    WORKER,
    Stream,
    distinct,
    message,
    opened,
    process,
    rate,
    resident,
)
from bench.targets import CLUSTER, EMBEDDED, MANY, NOT_MEASURED
from deploy import broker
from deploy.kafka import cluster
from deploy.kafka.jars import classpath

BACKLOGS: Final = (1_000, 1_000_000)
PARTITIONS: Final = (4, 64)
ROOMS: Final = (16, 16_384)
MESSAGES: Final = 60_000
WATCHED_SECONDS: Final = 25.0
GLANCE_SECONDS: Final = 0.1

Running = Callable[[], AbstractContextManager[str]]


def run(texts: list[str], rounds: int) -> list[Row]:
    """A row a question; medians of the rounds, but memory is watched once."""
    return [
        *(
            compare(name, BACKLOGS, memory(texts, running), 1) if running else unknown(name)
            for name, running in brokers().items()
        ),
        compare("µs of CPU a message, partitions", PARTITIONS, partitions(texts), rounds),
        compare("µs of CPU a message, rooms", ROOMS, rooms(texts), rounds),
    ]


def brokers() -> dict[str, Running | None]:
    """What memory is watched on, by what its row says of it; None where that can't be had here."""
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return {CLUSTER: broker.running, EMBEDDED: None}
    try:
        classpath()
    except broker.BrokerError:
        return {CLUSTER: None, EMBEDDED: broker.running}
    return {CLUSTER: three_brokers, EMBEDDED: broker.running}


@contextmanager
def three_brokers() -> Iterator[str]:
    """Apache Kafka, which answers a fetch with no more than it is asked for."""
    with cluster.running() as brokers:
        yield brokers.bootstrap_servers


def unknown(what: str) -> Row:
    """The row of what could not be measured."""
    few, many = (f"{size:,}" for size in BACKLOGS)
    row: Row = {"what, by number of": what, "few": few, "many": many}
    return row | dict.fromkeys(("with few", "with many", MANY), NOT_MEASURED)


def compare(what: str, sizes: tuple[int, int], measure: Callable[[int], float], rounds: int) -> Row:
    """Few and many, in turn."""
    found: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            found[size].append(measure(size))
    few, many = sizes
    pairs = zip(found[few], found[many], strict=True)
    return {
        "what, by number of": what,
        "few": f"{few:,}",
        "many": f"{many:,}",
        "with few": median(found[few]),
        "with many": median(found[many]),
        MANY: median(large / small for small, large in pairs),
    }


def memory(texts: list[str], running: Running) -> Callable[[int], float]:
    """Megabytes of the worker as it comes, bundled model, with so many messages behind."""

    async def measure(stream: Stream, behind: int) -> float:
        await stream.create("run")
        for first in range(0, behind, 50_000):
            await stream.fill(distinct(texts, min(50_000, behind - first)))
        peak = 0.0
        with process(WORKER, stream.environment("run")) as worker:
            deadline = monotonic() + WATCHED_SECONDS
            while monotonic() < deadline:
                await asyncio.sleep(GLANCE_SECONDS)
                peak = max(peak, resident(worker.pid))
        return peak / 1e6

    return lambda behind: _streamed(lambda stream: measure(stream, behind), running=running)


def partitions(texts: list[str]) -> Callable[[int], float]:
    """Microseconds of the worker with an instant classifier on a topic of so many partitions."""
    messages = distinct(texts, MESSAGES)
    return lambda count: _streamed(lambda stream: _cost(stream, messages), count)


def rooms(texts: list[str]) -> Callable[[int], float]:
    """The same by rooms, which are the keys, on 8 partitions."""

    def measure(count: int) -> float:
        messages = [
            message(number, f"{texts[number % len(texts)]} {number}", count)
            for number in range(MESSAGES)
        ]
        return _streamed(lambda stream: _cost(stream, messages, count))

    return measure


async def _cost(stream: Stream, messages: list[bytes], rooms: int = 1024) -> float:
    await stream.create("run")
    await stream.fill(messages, rooms)
    with process(INSTANT, stream.environment("run")) as worker:
        group = stream.settings("run").group_id
        return (await rate(stream.servers, group, len(messages), worker)).cost


def _streamed(
    measure: Callable[[Stream], Coroutine[None, None, float]],
    partitions: int = 8,
    running: Running = broker.running,
) -> float:
    """On a broker and topics of its own."""
    with running() as servers, opened(servers, "scale", partitions) as stream:
        return asyncio.run(measure(stream))
