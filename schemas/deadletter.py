"""Dead letters: the input's bytes untouched, and headers that say what went wrong and where."""

from enum import StrEnum

REASON = "dlq.reason"
ERROR = "dlq.error"
TOPIC = "dlq.topic"
PARTITION = "dlq.partition"
OFFSET = "dlq.offset"
WORKER = "dlq.worker"


class Reason(StrEnum):
    """Why a record got no emotion."""

    UNDECODABLE = "undecodable"
    """Not UTF-8, or not a JSON object."""
    INVALID = "invalid"
    """A JSON object, but not a ChatMessage."""
    TOO_LARGE = "too_large"
    """More bytes than the worker takes, or than it could publish again."""
    UNCLASSIFIABLE = "unclassifiable"
    """A ChatMessage on which the model failed even alone."""


def headers(  # noqa: PLR0913, PLR0917  one argument a header, as the contract lists them
    reason: Reason, error: str, topic: str, partition: int, offset: int, worker: str
) -> list[tuple[str, bytes]]:
    """Give the headers of a dead letter, to append to the input's own.

    ``error`` is the error's class and message, never the text; ``worker`` the worker's version. A
    dead letter that was replayed and failed again has each name twice: the last one counts.
    """
    values = {
        REASON: reason.value,
        ERROR: error,
        TOPIC: topic,
        PARTITION: str(partition),
        OFFSET: str(offset),
        WORKER: worker,
    }
    # A lone surrogate in a message must not cost the dead letter that reports it.
    return [(name, value.encode("utf-8", "backslashreplace")) for name, value in values.items()]
