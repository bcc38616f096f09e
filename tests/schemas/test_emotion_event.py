"""EmotionEvent and ReviewSample: their order, their bytes, and what each refuses."""

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from schemas.emotion import EMOTIONS, EmotionEvent, ModelRef, SourceRef
from schemas.review import ReviewSample

EVENT: dict[str, Any] = {
    "schema_version": 1,
    "event_id": "chat.messages-2-41",
    "message_id": "m-1",
    "room_id": "room-7",
    "user_id": None,
    "emotion": "기쁨",
    "confidence": 0.5,
    "margin": 0.25,
    "scores": {
        "분노": 0.0,
        "불안": 0.0625,
        "슬픔": 0.0625,
        "평온": 0.25,
        "당황": 0.125,
        "기쁨": 0.5,
    },
    "low_margin": False,
    "truncated": False,
    "model": {"name": "maum", "version": "2024.05.01"},
    "source": {"topic": "chat.messages", "partition": 2, "offset": 41},
    "sent_at": "2024-05-01T12:00:00.123Z",
    "classified_at": "2024-05-01T12:00:00.456Z",
}

SAMPLE: dict[str, Any] = {
    **EVENT,
    "text": "오늘 너무 좋다 ㅎㅎ",
    "reason": "random",
    "inclusion_probability": 0.01,
}

EVENT_JSON = (
    '{"schema_version":1,"event_id":"chat.messages-2-41","message_id":"m-1","room_id":"room-7",'
    '"user_id":null,"emotion":"기쁨","confidence":0.5,"margin":0.25,'
    '"scores":{"분노":0.0,"불안":0.0625,"슬픔":0.0625,"평온":0.25,"당황":0.125,"기쁨":0.5},'
    '"low_margin":false,"truncated":false,"model":{"name":"maum","version":"2024.05.01"},'
    '"source":{"topic":"chat.messages","partition":2,"offset":41},'
    '"sent_at":"2024-05-01T12:00:00.123Z","classified_at":"2024-05-01T12:00:00.456Z"'
)

UTC_TEXTS_REFUSED = [
    "2024-05-01T12:00:00Z",
    "2024-05-01T12:00:00.123456Z",
    "2024-05-01T12:00:00.123+00:00",
    "2024-02-30T12:00:00.123Z",
    "2024-05-01T25:00:00.123Z",
    "2024-05-01T12:00:00.123Z\n",
    1_714_564_800_123,
    None,
]


def scores(**changes: object) -> dict[str, object]:
    """Give the event's scores, some of them changed."""
    return {**EVENT["scores"], **changes}


def test_the_emotions_are_in_label_order() -> None:
    assert EMOTIONS == ("분노", "불안", "슬픔", "평온", "당황", "기쁨")


def test_the_fields_of_an_event_are_in_the_order_of_the_contract() -> None:
    assert list(EmotionEvent.model_fields) == list(EVENT)


def test_a_sample_is_an_event_and_then_its_own_fields() -> None:
    assert list(ReviewSample.model_fields) == list(SAMPLE)


def test_the_bytes_of_an_event_stay_as_they_are() -> None:
    event = EmotionEvent.model_validate(EVENT)

    assert orjson.dumps(event.model_dump()) == f"{EVENT_JSON}}}".encode()


def test_the_bytes_of_a_sample_stay_as_they_are() -> None:
    sample = ReviewSample.model_validate(SAMPLE)

    assert (
        orjson.dumps(sample.model_dump())
        == (
            f'{EVENT_JSON},"text":"오늘 너무 좋다 ㅎㅎ","reason":"random",'
            '"inclusion_probability":0.01}'
        ).encode()
    )


def test_an_event_is_read_from_its_own_bytes() -> None:
    event = EmotionEvent.model_validate(EVENT)

    assert EmotionEvent.model_validate(orjson.loads(orjson.dumps(event.model_dump()))) == event


def test_fields_of_a_later_writer_are_ignored() -> None:
    later = {
        **SAMPLE,
        "language": "ko",
        "model": {**EVENT["model"], "device": "cpu"},
        "source": {**EVENT["source"], "cluster": "a"},
    }

    assert ReviewSample.model_validate(later) == ReviewSample.model_validate(SAMPLE)
    assert EmotionEvent.model_validate(later) == EmotionEvent.model_validate(EVENT)


def test_an_event_read_from_a_sample_carries_no_text() -> None:
    assert "text" not in EmotionEvent.model_validate(SAMPLE).model_dump()


