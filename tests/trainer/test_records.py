"""Every record of the ranges is read, however slowly they come; or nothing is consumed."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from deploy.embedded import EmbeddedBroker
from trainer import dataset, records, snapshot
from trainer.broker import CollectError
from trainer.settings import TrainerSettings

from .topic import Topic, ids, sample


@pytest.mark.kafka
def test_samples_that_expire_while_they_are_read_are_one_line(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.send([sample(number) for number in range(40)])
    drain = records._drain

    async def late(*given: Any) -> Any:  # noqa: ANN401
        await topic.expire(5)
        return await drain(*given)

    with monkeypatch.context() as patch:
        patch.setattr(records, "_drain", late)
        with pytest.raises(CollectError) as caught:
            topic.collect()
    told = f"samples of {topic.options.review_topic} expired while they were read"
    assert str(caught.value) == f"{told}; nothing was consumed, the next run reads it again"
    assert len(ids(topic.snapshot())) == 30


@pytest.mark.kafka
def test_the_order_of_a_snapshot_is_that_of_its_offsets(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the partitions come: read again after a kill it is to be the same."""
    drain = records._drain

    async def backwards(*given: Any) -> Any:  # noqa: ANN401
        return (await drain(*given))[::-1]

    monkeypatch.setattr(records, "_drain", backwards)
    topic.send([sample(number) for number in range(6)])
    rows = dataset.read_texts(topic.snapshot().folder / snapshot.SAMPLES)
    assert [row.id for row in rows] == [f"chat-0-{number}" for number in (0, 2, 4, 1, 3, 5)]


@pytest.mark.kafka
@pytest.mark.parametrize(("go", "come"), [("pause", "resume"), ("stop", "start")])
def test_kafka_gone_in_the_middle_is_one_line_and_nothing_is_lost(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, go: str, come: str
) -> None:
    embedded = EmbeddedBroker(tmp_path / "broker")  # of its own, as it is frozen, or ended
    embedded.start()
    try:
        topic = Topic(embedded.bootstrap_servers, options)
        topic.create()
        topic.send([sample(number) for number in range(10)])
        drain, gone = records._drain, list[str]()

        async def frozen(*given: Any) -> Any:  # noqa: ANN401
            gone.append(go)
            getattr(embedded, go)()
            return await drain(*given)

        patient = topic.options
        with monkeypatch.context() as patch:
            patch.setattr(records, "_drain", frozen)
            patch.setattr(records, "QUIET_SECONDS", 0.2)
            topic.options = patient.model_copy(update={"kafka_seconds": 4.0})
            with pytest.raises(CollectError, match="nothing was consumed") as caught:
                topic.collect()
        assert "\n" not in str(caught.value)
        assert gone == [go]
        getattr(embedded, come)()
        topic.options = patient
        assert len(ids(topic.snapshot())) == 10
    finally:
        embedded.stop()


class FakeConsumer:
    """One partition: each poll brings the records of a turn, and the position after it."""

    def __init__(self, *turns: tuple[list[int], int]) -> None:
        self.turns = list(turns)
        self.place = 0
        self.asked = 0  # how often it was asked whether the broker is still there

    def assign(self, _: list[TopicPartition]) -> None:
        """Only what is sought matters here."""

    def seek(self, _: TopicPartition, offset: int) -> None:
        self.place = offset

    async def position(self, _: TopicPartition) -> int:
        return self.place

    async def end_offsets(self, _: list[TopicPartition]) -> None:
        self.asked += 1

    async def getmany(
        self, partition: TopicPartition, timeout_ms: int
    ) -> dict[TopicPartition, list[Any]]:
        assert timeout_ms
        offsets, place = self.turns.pop(0) if self.turns else ([], self.place)
        self.place = max(self.place, place)
        records = [SimpleNamespace(offset=offset) for offset in offsets]
        return {partition: records} if records else {}


def drain(consumer: FakeConsumer, options: TrainerSettings) -> list[int]:
    found = asyncio.run(records._drain(consumer, options, {0: (0, 4)}))
    return [record.offset for record in found]


def test_a_pause_of_the_broker_is_not_taken_for_the_end(options: TrainerSettings) -> None:
    consumer = FakeConsumer(([0, 1], 2), ([], 2), ([], 2), ([2, 3], 4))
    assert drain(consumer, options) == [0, 1, 2, 3]
    assert consumer.asked == 2


def test_markers_of_transactions_end_a_snapshot_without_a_record(options: TrainerSettings) -> None:
    assert drain(FakeConsumer(([0, 1], 2), ([], 3), ([], 4)), options) == [0, 1]


def test_a_broker_that_answers_but_sends_nothing_more_is_one_line(options: TrainerSettings) -> None:
    impatient = options.model_copy(update={"kafka_seconds": 1e-9})
    with pytest.raises(CollectError, match=r"fell silent before its end; nothing was consumed"):
        drain(FakeConsumer(([0, 1], 2)), impatient)
