"""The chat platform's record: one message somebody wrote."""

from typing import Annotated

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from schemas.instant import MAX_EPOCH_MS, text_of, utc_text
from schemas.record import MessageId, Record, Text

_SENT_AT_RULE = (
    "Input should be an RFC 3339 date-time with an offset, or epoch milliseconds from 0 to "
    f"{MAX_EPOCH_MS}"
)


def _check_sent_at(value: object) -> object:
    """Let pass what ``sent_at_text`` can write; one plain validator is cheaper than a union."""
    if value is None:
        return value
    # The type itself, not isinstance: a bool is an int to Python, and no moment to anybody.
    if type(value) is int and 0 <= value <= MAX_EPOCH_MS:
        return value
    if type(value) is str:
        try:
            text_of(value)
        except ValueError:
            raise PydanticCustomError("sent_at", _SENT_AT_RULE) from None
        return value
    raise PydanticCustomError("sent_at", _SENT_AT_RULE)


_SentAtInput = (
    Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    | Annotated[int, Field(ge=0, le=MAX_EPOCH_MS)]
    | None
)

SentAt = Annotated[
    str | int | None, PlainValidator(_check_sent_at, json_schema_input_type=_SentAtInput)
]


class ChatMessage(Record):
    """One chat message, as the platform writes it."""

    message_id: MessageId
    """The platform's id of the message."""
    text: Text
    """What was written."""
    room_id: Text | None = None
    """The room it was written in."""
    user_id: Text | None = None
    """Who wrote it."""
    sent_at: SentAt = None
    """When: RFC 3339 with an offset, or epoch milliseconds; else the record's timestamp."""


def sent_at_text(value: str | int | None, fallback_ms: int) -> str:
    """Write a validated ``sent_at`` as RFC 3339 in UTC with milliseconds.

    ``fallback_ms``, the record's timestamp in epoch milliseconds, stands in for None. A client may
    stamp its records with anything (and -1 means no timestamp), so the fallback is brought into
    0 to MAX_EPOCH_MS rather than refused: a bad clock is no reason to stop at a good message.

    Raises ValueError or OverflowError for a value that ``ChatMessage`` would have refused.
    """
    if value is None:
        return utc_text(min(max(fallback_ms, 0), MAX_EPOCH_MS))
    if isinstance(value, str):
        return text_of(value)
    return utc_text(value)
