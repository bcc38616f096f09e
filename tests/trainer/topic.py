"""A review topic of one test, and the samples on it."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from time import sleep
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from schemas.emotion import EMOTIONS
from trainer import backlog, collect, dataset, snapshot
from trainer.collect import Waiting
from trainer.settings import TrainerSettings
from trainer.stage import Done
from worker import kafka, topics
from worker.settings import KafkaSettings

NOW = "2026-11-24T04:00:00.000Z"


def sample(number: int, *, text: str | None = None, low: bool = False) -> bytes:
    """One ReviewSample, as the worker writes it."""
    scores = dict.fromkeys(EMOTIONS, 0.1) | {EMOTIONS[number % 6]: 0.5}
    fields = {
        "schema_version": 1,
        "event_id": f"chat-0-{number}",
        "message_id": f"m{number}",
        "room_id": f"room-{number % 3}",
        "user_id": None,
        "emotion": EMOTIONS[number % 6],
        "confidence": 0.5,
        "margin": 0.4,
        "scores": scores,
        "low_margin": low,
        "truncated": False,
        "model": {"name": "maum", "version": "1"},
        "source": {"topic": "chat", "partition": 0, "offset": number},
        "sent_at": NOW,
        "classified_at": NOW,
        "text": text or f"글 {number}",
        "reason": "low_margin" if low else "random",
        "inclusion_probability": 1.0 if low else 0.01,
    }
    return json.dumps(fields).encode()


class Topic:
    """A review topic of one test."""

    def __init__(self, servers: str, options: TrainerSettings) -> None:
        name = f"t{secrets.token_hex(5)}"
        self.connection = kafka.connection(settings(servers))
        self.options = options.model_copy(
            update={
                "review_topic": f"{name}.review",
                "models_topic": f"{name}.models",
                "group_id": f"{name}-trainer",
                "min_samples": 5,
                "kafka_seconds": 10.0,
            }
        )

    def create(self, partitions: int = 2) -> None:
        """The review topic, and the one of models."""
        self.make(self.options.review_topic, partitions)
        self.make(self.options.models_topic, 1)

    def make_anew(self) -> None:
        """Delete the review topic and create it; the group has no offsets there."""

        async def delete() -> None:
            name = self.options.review_topic
            admin = AIOKafkaAdminClient(**self.connection)
            await admin.start()
            try:
                await admin.delete_topics([name])
                while name in await admin.list_topics():  # noqa: ASYNC110  (brokers hear of it one by one)
                    await asyncio.sleep(0.1)
            finally:
                await admin.close()

        asyncio.run(delete())
        while not self.make(self.options.review_topic, 2):  # a broker that has not heard of it
            sleep(0.1)
        nothing = {0: (0, 0), 1: (0, 0)}  # Apache Kafka does that by itself
        asyncio.run(backlog.commit(self.connection, self.options, nothing))

    async def expire(self, before: int) -> None:
        """Delete what is before that offset, as retention does."""
        admin = AIOKafkaAdminClient(**self.connection)
        await admin.start()
        try:
            name = self.options.review_topic
            await admin.delete_records(
                {TopicPartition(name, number): RecordsToDelete(before) for number in range(2)}
            )
        finally:
            await admin.close()

    def make(self, name: str, partitions: int) -> bool:
        """Whether it was not there."""
        every = 0  # as many copies as the cluster allows
        made = [topics.Topic(name, partitions, {})]
        [(_, made_now)] = asyncio.run(topics.create(self.connection, made, every))
        return made_now

    def send(self, values: Sequence[bytes | None], *, abort: bool = False) -> None:
        """In one transaction, as the worker does: its marker is a gap in the offsets."""

        async def work() -> None:
            marks = {"transactional_id": secrets.token_hex(4)}
            async with AIOKafkaProducer(**self.connection, **marks) as producer:
                await producer.begin_transaction()
                for place, value in enumerate(values):
                    topic, partition = self.options.review_topic, place % 2
                    await producer.send(topic, value, key=b"k", partition=partition)
                await producer.flush()
                await (producer.abort_transaction() if abort else producer.commit_transaction())
            # A commit is answered before each partition has its marker, and can be read.
            while await self.ends("read_committed") != await self.ends("read_uncommitted"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

        asyncio.run(work())

    async def ends(self, isolation: str) -> dict[TopicPartition, int]:
        """Where the log ends for those who read so."""
        async with AIOKafkaConsumer(**self.connection, isolation_level=isolation) as consumer:
            partitions = [TopicPartition(self.options.review_topic, number) for number in range(2)]
            found: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            return found

    def collect(self, known: tuple[Path, ...] = ()) -> Done | Waiting:
        return collect.collect(self.connection, self.options, known)

    def snapshot(self, known: tuple[Path, ...] = ()) -> Done:
        done = self.collect(known)
        assert isinstance(done, Done)
        return done


def settings(servers: str) -> KafkaSettings:
    given: dict[str, Any] = {"_env_file": None}
    return KafkaSettings(bootstrap_servers=servers, **given)


def ids(done: Done) -> list[str]:
    return sorted(row.id for row in dataset.read_texts(done.folder / snapshot.SAMPLES))
