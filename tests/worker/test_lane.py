"""What a partition's lane counts and says of what it committed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import pytest
import structlog
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from structlog.testing import LogCapture
from structlog.typing import EventDict

from schemas.deadletter import Reason
from worker import codec
from worker import lane as lanes
from worker.codec import Chat
from worker.decision import Decision
from worker.lane import Lane, Limits, Outcome
from worker.metrics import Metrics
from worker.outcome import Router
from worker.settings import WorkerSettings

from .fakes import MODEL, SOURCE, Clock, FakePublisher, FakeRecord, FakeSource

TEXT = "이 글은 어디에도 적히지 않는다"
SENT_MS = 1_000_000
ROUTER = Router(WorkerSettings(review_sample_rate=0.0, _env_file=None))


@dataclass
class Stage:
    """A lane with `publisher`, and what it counts and says."""

    publisher: FakePublisher = field(default_factory=FakePublisher)
    clock: Clock = field(default_factory=lambda: Clock(SENT_MS / 1000))
    metrics: Metrics = field(default_factory=Metrics)
    said: Sequence[EventDict] = ()

    async def commits(self, *outcomes: Outcome, records: int = 100) -> None:
        """Publish `outcomes`, at most `records` a transaction. Raises what ends the lane."""
        limits = Limits(commit_interval=0.0, commit_records=records, fenced_backoff=0.0)
        source = FakeSource()
        with pytest.MonkeyPatch.context() as patch:
            # Not `capture_logs`: a logger that was used before keeps to how logs were set up then.
            said = LogCapture()
            patch.setattr(lanes, "log", structlog.wrap_logger(None, processors=[said]))
            self.said = said.entries
            lane = Lane(
                SOURCE, source, self.publisher, limits, self.metrics, self.clock, lambda: None
            )
            async with asyncio.TaskGroup() as group:
                running = group.create_task(lane.run())
                for _ in range(1 + len(self.publisher.faults)):  # once more after each of them
                    await source.resumed.get()
                    hand_in(lane, outcomes)
                lane.drain()
                await running

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def warnings(self) -> list[EventDict]:
        return [each for each in self.said if each["log_level"] in {"warning", "error"}]


def hand_in(lane: Lane, outcomes: Sequence[Outcome]) -> None:
    for offset, outcome in enumerate(outcomes):
        assert lane.take_in(offset)
        lane.complete(lane.epoch, offset, outcome)


def refused(offset: int, reason: Reason, value: bytes) -> Outcome:
    record = FakeRecord(value=value, offset=offset, timestamp=SENT_MS)
    return ROUTER.refuse(record, reason, f"{reason}: why", 1)


def decided(offset: int, emotion: str, *, low: bool = False, sent_ms: int = SENT_MS) -> Outcome:
    decision = Decision(emotion, 0.5, 0.1, low, (0.5, 0.1, 0.1, 0.1, 0.1, 0.1))
    record = FakeRecord(value=b"...", offset=offset, timestamp=sent_ms)
    return ROUTER.route(record, Chat(f"m{offset}", TEXT), decision, MODEL, False, 1)  # noqa: FBT003


def message(**fields: object) -> bytes:
    return orjson.dumps({"message_id": "m-7", "text": TEXT} | fields)


async def test_the_dead_letters_of_a_transaction_are_one_line_that_names_the_first() -> None:
    stage = Stage()
    await stage.commits(
        decided(0, "기쁨"),
        refused(1, Reason.UNCLASSIFIABLE, message()),
        refused(2, Reason.UNDECODABLE, TEXT.encode()),
        *(refused(offset, Reason.INVALID, message(text=7)) for offset in range(3, 9)),
    )
    (line,) = stage.warnings()
    assert line == {
        "event": "dead letters; the first is named",
        "log_level": "warning",
        "topic": SOURCE.topic,
        "partition": SOURCE.partition,
        "count": 8,
        "offset": 1,
        "reason": "unclassifiable",
        "message_id": "m-7",
    }
    assert TEXT not in str(stage.said)


async def test_a_flood_of_dead_letters_is_a_line_a_transaction() -> None:
    stage = Stage()
    flood = [refused(offset, Reason.UNDECODABLE, b"{") for offset in range(100)]
    await stage.commits(*flood, records=40)
    told = [(line["count"], line["offset"]) for line in stage.warnings()]
    assert told == [(40, 0), (40, 40), (20, 80)]


async def test_without_dead_letters_nothing_is_said_of_them() -> None:
    stage = Stage()
    await stage.commits(decided(0, "기쁨"), decided(1, "슬픔", low=True))
    assert stage.warnings() == []


@pytest.mark.parametrize(
    ("reason", "value", "told"),
    [
        (Reason.UNCLASSIFIABLE, message(), "m-7"),
        (Reason.INVALID, message(text=7), "m-7"),
        (Reason.INVALID, message(message_id=7), None),
        (Reason.INVALID, message(message_id=""), None),
        (Reason.INVALID, message(message_id="m" * 257), None),
        (Reason.INVALID, message(message_id="m\x1b[2J"), None),
        (Reason.INVALID, orjson.dumps({"text": TEXT}), None),
        (Reason.UNDECODABLE, TEXT.encode("euc-kr"), None),
        (Reason.UNDECODABLE, orjson.dumps([TEXT]), None),
        (Reason.TOO_LARGE, message(), None),
    ],
)
async def test_the_message_id_is_told_where_it_can_be_read(
    reason: Reason, value: bytes, told: str | None
) -> None:
    stage = Stage()
    await stage.commits(refused(0, reason, value))
    (line,) = stage.warnings()
    assert (line["reason"], line["message_id"]) == (reason, told)


async def test_a_replayed_dead_letter_is_told_of_where_it_is_now() -> None:
    old = FakeRecord(value=message(text=7), offset=900)
    letter = ROUTER.refuse(old, Reason.TOO_LARGE, "why", 1).outputs[0]
    again = FakeRecord(value=letter.value, headers=letter.headers, offset=0, timestamp=SENT_MS)
    stage = Stage()
    await stage.commits(ROUTER.refuse(again, Reason.INVALID, "why", 1))
    (line,) = stage.warnings()
    assert (line["offset"], line["reason"], line["message_id"]) == (0, "invalid", "m-7")


@pytest.mark.parametrize(
    ("large", "told"),
    [
        (
            refused(1, Reason.INVALID, message(text=7, padding="ㅋ" * 900)),
            {
                "output_topic": "chat.messages.dlq",
                "offset": 1,
                "reason": "invalid",
                "message_id": "m-7",
            },
        ),
        (
            decided(1, "불안", low=True),
            {"output_topic": "chat.emotions.review", "offset": 1, "message_id": "m1"},
        ),
    ],
    ids=["a dead letter", "a review sample"],
)
async def test_an_output_that_is_too_large_is_named_before_it_ends_the_worker(
    large: Outcome, told: dict[str, object]
) -> None:
    stage = Stage(FakePublisher(MessageSizeTooLargeError()))
    with pytest.RaisesGroup(MessageSizeTooLargeError):
        await stage.commits(decided(0, "기쁨"), large, decided(2, "기쁨"))
    (line,) = stage.warnings()
    assert line == {
        "event": "an output is too large",
        "log_level": "error",
        "topic": SOURCE.topic,
        "partition": SOURCE.partition,
        "bytes": codec.size(large.outputs[-1]),
        **told,
    }
    assert TEXT not in str(line)


async def test_what_is_committed_is_counted_by_what_became_of_it() -> None:
    stage = Stage()
    await stage.commits(
        decided(0, "기쁨"),
        decided(1, "슬픔"),
        decided(2, "기쁨"),
        decided(3, "기쁨", low=True),
        refused(4, Reason.INVALID, b"{}"),
        refused(5, Reason.INVALID, b"{}"),
        refused(6, Reason.UNDECODABLE, b"{"),
        Outcome("tombstone", (), SENT_MS, 1),
    )
    counts = {
        (sample.name, *sample.labels.values()): sample.value
        for family in stage.metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels
    }
    assert counts == {
        ("maum_events_total", "기쁨"): 3,
        ("maum_events_total", "슬픔"): 1,
        ("maum_records_total", "event"): 4,
        ("maum_records_total", "dead_letter"): 3,
        ("maum_records_total", "tombstone"): 1,
        ("maum_dead_letters_total", "invalid"): 2,
        ("maum_dead_letters_total", "undecodable"): 1,
        ("maum_review_samples_total", "low_margin"): 1,
        ("maum_transactions_total", "committed"): 1,
    }


async def test_a_transaction_tells_how_long_it_took_and_how_old_its_oldest_message_is() -> None:
    clock = Clock(SENT_MS / 1000 + 3.0)
    stage = Stage(FakePublisher(takes=lambda: clock.passes(0.5)), clock)
    ages = enumerate([0, 2000, 1000])  # milliseconds younger than the oldest
    await stage.commits(
        *(decided(offset, "기쁨", sent_ms=SENT_MS + younger) for offset, younger in ages), records=2
    )
    assert stage.value("maum_stage_seconds_count", stage="publish") == 2
    assert stage.value("maum_stage_seconds_sum", stage="publish") == 2 * 0.5
    assert stage.value("maum_end_to_end_seconds_count") == 2
    assert stage.value("maum_end_to_end_seconds_sum") == 3.5 + (4.0 - 1.0)


async def test_what_was_interrupted_counts_as_aborted_and_only_its_repeat_as_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "FIRST_BACKOFF", 0.0)
    stage = Stage(FakePublisher(KafkaConnectionError(), KafkaConnectionError()))
    await stage.commits(decided(0, "기쁨"), refused(1, Reason.INVALID, message(text=7)))
    assert stage.value("maum_transactions_total", result="aborted") == 2
    assert stage.value("maum_transactions_total", result="committed") == 1
    assert stage.value("maum_events_total", emotion="기쁨") == 1
    told = [line["event"] for line in stage.warnings()]
    assert [line.partition(";")[0] for line in told] == [
        "partition interrupted",
        "partition interrupted",
        "dead letters",
    ]
