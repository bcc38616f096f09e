"""What a log line may say of a message: where it is, and its id. Never its text, nor its bytes."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from schemas import deadletter
from schemas.deadletter import Reason
from worker import codec
from worker.codec import MAX_ID_LENGTH, Output

Said = dict[str, str | int | None]

# Those were refused for their size, or because they are no JSON: reading them again costs too much,
# or comes to nothing.
UNREAD: Final = frozenset({Reason.UNDECODABLE, Reason.TOO_LARGE})


def dead_letter(letter: Output) -> Said:
    """Offset and reason of the input record, and its message's id where that can be read."""
    marks = dict(letter.headers)  # of a name that stands twice, the last: ours
    reason = marks[deadletter.REASON].decode()
    fields = {} if reason in UNREAD else _fields(letter)
    return {
        "offset": int(marks[deadletter.OFFSET]),
        "reason": reason,
        "message_id": _message_id(fields),
    }


def largest(outputs: Sequence[Output]) -> Said:
    """Where the largest of `outputs` should have gone, and which message it came from."""
    output = max(outputs, key=codec.size)
    size: Said = {"output_topic": output.topic, "bytes": codec.size(output)}
    if any(name == deadletter.REASON for name, _ in output.headers):
        return size | dead_letter(output)
    fields = _fields(output)  # ours, so all of them are there
    return size | {"offset": fields["source"]["offset"], "message_id": _message_id(fields)}


def _fields(output: Output) -> dict[str, Any]:
    try:
        fields = orjson.loads(output.value or b"")
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _message_id(fields: dict[str, Any]) -> str | None:
    """None also for one that the schema refuses, or that would write control codes to a screen."""
    found = fields.get("message_id")
    if not isinstance(found, str) or not 0 < len(found) <= MAX_ID_LENGTH:
        return None
    return found if found.isprintable() else None
