"""The review topic becomes a snapshot: nothing twice, nothing lost, whatever happens meanwhile."""

import asyncio
import json

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError

from schemas.promotion import ModelPromotion
from trainer import __main__ as program
from trainer import backlog, collect, dataset, history, promote, records, snapshot
from trainer.collect import Waiting
from trainer.history import Run
from trainer.promote import AnnounceError
from trainer.recipe import Recipe
from trainer.settings import TrainerSettings
from trainer.stage import Done

from .commands import command
from .topic import NOW, Topic, ids, sample


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
    rows = [*dataset.read_texts(first.folder / snapshot.SAMPLES)]
    rows += dataset.read_texts(second.folder / snapshot.SAMPLES)
    assert len({row.id for row in rows}) == len({row.text for row in rows}) == 20
    topic.send([sample(number, text=f"새 글 {number}") for number in range(10)])
    assert topic.collect((first.folder, second.folder)) == Waiting(0)


@pytest.mark.kafka
def test_malformed_records_go_to_quarantine_with_the_reason(topic: Topic) -> None:
    bad = json.loads(sample(1)) | {"emotion": "설렘"}
    values = [sample(number) for number in range(6)]
    topic.send([*values, b"{", json.dumps(bad).encode(), b"[]"])
    done = topic.snapshot()
    lines = (done.folder / snapshot.QUARANTINE).read_text().splitlines()
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
        patch.setattr(backlog, "commit", killed)
        with pytest.raises(Killed):
            topic.collect()
    (left,) = (topic.options.work / "collect").glob("[!.]*")
    again = topic.snapshot()  # nothing new came: the same snapshot, now committed
    assert (again.folder, again.skipped) == (left, True)
    assert topic.collect((left,)) == Waiting(0)


@pytest.mark.kafka
def test_a_snapshot_that_was_used_before_it_was_committed_is_not_used_again(topic: Topic) -> None:
    """A run that is killed before the commit is gone on with, and finished, without Kafka."""
    topic.send([sample(number) for number in range(10)])
    done = topic.snapshot()
    taken = {int(number): (first, first) for number, (first, _) in done.manifest.offsets.items()}
    asyncio.run(backlog.commit(topic.connection, topic.options, taken))  # as before the snapshot
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
    assert len((empty / snapshot.QUARANTINE).read_text().splitlines()) == 6
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
    (record,) = asyncio.run(records.read(topic.connection, read, {0: (0, 1)}))
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
