"""What the worker adds to Kafka: with a classifier that takes no time, beside a bare loop."""

import asyncio
import sys
from statistics import median
from typing import Final

from bench.classify import Row, ratio
from bench.stream import INSTANT, Stream, distinct, process, rate
from deploy import broker

MESSAGES: Final = 60_000
BARE: Final = (sys.executable, "-m", "bench.bare")


def run(texts: list[str], rounds: int, messages: int = MESSAGES) -> list[Row]:
    """A row a delivery mode: 8 partitions, a backlog of distinct messages, in turn."""
    with broker.running() as servers:
        stream = Stream(servers, "overhead")
        asyncio.run(stream.create("first"))
        asyncio.run(stream.fill(distinct(texts, messages)))
        return [compare(stream, delivery, rounds, messages) for delivery in DELIVERIES]


DELIVERIES: Final = {"exactly_once": "exactly once", "at_least_once": "at least once"}


def compare(stream: Stream, delivery: str, rounds: int, messages: int) -> Row:
    """Both on the same records, in turn."""
    rates: dict[str, list[float]] = {"worker": [], "bare": []}
    for number in range(rounds):
        for side, found in rates.items():
            name = f"{delivery}.{side}.{number}"
            found.append(asyncio.run(once(stream, name, delivery, messages)))
    return {
        "delivery": DELIVERIES[delivery],
        "worker, instant classifier, msg/s": median(rates["worker"]),
        "bare loop, msg/s": median(rates["bare"]),
        "worker over bare loop": ratio(rates, "worker", "bare"),
    }


async def once(stream: Stream, name: str, delivery: str, messages: int) -> float:
    """Messages a second of one side, by the name of the run."""
    await stream.create(name)
    options = stream.settings(name)
    environment = stream.environment(name, WORKER_DELIVERY=delivery)
    command: tuple[str, ...] = INSTANT
    if ".bare." in name:
        topics = (options.input_topic, options.emotion_topic)
        command = (*BARE, stream.servers, *topics, options.group_id, delivery)
    with process(command, environment) as child:
        return await rate(stream.servers, options.group_id, messages, child)
