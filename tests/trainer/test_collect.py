"""The review topic becomes a snapshot: nothing twice, nothing lost, whatever happens meanwhile."""

import asyncio
import gc
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
from hypothesis import given
from hypothesis import strategies as st

from deploy.embedded import EmbeddedBroker
from schemas.emotion import EMOTIONS
from schemas.promotion import ModelPromotion
from trainer import __main__ as program
from trainer import collect, dataset, history, promote
from trainer.collect import CollectError, Waiting
from trainer.history import Run
from trainer.promote import AnnounceError
from trainer.recipe import Recipe
from trainer.settings import TrainerSettings
from trainer.stage import Done
from worker import kafka, topics
from worker.settings import KafkaSettings

from .commands import command

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
        self.make(self.options.review_topic, 2)
        nothing = {0: (0, 0), 1: (0, 0)}  # Apache Kafka does that by itself
        asyncio.run(collect._commit(self.connection, self.options, nothing))

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

    def make(self, name: str, partitions: int) -> None:
        every = 0  # as many copies as the cluster allows
        made = [topics.Topic(name, partitions, {})]
        asyncio.run(topics.create(self.connection, made, every))

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


@pytest.fixture
def topic(servers: str, options: TrainerSettings) -> Topic:
    found = Topic(servers, options)
    found.create()
    return found


def ids(done: Done) -> list[str]:
    return sorted(row.id for row in dataset.read_texts(done.folder / collect.SAMPLES))


@pytest.mark.kafka
def test_what_waits_becomes_a_snapshot_once(topic: Topic) -> None:
    topic.send([sample(number) for number in range(12)])
    done = topic.snapshot()
    assert ids(done) == sorted(f"chat-0-{number}" for number in range(12))
    assert done.manifest.offsets.keys() == {"0", "1"}
    assert topic.collect() == Waiting(0)
    topic.send([sample(number) for number in range(12, 20)])
    assert ids(topic.snapshot((done.folder,))) == sorted(f"chat-0-{n}" for n in range(12, 20))


@pytest.mark.kafka
def test_repeats_tombstones_and_aborted_samples_are_left_out(topic: Topic) -> None:
    topic.send([sample(number) for number in range(100, 110)], abort=True)
    topic.send([sample(number % 8) for number in range(16)] + [None, None])
    done = topic.snapshot()
    assert ids(done) == sorted(f"chat-0-{number}" for number in range(8))
    topic.send([sample(number) for number in range(4, 14)])
    assert ids(topic.snapshot((done.folder,))) == sorted(f"chat-0-{n}" for n in range(8, 14))


@pytest.mark.kafka
def test_what_is_left_of_repeats_is_said_with_their_number(topic: Topic) -> None:
    topic.send([sample(number % 4) for number in range(10)])
    said: list[str] = []
    assert collect.collect(topic.connection, topic.options, (), said.append) == Waiting(4)
    assert said == ["collect: 6 of the records repeat samples that are kept already"]


@pytest.mark.kafka
def test_a_topic_that_was_made_anew_is_read_though_its_offsets_are_the_same(topic: Topic) -> None:
    topic.send([sample(number) for number in range(10)])
    first = topic.snapshot()
    topic.make_anew()
    topic.send([sample(number) for number in range(10, 20)])
    second = topic.snapshot((first.folder,))
    assert second.manifest.offsets == first.manifest.offsets
    assert ids(second) == sorted(f"chat-0-{number}" for number in range(10, 20))


@pytest.mark.kafka
def test_samples_of_an_input_that_was_made_anew_are_no_repeats(topic: Topic) -> None:
    """Their `event_id`s are those of other messages."""
    topic.send([sample(number) for number in range(10)])
    first = topic.snapshot()
    topic.send([sample(number, text=f"새 글 {number}") for number in range(10)] * 2)
    second = topic.snapshot((first.folder,))
    assert second.manifest.numbers["repeats"] == 10
    rows = [*dataset.read_texts(first.folder / collect.SAMPLES)]
    rows += dataset.read_texts(second.folder / collect.SAMPLES)
    assert len({row.id for row in rows}) == len({row.text for row in rows}) == 20
    topic.send([sample(number, text=f"새 글 {number}") for number in range(10)])
    assert topic.collect((first.folder, second.folder)) == Waiting(0)


