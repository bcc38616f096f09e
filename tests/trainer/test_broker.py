"""Kafka is waited for; what it fails with is one line that says how things were left."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from trainer import broker, collect
from trainer.broker import CollectError
from trainer.collect import Waiting
from trainer.settings import TrainerSettings
from worker import kafka, topics

from .topic import Topic, ids, sample, settings


@pytest.mark.kafka
def test_a_broker_that_is_not_ready_is_waited_for(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of three is down: whoever asks any of them may have asked that one."""
    topic.send([sample(number) for number in range(10)])
    partitions, asked = topics.partitions, 0

    async def at_last(*given: Any) -> Any:  # noqa: ANN401
        nonlocal asked
        asked += 1
        if asked == 1:
            raise NodeNotReadyError("Attempt to send a request to node which is not ready")
        return await partitions(*given)

    monkeypatch.setattr(topics, "partitions", at_last)
    assert len(ids(topic.snapshot())) == 10


@pytest.mark.kafka
def test_a_commit_that_fails_does_not_say_that_nothing_was_consumed(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(self: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        await self.committed(next(iter(ends)))  # as far as the coordinator it came
        raise KafkaConnectionError("gone")

    topic.send([sample(number) for number in range(10)])
    with monkeypatch.context() as patch:
        patch.setattr(AIOKafkaConsumer, "commit", refused)
        with pytest.raises(CollectError) as caught:
            topic.collect()
    assert str(caught.value).endswith("the snapshot is kept, and the next run commits it")
    assert topic.snapshot().skipped
    assert topic.collect() == Waiting(0)


@pytest.mark.kafka
def test_a_group_that_others_subscribe_in_is_one_line_that_names_the_setting(topic: Topic) -> None:
    topic.send([sample(number) for number in range(10)])

    async def beside() -> None:
        async with AIOKafkaConsumer(
            topic.options.review_topic, **topic.connection, group_id=topic.options.group_id
        ):
            await asyncio.to_thread(topic.collect)

    with pytest.raises(CollectError) as caught:
        asyncio.run(beside())
    told = f"the group {topic.options.group_id} has members that subscribe to topics, and Kafka"
    assert str(caught.value).startswith(told)
    assert "set TRAINER_GROUP_ID" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_request_that_was_given_up_says_nothing_beside_the_line(
    options: TrainerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """As where Kafka goes while a commit is under way, which aiokafka shields, and forgets."""

    async def closed() -> None:
        raise KafkaConnectionError("Connection closed")

    async def call() -> bool:
        given_up = asyncio.ensure_future(closed())
        await asyncio.wait({given_up})
        return given_up.done()

    gc.collect()  # what others left, which might complain here
    caplog.clear()
    assert broker.ask(call, kafka.connection(settings("127.0.0.1:1")), options)
    gc.collect()
    assert caplog.records == []


def test_kafka_that_is_not_there_is_one_line(options: TrainerSettings) -> None:
    connection = kafka.connection(settings("127.0.0.1:1"))
    quick = options.model_copy(update={"kafka_seconds": 2.0})
    with pytest.raises(CollectError, match="nothing was consumed") as caught:
        collect.collect(connection, quick)
    assert "\n" not in str(caught.value)