def test_an_event_says_its_version_unasked() -> None:
    unversioned = {key: value for key, value in EVENT.items() if key != "schema_version"}

    assert EmotionEvent(**unversioned).schema_version == 1


def test_scores_are_put_in_label_order() -> None:
    backwards = dict(reversed(EVENT["scores"].items()))

    event = EmotionEvent.model_validate({**EVENT, "scores": backwards})

    assert list(event.scores) == list(EMOTIONS)


def test_scores_may_be_rounded() -> None:
    rounded = dict.fromkeys(EMOTIONS, 0.1667)

    assert EmotionEvent.model_validate({**EVENT, "scores": rounded}).scores == rounded


def test_a_source_names_the_event_it_will_get() -> None:
    assert SourceRef(topic="chat.messages", partition=2, offset=41).event_id == EVENT["event_id"]


@pytest.mark.parametrize("record", [ModelRef, SourceRef])
def test_a_reference_cannot_be_changed(record: type[ModelRef | SourceRef]) -> None:
    reference = record.model_validate({**EVENT["model"], **EVENT["source"]})

    with pytest.raises(ValidationError, match="frozen"):
        setattr(reference, next(iter(record.model_fields)), "x")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", 2),
        ("schema_version", "1"),
        ("event_id", ""),
        ("event_id", "chat.messages"),
        ("event_id", "chat messages-0-1"),
        ("message_id", ""),
        ("room_id", 1),
        ("user_id", "\x00"),
        ("emotion", "joy"),
        ("emotion", None),
        ("confidence", 1.01),
        ("confidence", -0.01),
        ("confidence", float("nan")),
        ("confidence", "0.5"),
        ("margin", 1.5),
        ("margin", None),
        ("scores", None),
        ("scores", {}),
        ("scores", [0.5, 0.5, 0, 0, 0, 0]),
        ("scores", {label: 0.2 for label in EMOTIONS if label != "당황"}),
        ("scores", scores(놀람=0.0)),
        ("scores", scores(기쁨=0.6)),
        ("scores", scores(기쁨=float("nan"))),
        ("scores", scores(기쁨=1.5, 분노=-1.0)),
        ("scores", scores(기쁨="0.5")),
        ("low_margin", 0),
        ("truncated", "false"),
        ("model", "maum"),
        ("model", {"name": "maum"}),
        ("model", {"name": "", "version": "1"}),
        ("model", {"name": "maum", "version": 1}),
        ("source", {"topic": "", "partition": 0, "offset": 0}),
        ("source", {"topic": "t", "partition": -1, "offset": 0}),
        ("source", {"topic": "t", "partition": 0, "offset": -1}),
        ("source", {"topic": "t", "partition": 0, "offset": 0.0}),
        *(("sent_at", value) for value in UTC_TEXTS_REFUSED),
        *(("classified_at", value) for value in UTC_TEXTS_REFUSED),
    ],
)
def test_a_wrong_field_of_an_event_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        EmotionEvent.model_validate({**EVENT, field: value})

    assert {error["loc"][0] for error in refusal.value.errors()} == {field}


@pytest.mark.parametrize("field", [field for field in SAMPLE if field != "schema_version"])
def test_a_missing_field_is_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        ReviewSample.model_validate({key: value for key, value in SAMPLE.items() if key != field})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", None),
        ("text", "a\x00"),
        ("reason", "curious"),
        ("inclusion_probability", 0.0),
        ("inclusion_probability", 1.01),
        ("inclusion_probability", None),
        ("emotion", "joy"),
    ],
)
def test_a_wrong_field_of_a_sample_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        ReviewSample.model_validate({**SAMPLE, field: value})

    assert [error["loc"] for error in refusal.value.errors()] == [(field,)]


def test_a_low_margin_sample_was_certain_to_be_chosen() -> None:
    low = {**SAMPLE, "low_margin": True, "reason": "low_margin"}

    certain = ReviewSample.model_validate({**low, "inclusion_probability": 1.0})

    assert certain.reason == "low_margin"
    with pytest.raises(ValidationError, match="certain"):
        ReviewSample.model_validate({**low, "inclusion_probability": 0.01})


def test_a_refused_sample_does_not_repeat_its_text() -> None:
    with pytest.raises(ValidationError) as refusal:
        ReviewSample.model_validate({**SAMPLE, "text": "비밀이야기\x00", "reason": "비밀이야기"})

    assert "비밀이야기" not in str(refusal.value)
