"""Bytes ↔ schema objects: what comes in from Kafka, and the exact bytes that go out."""

import json
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, Final, NamedTuple, Protocol

import orjson
from pydantic import ValidationError

from schemas import deadletter
from schemas.chat import ChatMessage, sent_at_text
from schemas.deadletter import Reason
from schemas.emotion import EMOTIONS
from schemas.instant import text_of, utc_text
from worker import __version__
from worker.decision import Decision

Headers = Sequence[tuple[str, bytes]]

MAX_ID_LENGTH: Final = 256  # characters, by the schema
FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH = EMOTIONS  # a display of a dict takes a quarter of zip
TRACE_HEADERS: Final = frozenset({"traceparent", "tracestate"})


class Sized(Protocol):
    """What takes room in a record."""

    @property
    def key(self) -> bytes | None:
        """Usually the room."""

    @property
    def value(self) -> bytes | None:
        """The bytes of a ChatMessage; None is a tombstone."""

    @property
    def headers(self) -> Headers:
        """Names and values; a name may repeat."""


class Record(Sized, Protocol):
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


class Chat(NamedTuple):
    """A ChatMessage inside the worker; the fields are the schema's."""

    message_id: str
    text: str
    room_id: str | None = None
    user_id: str | None = None
    sent_at: str | None = None  # as events have it; None where the record's timestamp stands in


def size(record: Sized) -> int:
    """Bytes of its key, value and headers."""
    found = len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers:  # not `sum`: a generator costs more than all the rest
        found += len(name) + len(value or b"")
    return found


def decode(value: bytes, max_bytes: int, found: int | None = None) -> Chat:
    """Read one ChatMessage, of at most `max_bytes`. Raises DecodeError.

    `found`: the `size` of the whole record, where there is one.
    """
    found = len(value) if found is None else found
    if found > max_bytes:
        raise DecodeError(
            Reason.TOO_LARGE, f"TooLarge: {found} bytes, at most {max_bytes} are taken"
        )
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise DecodeError(Reason.UNDECODABLE, f"JSONDecodeError: {error}") from None
    if type(fields) is not dict:
        raise DecodeError(Reason.UNDECODABLE, f"NotAnObject: JSON {type(fields).__name__}")
    plain = _plain(value, fields)
    if plain is not None:
        return plain
    if _may_repeat_keys(value, fields) and _repeats_keys(value):
        raise DecodeError(Reason.INVALID, "DuplicateKey: a name stands twice in one object")
    try:
        message = ChatMessage.model_validate(fields)
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}"
            for mistake in error.errors(
                include_url=False, include_input=False, include_context=False
            )
        )
        raise DecodeError(Reason.INVALID, f"ValidationError: {mistakes}") from None
    sent_at = None if message.sent_at is None else sent_at_text(message.sent_at, 0)
    return Chat(message.message_id, message.text, message.room_id, message.user_id, sent_at)


def _plain(value: bytes, fields: dict[str, Any]) -> Chat | None:
    """The message where it is beyond doubt that the schema takes it; None means: look closely.

    Nearly all messages end here, in half the time. Without a backslash there is no U+0000, and each
    quote begins or ends a string: two for a name, two more for a text. More of them than the fields
    below explain are a name that was dropped, or something nested.
    """
    if b"\\" in value:
        return None
    get = fields.get
    message_id, text, sent_at = get("message_id"), get("text"), get("sent_at")
    room_id, user_id = get("room_id"), get("user_id")
    if not (type(message_id) is type(text) is str and 0 < len(message_id) <= MAX_ID_LENGTH):
        return None
    quotes = 2 * len(fields) + 4
    for each in (room_id, user_id, sent_at):
        if type(each) is str:
            quotes += 2
        elif each is not None:
            return None
    if value.count(b'"') != quotes:
        return None
    try:
        moment = None if sent_at is None else text_of(sent_at)
    except ValueError:
        return None
    return Chat(message_id, text, room_id, user_id, moment)


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
    chat: Chat,
    decision: Decision,
    *,
    truncated: bool,
    model: Mapping[str, str],
    classified_at: str,
) -> dict[str, object]:
    """EmotionEvent as it goes on the wire, in the order of the contract.

    A plain dict and not the pydantic model: this runs for every message, and building and dumping
    the model costs five times as much. A test holds its bytes against the schema's.
    """
    topic, partition, offset = record.topic, record.partition, record.offset
    message_id, _, room_id, user_id, sent_at = chat
    emotion, confidence, margin, low_margin, (a, b, c, d, e, f) = decision
    return {
        "schema_version": 1,
        "event_id": f"{topic}-{partition}-{offset}",
        "message_id": message_id,
        "room_id": room_id,
        "user_id": user_id,
        "emotion": emotion,
        "confidence": confidence,
        "margin": margin,
        "scores": {FIRST: a, SECOND: b, THIRD: c, FOURTH: d, FIFTH: e, SIXTH: f},
        "low_margin": low_margin,
        "truncated": truncated,
        "model": model,
        "source": {"topic": topic, "partition": partition, "offset": offset},
        "sent_at": sent_at or sent_at_text(None, record.timestamp),
        "classified_at": classified_at,
    }


def encode(fields: Mapping[str, object]) -> bytes:
    """JSON bytes of `fields`, in no more memory than they need.

    orjson writes into a buffer of 4 KiB or a power of two above, and leaves it that large for as
    long as the result lives; here results wait for their transaction, by the thousand.
    """
    return b"".join((orjson.dumps(fields), b""))  # two parts: one alone would be passed through


def trace_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """The W3C trace context, which passes from the input to every output."""
    if not headers:
        return []
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
