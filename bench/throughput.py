"""What Kafka costs: the worker on a backlog, exactly once, as a share of `classify`."""

import asyncio
import os
import subprocess
import sys
from statistics import median
from time import monotonic, perf_counter

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.classify import Row, our_classify
from deploy import broker
from worker.settings import BUNDLED_MODEL

MESSAGES = 6000
DEADLINE_SECONDS = 180


def run(texts: list[str], rounds: int) -> list[Row]:
    """One row; every message distinct, the cache off, broker and load on the same cores."""
    distinct = [f"{texts[number % len(texts)]} {number}" for number in range(MESSAGES)]
    classify = our_classify(BUNDLED_MODEL, distinct)
    classify()
    shares: list[float] = []
    ours: list[float] = []
    for _ in range(min(rounds, 3)):
        started = perf_counter()
        classify()
        alone = MESSAGES / (perf_counter() - started)
        with broker.running() as servers:
            ours.append(asyncio.run(through_kafka(servers, distinct)))
        shares.append(ours[-1] / alone)
    return [
        {
            "worker, bundled model": "exactly once, 8 partitions, backlog",
            "msg/s": median(ours),
            "share of classify": median(shares),
        }
    ]


async def through_kafka(servers: str, texts: list[str]) -> float:
    """Messages a second from the first visible event to the last."""
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "WORKER_CACHE_ENTRIES": "0",
        "WORKER_PRECISION": "fp32",
        "WORKER_ADMIN_PORT": "0",
        "WORKER_LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "worker"]
    subprocess.run([*command, "topics"], env=environment, check=True, capture_output=True)  # noqa: ASYNC221, S603
    async with AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5) as producer:
        for number, text in enumerate(texts):
            message = {"message_id": str(number), "text": text}
            await producer.send("chat.messages", orjson.dumps(message), f"{number % 64}".encode())
    worker = subprocess.Popen([*command, "run"], env=environment)  # noqa: ASYNC220, S603
    try:
        return await rate(servers, len(texts))
    finally:
        worker.terminate()
        worker.wait(30)


async def rate(servers: str, count: int) -> float:
    """Read `count` committed events; how many came a second after the first batch."""
    consumer = AIOKafkaConsumer(
        "chat.emotions",
        bootstrap_servers=servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    seen = first = 0
    started = 0.0
    deadline = monotonic() + DEADLINE_SECONDS
    async with consumer:
        while seen < count:
            if monotonic() > deadline:
                message = f"only {seen} of {count} events came in {DEADLINE_SECONDS} s"
                raise RuntimeError(message)
            fetched = await consumer.getmany(timeout_ms=100)
            seen += sum(map(len, fetched.values()))
            if seen and not first:
                first, started = seen, perf_counter()
    return (seen - first) / (perf_counter() - started)
