"""The exact bytes that go out, and that they are what the schemas describe."""

import orjson
import pytest

from schemas.deadletter import Reason
from schemas.emotion import EmotionEvent
from schemas.review import ReviewSample
from worker import codec
from worker.classifier import ModelId
from worker.codec import Chat, Output
from worker.decision import Decision, sampled
from worker.outcome import Router
from worker.settings import WorkerSettings

from .fakes import FakeRecord

TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
RECORD = FakeRecord(value=b"...", headers=[("tenant", b"a"), TRACE])
CHAT = Chat(message_id="m-1", text="오늘 너무 좋다 ㅎㅎ", room_id="room-7")
MODEL = ModelId("maum", "2024.05.01")
SURE = Decision("기쁨", 0.5, 0.25, False, (0.0, 0.0625, 0.0625, 0.25, 0.125, 0.5))  # noqa: FBT003
UNSURE = Decision("기쁨", 0.4, 0.1, True, (0.0, 0.1, 0.1, 0.3, 0.1, 0.4))  # noqa: FBT003

EVENT = (
    '{"schema_version":1,"event_id":"chat.messages-2-41","message_id":"m-1","room_id":"room-7",'
    '"user_id":null,"emotion":"기쁨","confidence":0.5,"margin":0.25,'
    '"scores":{"분노":0.0,"불안":0.0625,"슬픔":0.0625,"평온":0.25,"당황":0.125,"기쁨":0.5},'
    '"low_margin":false,"truncated":false,"model":{"name":"maum","version":"2024.05.01"},'
    '"source":{"topic":"chat.messages","partition":2,"offset":41},'
    '"sent_at":"2024-05-01T12:00:00.123Z","classified_at":"2024-05-01T12:00:00.456Z"'
)
SAMPLE = ',"text":"오늘 너무 좋다 ㅎㅎ","reason":"random","inclusion_probability":1.0}'


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "now_text", lambda: "2024-05-01T12:00:00.456Z")


def router(rate: float = 0.0, **settings: str) -> Router:
    return Router(WorkerSettings(review_sample_rate=rate, **settings))  # type: ignore[arg-type]


def test_the_bytes_of_an_event_are_these() -> None:
    outcome = router().route(RECORD, CHAT, SURE, MODEL, False, 9)  # noqa: FBT003
    (output,) = outcome.outputs
    assert output == Output("chat.emotions", b"room-7", (EVENT + "}").encode(), [TRACE])
    assert (outcome.kind, outcome.emotion, outcome.review) == ("event", "기쁨", "")
    assert (outcome.tokens, outcome.timestamp_ms) == (9, RECORD.timestamp)
    fields = router().fields(RECORD, CHAT, SURE, MODEL, False)  # noqa: FBT003
    assert orjson.dumps(fields) == output.value


def test_the_bytes_of_a_random_sample_are_these() -> None:
    outcome = router(1.0).route(RECORD, CHAT, SURE, MODEL, False, 9)  # noqa: FBT003
    event, sample = outcome.outputs
    assert event.value == (EVENT + "}").encode()
    assert sample == Output("chat.emotions.review", b"room-7", (EVENT + SAMPLE).encode(), [TRACE])
    assert outcome.review == "random"


@pytest.mark.parametrize("decision", [SURE, UNSURE])
@pytest.mark.parametrize("truncated", [False, True])
def test_the_bytes_are_what_the_schemas_write(decision: Decision, truncated: bool) -> None:  # noqa: FBT001
    outcome = router(1.0).route(RECORD, CHAT, decision, MODEL, truncated, 9)
    event, sample = (output.value or b"" for output in outcome.outputs)
    assert orjson.dumps(EmotionEvent.model_validate_json(event).model_dump()) == event
    assert orjson.dumps(ReviewSample.model_validate_json(sample).model_dump()) == sample


def test_a_low_margin_result_goes_to_both_topics_for_certain() -> None:
    outcome = router().route(RECORD, CHAT, UNSURE, MODEL, False, 9)  # noqa: FBT003
    event, sample = outcome.outputs
    assert orjson.loads(event.value or b"")["low_margin"] is True
    fields = orjson.loads(sample.value or b"")
    assert (fields["reason"], fields["inclusion_probability"]) == ("low_margin", 1.0)


def test_a_low_margin_result_can_be_withheld_from_the_emotion_topic() -> None:
    outcome = router(low_margin_events="withhold").route(RECORD, CHAT, UNSURE, MODEL, False, 9)  # noqa: FBT003
    assert [output.topic for output in outcome.outputs] == ["chat.emotions.review"]
    assert outcome.kind == "withheld"


def test_a_sure_result_is_never_withheld() -> None:
    outcome = router(low_margin_events="withhold").route(RECORD, CHAT, SURE, MODEL, False, 9)  # noqa: FBT003
    assert [output.topic for output in outcome.outputs] == ["chat.emotions"]


def test_the_random_sample_is_the_one_that_the_id_decides() -> None:
    route = router(0.3).route
    for offset in range(200):
        record = FakeRecord(value=b"...", offset=offset)
        outcome = route(record, CHAT, SURE, MODEL, False, 9)  # noqa: FBT003
        assert (len(outcome.outputs) == 2) == sampled(codec.event_id(record), 0.3)


def test_an_event_holds_no_text() -> None:
    outcome = router().route(RECORD, CHAT, SURE, MODEL, False, 9)  # noqa: FBT003
    assert CHAT.text.encode() not in (outcome.outputs[0].value or b"")


def test_a_refusal_is_a_dead_letter_with_the_input_untouched() -> None:
    outcome = router().refuse(RECORD, Reason.UNCLASSIFIABLE, "NotFinite: NaN", 9)
    (letter,) = outcome.outputs
    assert (letter.topic, letter.key, letter.value) == ("chat.messages.dlq", b"room-7", b"...")
    assert letter.headers[:2] == RECORD.headers
    assert dict(letter.headers[2:]) == {
        "dlq.reason": b"unclassifiable",
        "dlq.error": b"NotFinite: NaN",
        "dlq.topic": b"chat.messages",
        "dlq.partition": b"2",
        "dlq.offset": b"41",
        "dlq.worker": b"0.1.0",
    }
    assert (outcome.kind, outcome.reason) == ("dead_letter", "unclassifiable")


def test_a_message_without_a_moment_takes_the_records() -> None:
    record = FakeRecord(timestamp=-1)
    fields = router().fields(record, CHAT, SURE, MODEL, False)  # noqa: FBT003
    assert fields["sent_at"] == "1970-01-01T00:00:00.000Z"
