"""ChatMessage: what the platform may write, and what is made of its time."""

from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.chat import ChatMessage, sent_at_text
from schemas.instant import MAX_EPOCH_MS, parse

WRITTEN = "비밀이야기"

FULL = {
    "message_id": "m-1",
    "text": "오늘 너무 좋다 ㅎㅎ",
    "room_id": "room-7",
    "user_id": "user-3",
    "sent_at": "2024-05-01T21:00:00.5+09:00",
}

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)


def test_a_message_is_read_with_every_field() -> None:
    assert ChatMessage.model_validate(FULL).model_dump() == FULL


def test_a_message_needs_only_an_id_and_a_text() -> None:
    message = ChatMessage.model_validate({"message_id": "m", "text": ""})

    assert (message.room_id, message.user_id, message.sent_at) == (None, None, None)


def test_fields_of_a_later_platform_are_ignored() -> None:
    assert ChatMessage.model_validate({**FULL, "mood": {"x": 1}}) == ChatMessage(**FULL)


def test_the_bytes_of_a_message_stay_as_they_are() -> None:
    message = ChatMessage.model_validate(FULL)

    assert (
        orjson.dumps(message.model_dump())
        == (
            '{"message_id":"m-1","text":"오늘 너무 좋다 ㅎㅎ","room_id":"room-7",'
            '"user_id":"user-3","sent_at":"2024-05-01T21:00:00.5+09:00"}'
        ).encode()
    )


def test_a_message_cannot_be_changed() -> None:
    message = ChatMessage.model_validate(FULL)

    with pytest.raises(ValidationError, match="frozen"):
        message.text = "다른 말"  # type: ignore[misc]


