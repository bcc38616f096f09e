"""What the worker adds to Kafka: with a classifier that takes no time, beside a bare loop."""

import asyncio
import sys
from statistics import median
from time import process_time
from typing import Final

import orjson

from bench import instant
from bench.classify import Row, ratio
from bench.stream import INSTANT, Stream, Work, distinct, opened, process, rate
from deploy import broker

MESSAGES: Final = 100_000
BARE: Final = (sys.executable, "-m", "bench.bare")
DELIVERIES: Final = {"exactly_once": "exactly once", "at_least_once": "at least once"}
BATCH_TOKENS: Final = "16384"  # as on CUDA: the small batches of a CPU are for its caches' sake
SIDES: Final = ("worker", "bare")


def run(texts: list[str], rounds: int, messages: int = MESSAGES) -> list[Row]:
    """A row a delivery mode: 8 partitions, a backlog of distinct messages, in turn."""
    backlog = distinct(texts, messages)
    tokenizing = tokenizer_cost([orjson.loads(each)["text"] for each in backlog[:10_000]])
    with broker.running() as servers, opened(servers, "overhead") as stream:
        asyncio.run(stream.create("first"))
        asyncio.run(stream.fill(backlog))
        return [compare(stream, each, rounds, messages, tokenizing) for each in DELIVERIES]


def compare(stream: Stream, delivery: str, rounds: int, messages: int, tokenizing: float) -> Row:
    """Both on the same records, in turn."""
    found: dict[str, list[Work]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in SIDES:
            name = f"{delivery}.{side}.{number}"
            found[side].append(asyncio.run(once(stream, side, name, delivery, messages)))
    rates = {side: [each.rate for each in works] for side, works in found.items()}
    costs = {side: median(each.cost for each in works) for side, works in found.items()}
    return {
        "delivery": DELIVERIES[delivery],
        "worker, instant classifier, msg/s": median(rates["worker"]),
        "bare loop, msg/s": median(rates["bare"]),
        "worker over bare loop": ratio(rates, "worker", "bare"),
        "worker, µs of CPU a message": costs["worker"],
        "of these the tokenizer alone": tokenizing,
        "bare loop, µs of CPU a message": costs["bare"],
    }


def tokenizer_cost(texts: list[str]) -> float:
    """Microseconds of CPU a text that the tokenizer takes by itself."""
    classifier = instant.classifier()
    classifier.tokenize(texts[:100])
    started = process_time()
    for first in range(0, len(texts), 1000):
        classifier.tokenize(texts[first : first + 1000])
    return (process_time() - started) * 1e6 / len(texts)


async def once(stream: Stream, side: str, name: str, delivery: str, messages: int) -> Work:
    """One run of one side."""
    await stream.create(name)
    options = stream.settings(name)
    environment = stream.environment(
        name, WORKER_DELIVERY=delivery, WORKER_MAX_BATCH_TOKENS=BATCH_TOKENS
    )
    command: tuple[str, ...] = INSTANT
    if side == "bare":
        topics = (options.input_topic, options.emotion_topic)
        command = (*BARE, stream.servers, *topics, options.group_id, delivery)
    with process(command, environment) as child:
        return await rate(stream.servers, options.group_id, messages, child)
