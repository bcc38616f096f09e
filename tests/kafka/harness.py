"""A worker in this process with an instant fake engine, and what feeds it."""

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import orjson
from aiokafka import AIOKafkaProducer
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from schemas.emotion import EMOTIONS
from worker import kafka, parts, topics
from worker.classifier import Classifier, ModelId
from worker.consumer import KafkaSource
from worker.engines import InferenceError, Tokens
from worker.metrics import Metrics
from worker.pipeline import Pipeline
from worker.publisher import IdempotentPublisher, Publisher, TransactionalPublisher
from worker.settings import KafkaSettings, WorkerSettings
from worker.tracing import OFF, Traces

NUMBERS = 4096
FEELINGS = [f"e{number}" for number in range(len(EMOTIONS))]
VOCABULARY = {
    word: number
    for number, word in enumerate(
        ["[UNK]", *FEELINGS, "low", "bad", *(f"n{number}" for number in range(NUMBERS))]
    )
}
LOW, BAD = VOCABULARY["low"], VOCABULARY["bad"]
TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class FakeEngine:
    """`e3 n17` is EMOTIONS[3] for sure, `e3 low` barely, and `bad` fails the batch it is in."""

    name = "fake-cpu"
    precision = "fp32"
    multiple = 1

    def __init__(self, seconds: float = 0.0) -> None:
        """`seconds`: how long a batch takes."""
        self.seconds = seconds
        self.go_on = threading.Event()  # cleared: batches wait
        self.go_on.set()
        self.batches = 0

    def prepare(self, rows: Sequence[Tokens]) -> list[Tokens]:
        return list(rows)

    def run(self, prepared: Any) -> NDArray[np.float32]:  # noqa: ANN401
        rows: list[Tokens] = prepared
        self.go_on.wait(30)
        self.batches += 1
        if self.seconds:
            time.sleep(self.seconds)  # what it is asked to be: a slow device
        if any(BAD in row for row in rows):
            raise InferenceError("Bad: a bad row")
        logits = np.zeros((len(rows), len(EMOTIONS)), dtype=np.float32)
        for place, row in enumerate(rows):
            feeling = (row[0] - 1) % len(EMOTIONS) if row else 0
            logits[place, feeling] = 5.0
            if LOW in row:
                logits[place, (feeling + 1) % len(EMOTIONS)] = 4.95
        return logits


def classifier(engine: FakeEngine) -> Classifier:
    tokenizer = Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]"))  # noqa: S106  (no password)
    tokenizer.pre_tokenizer = Whitespace()
    return Classifier(ModelId("fake", "1"), tokenizer, engine, list(EMOTIONS), 64)


class Input(NamedTuple):
    """One record for the input topic."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


def chat(number: int, text: str | None = None, **fields: object) -> bytes:
    words = f"e{number % 6} n{number % NUMBERS}" if text is None else text
    return orjson.dumps({"message_id": f"m{number}", "text": words, **fields})


class Cluster:
    """The broker, and names on it that nobody else uses."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.name = f"t{secrets.token_hex(5)}"
        self.connection = kafka.connection(KafkaSettings(bootstrap_servers=servers, _env_file=None))

    def settings(self, **changes: Any) -> WorkerSettings:  # noqa: ANN401
        given: dict[str, Any] = {
            "group_id": f"{self.name}-group",
            "input_topic": f"{self.name}.in",
            "emotion_topic": f"{self.name}.out",
            "review_topic": f"{self.name}.review",
            "dead_letter_topic": f"{self.name}.dlq",
            "models_topic": f"{self.name}.models",
            "commit_interval_ms": 10.0,
            "commit_records": 100,
            "session_timeout_ms": 6000,
            "max_batch_tokens": 256,
            "cache_entries": 0,
            "_env_file": None,
        }
        return WorkerSettings(**{**given, **changes})

    def environment(self, settings: WorkerSettings) -> dict[str, str]:
        """The settings of a worker in another process."""
        names = ("group_id", "input_topic", "emotion_topic", "review_topic", "dead_letter_topic")
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "WORKER_MODELS_TOPIC": settings.models_topic,
            **{f"WORKER_{name.upper()}": str(getattr(settings, name)) for name in names},
        }

    async def create(self, settings: WorkerSettings, partitions: int) -> None:
        every = 0  # as many copies as the cluster allows
        await topics.create(self.connection, topics.wanted(settings, partitions), every)

    async def produce(self, topic: str, inputs: Sequence[Input]) -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=self.servers, enable_idempotence=True, linger_ms=2
        ) as producer:
            await send(producer, topic, inputs)

    def publisher(self, settings: WorkerSettings, source: KafkaSource) -> Publisher:
        if settings.delivery == "exactly_once":
            return TransactionalPublisher(
                self.connection, settings.group_id, settings.transaction_timeout_ms
            )
        return IdempotentPublisher(self.connection, source.commit)

    @asynccontextmanager
    async def worker(
        self,
        settings: WorkerSettings,
        engine: FakeEngine | None = None,
        publisher: Callable[[KafkaSource], Publisher] | None = None,
        traces: Traces = OFF,
    ) -> AsyncIterator["Worker"]:
        """A running worker, stopped in order at the end of the block."""
        metrics = Metrics()
        source = KafkaSource(self.connection, settings)
        # The embedded broker waits for the dead as long as a rebalance may take, not a session.
        source._consumer._rebalance_timeout_ms = 6000
        published = publisher(source) if publisher else self.publisher(settings, source)
        engine = engine or FakeEngine()
        inference = parts.inference(settings, classifier(engine), metrics)
        pipeline = Pipeline(source, published, inference, settings, metrics, traces=traces)
        worker = Worker(pipeline, engine, metrics)
        try:
            yield worker
            if not worker.task.done():
                await worker.stop()
        finally:
            engine.go_on.set()
            worker.task.cancel()
            await asyncio.gather(worker.task, return_exceptions=True)


async def send(producer: AIOKafkaProducer, topic: str, inputs: Sequence[Input]) -> list[Input]:
    """Send `inputs`; what was acknowledged, each with its key and partition in the log."""
    keyed = [
        each._replace(key=b"") if each.value is None and each.key is None else each
        for each in inputs
    ]
    futures = [
        await producer.send(
            topic, each.value, each.key, headers=list(each.headers), partition=each.partition
        )
        for each in keyed
    ]
    acknowledged = await asyncio.gather(*futures)
    return [
        each._replace(partition=at.partition) for each, at in zip(keyed, acknowledged, strict=True)
    ]


class Worker:
    """A pipeline that runs as a task."""

    def __init__(self, pipeline: Pipeline, engine: FakeEngine, metrics: Metrics) -> None:
        self.pipeline = pipeline
        self.engine = engine
        self.metrics = metrics
        self.task = asyncio.create_task(pipeline.run())

    async def ready(self) -> None:
        await eventually(lambda: self.pipeline.ready and bool(self.pipeline._lanes), self.task)

    async def stop(self) -> None:
        self.pipeline.stop()
        await self.task

    async def crash(self) -> None:
        """End at once: nothing is finished, nobody is told."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def count(self, kind: str) -> float:
        return float(self.metrics.records.labels(kind)._value.get())


async def eventually(
    true: Callable[[], bool], task: "asyncio.Task[None] | None" = None, seconds: float = 20.0
) -> None:
    """Wait until `true()`; fail when `task` ends first."""
    deadline = monotonic() + seconds
    while not true():
        if task is not None and task.done():
            await task
        assert monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.02)