@pytest.mark.parametrize("length", [1, 256])
def test_an_id_has_1_to_256_characters(length: int) -> None:
    message = ChatMessage.model_validate({**FULL, "message_id": "가" * length})

    assert len(message.message_id) == length


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_id", ""),
        ("message_id", "m" * 257),
        ("message_id", 7),
        ("message_id", None),
        ("message_id", "a\x00b"),
        ("text", None),
        ("text", 1),
        ("text", b"bytes"),
        ("text", ["a"]),
        ("text", "a\x00"),
        ("text", "\x00"),
        ("text", "line\n\x00"),
        ("text", "\ud800"),
        ("room_id", 7),
        ("room_id", "\x00r"),
        ("user_id", True),
        ("user_id", "u\x00"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        ChatMessage.model_validate({**FULL, field: value})

    assert {error["loc"][0] for error in refusal.value.errors()} == {field}


@pytest.mark.parametrize("field", ["message_id", "text"])
def test_a_missing_field_is_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        ChatMessage.model_validate({key: value for key, value in FULL.items() if key != field})


@pytest.mark.parametrize("value", [[FULL], "text", 1, None])
def test_what_is_not_an_object_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        ChatMessage.model_validate(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_714_564_800_123, "2024-05-01T12:00:00.123Z"),
        (MAX_EPOCH_MS, "9999-12-31T23:59:59.999Z"),
        ("2024-05-01T12:00:00Z", "2024-05-01T12:00:00.000Z"),
        ("2024-05-01t12:00:00.1z", "2024-05-01T12:00:00.100Z"),
        ("2024-05-01T21:00:00.123456789+09:00", "2024-05-01T12:00:00.123Z"),
        ("2024-05-01T12:00:00.9999-00:00", "2024-05-01T12:00:00.999Z"),
        ("2024-02-29T23:30:00-01:00", "2024-03-01T00:30:00.000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("2017-01-01T08:59:60.25+09:00", "2017-01-01T00:00:00.250Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds(value: str | int, text: str) -> None:
    message = ChatMessage.model_validate({**FULL, "sent_at": value})

    assert message.sent_at == value
    assert sent_at_text(message.sent_at, fallback_ms=5) == text


@pytest.mark.parametrize(
    "value",
    [
        -1,
        MAX_EPOCH_MS + 1,
        10**30,
        True,
        False,
        1.5,
        {},
        b"2024-05-01T12:00:00Z",
        "",
        "2024-05-01",
        "2024-05-01T12:00:00",
        "2024-05-01 12:00:00Z",
        "2024-05-01T12:00Z",
        "2024-05-01T12:00:00,5Z",
        "2024-05-01T12:00:00.Z",
        "2024-05-01T12:00:00+0900",
        "2024-05-01T12:00:00+09",
        "2024-05-01T12:00:00+24:00",
        "2024-05-01T12:00:00Z\n",
        "20240501T120000Z",
        "2024-W18-3T12:00:00Z",
        "2024-02-30T12:00:00Z",
        "2024-13-01T12:00:00Z",
        "2024-05-01T24:00:00Z",
        "2024-05-01T12:60:00Z",
        "2024-05-01T12:00:60Z",
        "2024-05-01T12:00:61Z",
        "2024-05-01T23:59:60+09:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "２０２４-05-01T12:00:00Z",
        "1714564800123",
        WRITTEN,
    ],
)
def test_a_time_that_is_neither_rfc_3339_nor_epoch_milliseconds_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="RFC 3339"):
        ChatMessage.model_validate({**FULL, "sent_at": value})


@pytest.mark.parametrize(
    "value",
    [
        {"message_id": f"{WRITTEN}\x00", "text": f"{WRITTEN}\x00", "sent_at": WRITTEN},
        {"message_id": WRITTEN * 100, "text": [WRITTEN], "room_id": {WRITTEN: WRITTEN}},
        {"message_id": "m", "text": f"{WRITTEN}\ud800", "user_id": f"\x00{WRITTEN}"},
        {"message_id": "m", "sent_at": f"2024-02-30T00:00:00Z{WRITTEN}", WRITTEN: WRITTEN},
        {WRITTEN: WRITTEN},
        WRITTEN,
    ],
)
def test_a_refusal_never_repeats_what_was_written(value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        ChatMessage.model_validate(value)

    assert WRITTEN not in str(refusal.value)
    assert WRITTEN not in str(refusal.value.errors(include_input=False))


@pytest.mark.parametrize(
    ("fallback_ms", "text"),
    [
        (1_714_564_800_123, "2024-05-01T12:00:00.123Z"),
        (-1, "1970-01-01T00:00:00.000Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_the_timestamp_of_the_record_stands_in_whatever_it_is(fallback_ms: int, text: str) -> None:
    assert sent_at_text(None, fallback_ms) == text


@given(st.integers(0, MAX_EPOCH_MS))
def test_epoch_milliseconds_survive_being_written_and_read(epoch_ms: int) -> None:
    text = sent_at_text(epoch_ms, fallback_ms=0)

    assert (parse(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) == epoch_ms
    assert sent_at_text(text, fallback_ms=0) == text


@given(
    st.datetimes(
        min_value=datetime(1, 1, 2),  # noqa: DTZ001
        max_value=datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=OFFSETS,
    )
)
def test_a_time_of_any_offset_is_the_same_moment_to_the_millisecond(moment: datetime) -> None:
    message = ChatMessage(message_id="m", text="", sent_at=moment.isoformat())

    late = moment - parse(sent_at_text(message.sent_at, fallback_ms=0))

    assert timedelta(0) <= late < timedelta(milliseconds=1)


@given(
    st.one_of(
        st.text(),
        st.integers(),
        st.from_regex(
            r"\A[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]"
            r"(\.[0-9]{0,12})?([Zz]|[+-][0-2][0-9]:[0-6][0-9])\Z"
        ),
    )
)
def test_a_time_that_is_let_in_can_always_be_written(value: str | int) -> None:
    try:
        message = ChatMessage(message_id="m", text="", sent_at=value)
    except ValidationError:
        return
    assert len(sent_at_text(message.sent_at, fallback_ms=0)) == len("2024-05-01T12:00:00.123Z")