def test_another_answer_to_the_same_message_is_a_repeat() -> None:
    """As where the worker classified it once more, with another model."""
    again = json.dumps(json.loads(sample(1)) | {"classified_at": "2026-11-25T04:00:00.000Z"})
    records = [SimpleNamespace(value=value) for value in (sample(1), again.encode())]
    samples, quarantine = collect.rows(records, {})
    assert ([row["id"] for row in samples], quarantine) == (["chat-0-1"], [])


@pytest.mark.kafka
def test_samples_that_expired_before_they_were_read_are_counted(topic: Topic) -> None:
    topic.send([sample(number) for number in range(12)])
    topic.snapshot()
    topic.send([sample(number) for number in range(12, 40)])
    asyncio.run(topic.expire(12))  # 7 of each partition are read: six samples and a marker
    said: list[str] = []
    done = collect.collect(topic.connection, topic.options, (), said.append)
    assert isinstance(done, Done)
    assert len(ids(done)) == 18
    (line,) = said
    assert line.startswith("collect: at most 10 review samples expired before they were read")


@pytest.mark.kafka
def test_a_group_that_never_read_misses_nothing_that_expired(topic: Topic) -> None:
    topic.send([sample(number) for number in range(40)])
    asyncio.run(topic.expire(5))
    said: list[str] = []
    collect.collect(topic.connection, topic.options, (), said.append)
    assert said == []


