"""A real worker process, with an instant classifier and a fault planted where it hurts most.

`python -m tests.chaos.copier` is `python -m worker run` but for what `CHAOS` (JSON) asks:
`{"at": "before_commit", "nth": 20, "do": "kill"}`.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.protocol.commit import OffsetFetchRequest_v3
from aiokafka.structs import OffsetAndMetadata
from pydantic import BaseModel

from tests.kafka.harness import FakeEngine, classifier
from worker import __main__ as program
from worker import consumer, parts, publisher, sending, serve
from worker.classifier import Classifier, Tokenized
from worker.codec import Output
from worker.committed import StableOffsetFetch

Point = Literal["after_send", "before_commit", "after_commit", "engine", "tokenizer"]
Deed = Literal["kill", "stop", "sleep", "wait"]
Tokenize = Callable[[Sequence[str]], list[Tokenized]]

log = structlog.get_logger(__name__)


class Sabotage(BaseModel):
    """What goes wrong: the `nth` time that `at` is reached in this process, `do` it."""

    at: Point | None = None
    nth: int = 20
    do: Deed = "kill"
    seconds: float = 0.0  # of sleep
    flag: Path | None = None  # `wait`: made when reached; goes on once it is gone
    shared_producer: bool = False  # nobody is fenced: the negative control
    batch_seconds: float = 0.0  # how long a batch takes
    real: bool = False  # the settings' own model
    count: Path | None = None  # a file that tells how many texts were tokenised
    times: ClassVar[int] = 0

    def _due(self, point: Point) -> bool:
        if point != self.at:
            return False
        Sabotage.times += 1
        if Sabotage.times != self.nth:
            return False
        log.warning("sabotage", at=point, do=self.do)
        return True

    async def here(
        self, point: Point, name: str, delivered: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """A point of transaction (or outside of one, group) `name` is reached.

        `delivered`: waits until the brokers have what was sent.
        """
        if self._due(point):
            if delivered is not None:
                await delivered()
            if self.do == "sleep":
                await asyncio.sleep(self.seconds)
            elif self.do == "wait":
                assert self.flag is not None
                self.flag.write_text(name, encoding="utf-8")
                while self.flag.exists():  # noqa: ASYNC110  (another process removes it)
                    await asyncio.sleep(0.01)
            else:
                os.kill(os.getpid(), signal.SIGKILL if self.do == "kill" else signal.SIGSTOP)

    def watched(self, tokenize: Tokenize) -> Tokenize:
        """`tokenize`, which may hang, and whose texts are counted even if the process is killed."""
        count = 0
        file = os.open(self.count, os.O_CREAT | os.O_WRONLY) if self.count else None

        def tokenized(texts: Sequence[str]) -> list[Tokenized]:
            nonlocal count
            self.hold_up("tokenizer")
            count += len(texts)
            if file is not None:
                os.pwrite(file, count.to_bytes(8), 0)
            return tokenize(texts)

        return tokenized

    def hold_up(self, point: Point) -> None:
        """A thread's work begins: on the device, or in the tokenizer."""
        if self._due(point):
            time.sleep(self.seconds)  # the fault itself: a device that hangs


class Producer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka is untyped
    """Stops to think at the points of a transaction."""

    sabotage = Sabotage()

    async def send_offsets_to_transaction(self, *given: Any) -> None:  # noqa: ANN401
        name = self._txn_manager.transactional_id
        await self.sabotage.here("after_send", name, self.flush)
        await super().send_offsets_to_transaction(*given)

    async def commit_transaction(self) -> None:
        name = self._txn_manager.transactional_id
        await self.sabotage.here("before_commit", name, self.flush)
        await super().commit_transaction()
        await self.sabotage.here("after_commit", name)


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka is untyped
    """Stops to think before and after a commit outside of transactions."""

    sabotage = Sabotage()

    async def commit(self, *given: Any) -> None:  # noqa: ANN401
        await self.sabotage.here("before_commit", self._group_id)
        await super().commit(*given)
        await self.sabotage.here("after_commit", self._group_id)


class Engine(FakeEngine):
    """The instant classifier, or one that hangs once."""

    def __init__(self, sabotage: Sabotage) -> None:
        super().__init__(sabotage.batch_seconds)
        self._sabotage = sabotage

    def run(self, prepared: Any) -> Any:  # noqa: ANN401
        self._sabotage.hold_up("engine")
        return super().run(prepared)


class SharedProducer:
    """Broken on purpose: one transactional producer a worker, so that nobody fences a zombie."""

    def __init__(self, connection: dict[str, Any], group_id: str, timeout_ms: int) -> None:
        self._group_id = group_id
        self._lock = asyncio.Lock()
        self._started = False
        self._producer = Producer(
            **connection,
            transactional_id=f"{group_id}-{os.getpid()}",
            transaction_timeout_ms=timeout_ms,
        )

    async def open(self, source: TopicPartition) -> None:  # noqa: ARG002
        async with self._lock:
            if not self._started:
                await self._producer.start()
                self._started = True

    async def publish(
        self, source: TopicPartition, outputs: Sequence[Output], next_offset: int
    ) -> None:
        async with self._lock, self._producer.transaction():
            for topic, key, value, headers in outputs:
                count = len(await self._producer.partitions_for(topic))
                place = sending.target(source, key, count)
                await self._producer.send(topic, value, key, place, headers=headers)
            await self._producer.send_offsets_to_transaction(
                {source: OffsetAndMetadata(next_offset, "")}, self._group_id
            )

    async def close(self, source: TopicPartition) -> None: ...

    async def stop(self) -> None:
        await self._producer.stop()


def unstable(request: StableOffsetFetch, _versions: object) -> Any:  # noqa: ANN401
    """Broken on purpose: the commit as it is now, whatever transaction is about to change it."""
    return request.build(OffsetFetchRequest_v3)


def main() -> int:
    sabotage = Sabotage.model_validate(orjson.loads(os.environ.get("CHAOS", "{}")))
    Producer.sabotage = sabotage
    Consumer.sabotage = sabotage
    consumer.AIOKafkaConsumer = Consumer  # type: ignore[attr-defined]
    publisher.AIOKafkaProducer = Producer  # type: ignore[attr-defined]
    if sabotage.shared_producer:
        # Reading stable offsets alone waits for the zombie's commit, and so hides the fault.
        StableOffsetFetch.prepare = unstable
        serve.TransactionalPublisher = SharedProducer  # type: ignore[attr-defined,assignment]
    make = parts.classifier

    def classifier_of(*given: Any) -> Classifier:  # noqa: ANN401
        made = make(*given) if sabotage.real else classifier(Engine(sabotage))
        made.tokenize = sabotage.watched(made.tokenize)  # type: ignore[assignment,method-assign]
        return made

    parts.classifier = classifier_of  # type: ignore[assignment]
    return program.main(["run"])


if __name__ == "__main__":
    sys.exit(main())
