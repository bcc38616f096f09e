"""What Kafka costs: the worker on a backlog, exactly once, as a share of `classify`."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

import orjson

from bench.classify import Row, Side, base_shape, load, our_classify
from bench.ready import free_port, until_ready
from bench.stream import UNCHECKED, Stream, distinct, opened, process, rate
from deploy import broker
from worker.settings import BUNDLED_MODEL

TRIED: Final = 200  # messages, to see how many are worked on for
SECONDS: Final = 30.0  # by `classify`: filling and draining, 0.4 s, are a small part of it
PRECISION: Final = "int8"


def run(texts: list[str], rounds: int) -> list[Row]:
    """A row a model, int8; every message distinct, the cache off, broker on the same cores."""
    rows = [compare("bundled model", BUNDLED_MODEL, texts, rounds)]
    with tempfile.TemporaryDirectory() as folder:
        rows.append(compare("RoBERTa-base shape", base_shape(Path(folder)), texts, rounds))
    return rows


def compare(name: str, folder: Path, texts: list[str], rounds: int) -> Row:
    """Both on the same messages, in turn."""
    classifier = load(folder, PRECISION)

    def on(messages: list[bytes]) -> Side:
        return our_classify(folder, [orjson.loads(each)["text"] for each in messages], classifier)

    tried = distinct(texts, TRIED)
    on(tried)()  # warms up
    messages = distinct(texts, max(TRIED, round(TRIED * SECONDS / seconds(on(tried)))))
    classify = on(messages)
    shares: list[float] = []
    ours: list[float] = []
    for _ in range(rounds):
        # Before and after: the machine grows faster or slower meanwhile.
        before = seconds(classify)
        # A new one each time: the embedded broker takes more of the cores the more it holds.
        with broker.running() as servers, opened(servers, "throughput") as stream:
            ours.append(asyncio.run(through_kafka(stream, folder, messages)))
        alone = (before + seconds(classify)) / 2
        shares.append(ours[-1] * alone / len(messages))
    return {
        "exactly once, 8 partitions, backlog": f"{name}, {PRECISION}",
        "worker, msg/s": median(ours),
        "worker over classify": median(shares),
    }


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = perf_counter()
    work()
    return perf_counter() - started


async def through_kafka(stream: Stream, folder: Path, messages: list[bytes]) -> float:
    """Messages a second, from when the first of them is sent until the last is committed."""
    await stream.create("run")
    port = free_port()
    environment = stream.environment(
        "run", WORKER_CACHE_ENTRIES="0", WORKER_ADMIN_PORT=f"{port}", WORKER_MODEL=str(folder)
    )
    with process((*UNCHECKED, str(folder), PRECISION), environment) as worker:
        await asyncio.to_thread(until_ready, port, worker)
        started = perf_counter()
        await stream.fill(messages)
        group = stream.settings("run").group_id
        return (await rate(stream.servers, group, len(messages), worker, started)).rate