@pytest.mark.kafka
def test_samples_that_expire_while_they_are_read_are_one_line(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.send([sample(number) for number in range(40)])
    drain = collect._drain

    async def late(*given: Any) -> Any:  # noqa: ANN401
        await topic.expire(5)
        return await drain(*given)

    with monkeypatch.context() as patch:
        patch.setattr(collect, "_drain", late)
        with pytest.raises(CollectError) as caught:
            topic.collect()
    told = f"samples of {topic.options.review_topic} expired while they were read"
    assert str(caught.value) == f"{told}; nothing was consumed, the next run reads it again"
    assert len(ids(topic.snapshot())) == 30


@pytest.mark.kafka
def test_malformed_records_go_to_quarantine_with_the_reason(topic: Topic) -> None:
    bad = json.loads(sample(1)) | {"emotion": "설렘"}
    values = [sample(number) for number in range(6)]
    topic.send([*values, b"{", json.dumps(bad).encode(), b"[]"])
    done = topic.snapshot()
    lines = (done.folder / collect.QUARANTINE).read_text().splitlines()
    reasons = [json.loads(line)["reason"] for line in lines]
    assert len(ids(done)) == 6
    assert len(reasons) == done.manifest.numbers["quarantined"] == 3
    assert any(reason.startswith("emotion: Input should be") for reason in reasons)
    assert all({"partition", "offset", "value_base64"} < json.loads(line).keys() for line in lines)


@pytest.mark.kafka
def test_too_few_samples_are_not_consumed(topic: Topic) -> None:
    topic.send([sample(number) for number in range(4)])
    assert isinstance(topic.collect(), Waiting)
    topic.send([sample(0)] * 8)  # records enough, but repeats
    assert topic.collect() == Waiting(4)
    topic.send([sample(9)])
    assert len(ids(topic.snapshot())) == 5


@pytest.mark.kafka
def test_a_kill_between_snapshot_and_commit_loses_and_repeats_nothing(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Stands for SIGKILL: nothing after it runs."""

    async def killed(*_: object) -> None:
        raise Killed

    topic.send([sample(number) for number in range(10)])
    with monkeypatch.context() as patch:
        patch.setattr(collect, "_commit", killed)
        with pytest.raises(Killed):
            topic.collect()
    (left,) = (topic.options.work / "collect").glob("[!.]*")
    again = topic.snapshot()  # nothing new came: the same snapshot, now committed
    assert (again.folder, again.skipped) == (left, True)
    assert topic.collect((left,)) == Waiting(0)


@pytest.mark.kafka
def test_the_order_of_a_snapshot_is_that_of_its_offsets(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the partitions come: read again after a kill it is to be the same."""
    drain = collect._drain

    async def backwards(*given: Any) -> Any:  # noqa: ANN401
        return (await drain(*given))[::-1]

    monkeypatch.setattr(collect, "_drain", backwards)
    topic.send([sample(number) for number in range(6)])
    rows = dataset.read_texts(topic.snapshot().folder / collect.SAMPLES)
    assert [row.id for row in rows] == [f"chat-0-{number}" for number in (0, 2, 4, 1, 3, 5)]


@pytest.mark.kafka
def test_a_snapshot_that_was_used_before_it_was_committed_is_not_used_again(topic: Topic) -> None:
    """A run that is killed before the commit is gone on with, and finished, without Kafka."""
    topic.send([sample(number) for number in range(10)])
    done = topic.snapshot()
    taken = {int(number): (first, first) for number, (first, _) in done.manifest.offsets.items()}
    asyncio.run(collect._commit(topic.connection, topic.options, taken))  # as before the snapshot
    used = Run(snapshots=[done.folder.name], selected="", student="", verdict="", version=None)
    history.add(topic.options.work, used)
    said: list[str] = []
    assert Recipe(topic.options, said.append, topic.connection).collect() == Waiting(0)
    assert "unchanged" in said[0]


@pytest.mark.kafka
def test_no_more_than_the_limit_is_taken_at_once(topic: Topic) -> None:
    topic.options = topic.options.model_copy(update={"max_samples": 6, "min_samples": 2})
    topic.send([sample(number) for number in range(10)])
    first = topic.snapshot()
    second = topic.snapshot((first.folder,))
    assert len(ids(first)) == 6
    assert not set(ids(first)) & set(ids(second))


@pytest.mark.kafka
def test_malformed_records_up_to_the_limit_do_not_stand_in_the_way(topic: Topic) -> None:
    topic.options = topic.options.model_copy(update={"max_samples": 6})
    topic.send([b"{"] * 10 + [sample(number) for number in range(8)])
    said: list[str] = []
    done = Recipe(topic.options, said.append, topic.connection).collect()
    assert isinstance(done, Done)
    assert ids(done) == ["chat-0-0", "chat-0-1"]  # too few, but the older ones are out of the way
    assert ["quarantined 6" in said[0], "quarantined 4" in said[1]] == [True, True]
    (empty,) = {*(topic.options.work / "collect").glob("[!.]*")} - {done.folder}
    assert len((empty / collect.QUARANTINE).read_text().splitlines()) == 6
    assert history.snapshots(topic.options.work) == [done.folder]
    assert ids(topic.snapshot((done.folder,))) == [f"chat-0-{number}" for number in range(2, 8)]


@pytest.mark.kafka
def test_a_limit_below_what_is_needed_does_not_stop_the_trainer(topic: Topic) -> None:
    topic.options = topic.options.model_copy(update={"max_samples": 4})
    topic.send([sample(number) for number in range(6)])
    first = topic.snapshot()
    assert len(ids(first)) == 4
    assert isinstance(topic.collect((first.folder,)), Waiting)


@pytest.mark.kafka
def test_an_offset_past_the_end_of_a_topic_made_anew_is_one_line(topic: Topic) -> None:
    topic.send([sample(number) for number in range(10)])
    asyncio.run(collect._commit(topic.connection, topic.options, {0: (0, 999)}))
    with pytest.raises(CollectError, match="999, is past the end of the log") as caught:
        topic.collect()
    assert "\n" not in str(caught.value)


@pytest.mark.kafka
def test_a_topic_that_is_not_there_is_one_line(servers: str, options: TrainerSettings) -> None:
    with pytest.raises(CollectError, match="no such topic"):
        Topic(servers, options).collect()


@pytest.mark.kafka
def test_the_command_says_that_too_few_wait_and_exits_0(
    topic: Topic, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.send([sample(number) for number in range(4)])
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", topic.connection["bootstrap_servers"])
    for name in ("review_topic", "group_id", "min_samples", "work"):
        monkeypatch.setenv(f"TRAINER_{name.upper()}", str(getattr(topic.options, name)))
    assert program.main(["collect"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("samples wait, 5 are needed; nothing consumed")
    topic.send([sample(4)])
    assert len(ids(topic.snapshot())) == 5


@pytest.mark.kafka
@pytest.mark.parametrize(("go", "come"), [("pause", "resume"), ("stop", "start")])
def test_kafka_gone_in_the_middle_is_one_line_and_nothing_is_lost(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, go: str, come: str
) -> None:
    embedded = EmbeddedBroker(tmp_path / "broker")  # of its own, as it is frozen, or ended
    embedded.start()
    try:
        topic = Topic(embedded.bootstrap_servers, options)
        topic.options = topic.options.model_copy(update={"kafka_seconds": 2.0})
        topic.create()
        topic.send([sample(number) for number in range(10)])
        drain = collect._drain

        async def frozen(*given: Any) -> Any:  # noqa: ANN401
            getattr(embedded, go)()
            return await drain(*given)

        with monkeypatch.context() as patch:
            patch.setattr(collect, "_drain", frozen)
            patch.setattr(collect, "QUIET_SECONDS", 0.2)
            with pytest.raises(CollectError, match="nothing was consumed") as caught:
                topic.collect()
        assert "\n" not in str(caught.value)
        getattr(embedded, come)()
        assert len(ids(topic.snapshot())) == 10
    finally:
        embedded.stop()


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
def test_a_consumer_that_stops_badly_takes_nothing_back(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = AIOKafkaConsumer.stop

    async def badly(self: AIOKafkaConsumer) -> None:
        await stop(self)
        raise KafkaConnectionError("gone")

    topic.send([sample(number) for number in range(10)])
    with monkeypatch.context() as patch:
        patch.setattr(AIOKafkaConsumer, "stop", badly)
        assert len(ids(topic.snapshot())) == 10
    assert topic.collect() == Waiting(0)


@pytest.mark.kafka
def test_a_commit_that_fails_does_not_say_that_nothing_was_consumed(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(self: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        await self.committed(next(iter(ends)))  # as far as the coordinator it came
        raise KafkaConnectionError("gone")

    topic.send([sample(number) for number in range(10)])
    topic.options = topic.options.model_copy(update={"kafka_seconds": 2.0})
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
    found = asyncio.run(collect._drain(consumer, options, {0: (0, 4)}))
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

    assert collect._ask(call, kafka.connection(settings("127.0.0.1:1")), options)
    gc.collect()
    assert caplog.records == []


def test_kafka_that_is_not_there_is_one_line(options: TrainerSettings) -> None:
    connection = kafka.connection(settings("127.0.0.1:1"))
    quick = options.model_copy(update={"kafka_seconds": 2.0})
    with pytest.raises(CollectError, match="nothing was consumed") as caught:
        collect.collect(connection, quick)
    assert "\n" not in str(caught.value)


def test_the_command_says_in_one_line_and_no_more_that_kafka_is_not_there(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    quick = options.model_copy(update={"kafka_seconds": 2.0})
    assert command(quick, monkeypatch, "collect") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("trainer: ")
    assert line.endswith("nothing was consumed, the next run reads it again")


def a_promotion() -> ModelPromotion:
    return ModelPromotion(
        name="maum",
        version="2",
        alias="champion",
        uri="/registry/maum/2",
        sha256="0" * 64,
        previous_version="1",
        promoted_at=NOW,
        metrics={"macro_f1": 0.8},
    )


@pytest.mark.kafka
def test_a_promotion_is_announced_under_the_models_name(topic: Topic) -> None:
    promotion = a_promotion()
    promote.announce(promotion, topic.connection, topic.options)
    read = topic.options.model_copy(update={"review_topic": topic.options.models_topic})
    (record,) = asyncio.run(collect._read_all(topic.connection, read, {0: (0, 1)}))
    assert record.key == b"maum"
    assert ModelPromotion.model_validate_json(record.value) == promotion


@pytest.mark.apache  # the embedded broker makes a topic for whoever names one
def test_a_models_topic_that_is_not_there_is_one_line_that_says_what_makes_it(
    topic: Topic,
) -> None:
    options = topic.options.model_copy(
        update={"models_topic": f"{topic.options.models_topic}.none", "kafka_seconds": 2.0}
    )
    with pytest.raises(AnnounceError, match="`python -m worker topics` creates") as caught:
        promote.announce(a_promotion(), topic.connection, options)
    assert "\n" not in str(caught.value)


@given(
    st.dictionaries(st.integers(0, 9), st.tuples(st.integers(0, 50), st.integers(1, 50))),
    st.integers(1, 200),
)
def test_a_limit_is_kept_to_and_used_up(spans: dict[int, tuple[int, int]], limit: int) -> None:
    waiting = {number: (first, first + count) for number, (first, count) in spans.items()}
    cut = collect.limited(waiting, limit)
    taken = sum(last - first for first, last in cut.values())
    assert taken == min(limit, sum(last - first for first, last in waiting.values()))
    assert all(cut[number][0] == waiting[number][0] for number in cut)
    assert all(cut[number][1] <= waiting[number][1] for number in cut)
