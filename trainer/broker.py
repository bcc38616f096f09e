"""Kafka is asked and waited for; what it fails with is one line that says how things were left."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from aiokafka.errors import CommitFailedError, KafkaError, OffsetOutOfRangeError

from trainer.settings import TrainerSettings
from worker import kafka, reach
from worker.kafka import KafkaProblemError

NOTHING_CONSUMED: Final = "nothing was consumed, the next run reads it again"

T = TypeVar("T")


class CollectError(Exception):
    """The topic cannot be read, or its offsets be committed, now. The message is one clear line."""


def ask(
    call: Callable[[], Awaitable[T]],
    connection: dict[str, Any],
    options: TrainerSettings,
    *,
    left: str = NOTHING_CONSUMED,
) -> T:
    """What Kafka answers, waited for. Raises CollectError, which says how things were `left`."""

    async def answer() -> T:
        asyncio.get_running_loop().set_exception_handler(_unawaited)
        return await reach.retrying(call, options.kafka_seconds, connection)

    with failing(options, left):
        return asyncio.run(answer())


@contextmanager
def failing(options: TrainerSettings, left: str) -> Iterator[None]:
    """Around what asks Kafka. Raises CollectError, which says how things were `left`."""
    try:
        yield
    except (KafkaError, KafkaProblemError, TimeoutError) as error:
        told = _line(error, options)
        line = f"{told} {left}" if told.endswith("?") else f"{told}; {left}"
        raise CollectError(line) from error


def _unawaited(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Of a request that was given up aiokafka awaits no answer: the line that we say is enough."""
    if not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)


def _line(error: Exception, options: TrainerSettings) -> str:
    if isinstance(error, TimeoutError):
        return f"Kafka did not answer for {options.kafka_seconds:g} s"
    if isinstance(error, OffsetOutOfRangeError):
        return f"samples of {options.review_topic} expired while they were read"
    if isinstance(error, CommitFailedError):
        return (
            f"the group {options.group_id} has members that subscribe to topics, and Kafka takes "
            "commits from those alone: set TRAINER_GROUP_ID to a group that nobody else uses"
        )
    return kafka.line(error)
