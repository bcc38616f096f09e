"""Moments on the wire: RFC 3339 in, and RFC 3339 in UTC with milliseconds out."""

import re
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

# 9999-12-31T23:59:59.999Z, the last millisecond that a datetime can name.
MAX_EPOCH_MS = 253_402_300_799_999

_LONGEST_KEPT = 40  # characters: down to a picosecond, and nobody's megabytes of digits

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  naive on purpose: UTC arithmetic without tzinfo
_CLOCK = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)"
_REST = re.compile(r"(?:\.([0-9]+))?([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])")
_RFC_3339 = re.compile(_CLOCK + _REST.pattern)
_NO_DATE_TIME = "not an RFC 3339 date-time with an offset"


def parse(value: str) -> datetime:
    """Read an RFC 3339 date-time (section 5.6) as an aware datetime.

    Digits past the microsecond are cut. A leap second is read as the second after it, as POSIX
    does. Raises ValueError, without the value in its message, where it has no offset, isn't
    RFC 3339 or falls outside the years 1 to 9999 of UTC.
    """
    match = _RFC_3339.fullmatch(value)
    if match is None:
        raise ValueError(_NO_DATE_TIME)
    text = value.upper()
    leap = match[1] == "60"
    if leap:
        text = f"{text[: match.start(1)]}59{text[match.end(1) :]}"
    try:
        moment = datetime.fromisoformat(text)
        if leap:
            moment = moment.astimezone(UTC) + timedelta(seconds=1)
        elif not MINYEAR < moment.year < MAXYEAR:
            moment.astimezone(UTC)  # only there can the offset lead outside
    except (ValueError, OverflowError):
        raise ValueError("not a moment of the years 1 to 9999") from None
    if leap and (moment.hour, moment.minute, moment.second) != (0, 0, 0):
        raise ValueError("a leap second ends a day of UTC")
    return moment


@lru_cache(maxsize=4096)  # as for seconds, below
def utc_text(epoch_ms: int) -> str:
    """Write epoch milliseconds, 0 to MAX_EPOCH_MS, as RFC 3339 in UTC with milliseconds.

    Raises OverflowError for a moment outside the years 1 to 9999.
    """
    seconds, milliseconds = divmod(epoch_ms, 1000)
    return f"{_second_text(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=256)  # messages come many to a second, and this runs for each
def _second_text(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()


def text_of(value: str) -> str:
    """An RFC 3339 date-time as `utc_text` writes one; what is finer than a millisecond is cut.

    Raises ValueError as `parse` does.
    """
    return _text_of(value) if len(value) <= _LONGEST_KEPT else datetime_text(parse(value))


def _text_of(value: str) -> str:
    # Messages come many to a second and in any millisecond of it, so each is kept by itself.
    fraction, offset = _rest_of(value[19:])
    return f"{_second_of(value[:19], offset)}.{fraction}Z"


@lru_cache(maxsize=4096)  # a clock of milliseconds writes a thousand of them
def _rest_of(value: str) -> tuple[str, str]:
    """What follows the seconds, as milliseconds and offset. Raises ValueError."""
    match = _REST.fullmatch(value)
    if match is None:
        raise ValueError(_NO_DATE_TIME)
    return f"{match[1] or '0':0<3}"[:3], match[2]


@lru_cache(maxsize=256)
def _second_of(clock: str, offset: str) -> str:
    return datetime_text(parse(clock + offset))[:19]


def datetime_text(moment: datetime) -> str:
    """Write an aware datetime as RFC 3339 in UTC; what is finer than a millisecond is cut."""
    # The first 23 characters end with the milliseconds; what follows them is +00:00.
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def _on_the_calendar(value: str) -> str:
    # The pattern has fixed the shape; a 30th of February is left to find.
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("utc_text", "Not a moment of the calendar") from None
    return value


UtcText = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z$"
    ),
    AfterValidator(_on_the_calendar),
    Field(json_schema_extra={"format": "date-time"}),
]
