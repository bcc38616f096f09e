"""Bytes ↔ schema objects: what comes in from Kafka, and the exact bytes that go out."""

import json
from collections.abc import Sequence
from time import time_ns
from typing import Any, Final, NamedTuple, Protocol

import orjson
from pydantic import ValidationError

from schemas import deadletter
from schemas.chat import ChatMessage, sent_at_text
from schemas.deadletter import Reason
from schemas.emotion import EMOTIONS
from schemas.instant import utc_text
from worker import __version__
from worker.decision import Decision

Headers = Sequence[tuple[str, bytes]]

TRACE_HEADERS: Final = frozenset({"traceparent", "tracestate"})


class Record(Protocol):
    """What is needed of an input record (aiokafka's ConsumerRecord has it)."""

    @property
    def topic(self) -> str:
        """The topic that it came from."""

    @property
    def partition(self) -> int:
        """The partition of the topic."""

    @property
    def offset(self) -> int:
        """The place in the partition."""

    @property
    def timestamp(self) -> int:
        """Epoch milliseconds."""

    @property
    def key(self) -> bytes | None:
        """Usually the room."""

    @property
    def value(self) -> bytes | None:
        """The bytes of a ChatMessage; None is a tombstone."""

    @property
    def headers(self) -> Headers:
        """Names and values; a name may repeat."""


class Output(NamedTuple):
    """One record to publish."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]  # a list: aiokafka's record builder takes nothing else


class DecodeError(Exception):
    """The record cannot become a message: it goes to the dead letters. Never holds its text."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def decode(value: bytes, max_bytes: int) -> ChatMessage:
    """Read one ChatMessage of at most `max_bytes`. Raises DecodeError."""
    if len(value) > max_bytes:
        raise DecodeError(
            Reason.TOO_LARGE, f"TooLarge: {len(value)} bytes, at most {max_bytes} are taken"
        )
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise DecodeError(Reason.UNDECODABLE, f"JSONDecodeError: {error}") from None
    if type(fields) is not dict:
        raise DecodeError(Reason.UNDECODABLE, f"NotAnObject: JSON {type(fields).__name__}")
    if _may_repeat_keys(value, fields) and _repeats_keys(value):
        raise DecodeError(Reason.INVALID, "DuplicateKey: a name stands twice in one object")
    try:
        return ChatMessage.model_validate(fields)
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}"
            for mistake in error.errors(
                include_url=False, include_input=False, include_context=False
            )
        )
        raise DecodeError(Reason.INVALID, f"ValidationError: {mistakes}") from None


def _may_repeat_keys(value: bytes, fields: dict[str, Any]) -> bool:
    """Cheap test on the quotes; True means: look closely.

    orjson keeps the last of two equal names silently. In a flat object each name and each string
    value has two quotes, so more quotes than that betray a name that was dropped.
    """
    quotes = value.count(b'"')
    if b"\\" in value:
        if b"\\\\" in value:
            return True  # an escaped backslash makes \" ambiguous to a mere count
        quotes -= value.count(b'\\"')
    expected = 0
    for field in fields.values():
        kind = type(field)
        if kind is str:
            expected += 4
        elif kind is dict or kind is list:
            return True
        else:
            expected += 2
    return quotes != expected


def _repeats_keys(value: bytes) -> bool:
    repeats = False

    def check(pairs: list[tuple[str, object]]) -> None:
        nonlocal repeats
        repeats = repeats or len(pairs) != len(dict(pairs))

    try:
        # Numbers stay text: Python refuses to read one of 4,300 digits, which orjson takes.
        json.loads(value, object_pairs_hook=check, parse_int=str)
    except RecursionError:
        raise DecodeError(Reason.UNDECODABLE, "RecursionError: nested too deeply") from None
    except ValueError as error:  # what orjson takes and json does not
        raise DecodeError(Reason.UNDECODABLE, f"{type(error).__name__}: not JSON") from None
    return repeats


def now_text() -> str:
    """The wall clock as the wire writes it: RFC 3339, UTC, milliseconds."""
    return utc_text(time_ns() // 1_000_000)


def event_id(record: Record) -> str:
    """The id of the record's results: the same message always gets the same one."""
    return f"{record.topic}-{record.partition}-{record.offset}"


def event_fields(  # noqa: PLR0913  (the fields of the wire)
    record: Record,
    chat: ChatMessage,
    decision: Decision,
    *,
    truncated: bool,
    model: dict[str, str],
    classified_at: str,
) -> dict[str, object]:
    """EmotionEvent as it goes on the wire, in the order of the contract.

    A plain dict and not the pydantic model: this runs for every message, and building and dumping
    the model costs five times as much. A test holds its bytes against the schema's.
    """
    return {
        "schema_version": 1,
        "event_id": event_id(record),
        "message_id": chat.message_id,
        "room_id": chat.room_id,
        "user_id": chat.user_id,
        "emotion": decision.emotion,
        "confidence": decision.confidence,
        "margin": decision.margin,
        "scores": dict(zip(EMOTIONS, decision.scores, strict=True)),
        "low_margin": decision.low_margin,
        "truncated": truncated,
        "model": model,
        "source": {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
        },
        "sent_at": sent_at_text(chat.sent_at, record.timestamp),
        "classified_at": classified_at,
    }


def trace_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """The W3C trace context, which passes from the input to every output."""
    return [header for header in headers if header[0] in TRACE_HEADERS]


def dead_letter(topic: str, record: Record, reason: Reason, error: str) -> Output:
    """The input's own key, bytes and headers, untouched, and the headers that say why."""
    marks = deadletter.headers(
        reason=reason,
        error=error,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        worker=__version__,
    )
    return Output(topic, record.key, record.value, [*record.headers, *marks])
