"""Reaching Kafka at a start: tried again with growing pauses, and why not in one clear line."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final, TypeVar

import structlog
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError

from worker import kafka, topics
from worker.kafka import KafkaProblemError
from worker.settings import WorkerSettings

log = structlog.get_logger(__name__)
T = TypeVar("T")

FIRST_PAUSE: Final = 0.25  # seconds, doubling up to
LONGEST_PAUSE: Final = 5.0
LOOK_SECONDS: Final = 2.0  # at each server, for why it cannot be reached


async def reach(connection: dict[str, Any], options: WorkerSettings) -> None:
    """Wait for Kafka, and see that the topics are there. Raises KafkaProblemError, KafkaError."""
    names = [
        options.input_topic,
        options.emotion_topic,
        options.review_topic,
        options.dead_letter_topic,
    ]
    missing = await retrying(
        lambda: topics.missing(connection, names), options.start_seconds, connection
    )
    if missing:
        raise KafkaProblemError(topics.absent(missing))


async def retrying(
    call: Callable[[], Awaitable[T]], seconds: float, connection: dict[str, Any]
) -> T:
    """Call until Kafka answers, for at most `seconds`. Raises KafkaProblemError where it doesn't.

    What no waiting mends (a login, a certificate) is raised at once.
    """
    where = connection["bootstrap_servers"]
    deadline, pause = monotonic() + seconds, FIRST_PAUSE
    while True:
        try:
            # aiokafka itself waits 40 s for a server that takes a connection and says nothing.
            async with asyncio.timeout(deadline - monotonic()):
                return await call()
        except (KafkaConnectionError, TimeoutError) as error:
            why = await obstacle(connection)
            if isinstance(why, kafka.FATAL):
                raise why from error
            if isinstance(why, ssl.SSLCertVerificationError):
                message = (
                    f"the certificate of Kafka at {where} is not to be trusted "
                    f"({why.verify_message}): look at KAFKA_SSL_CAFILE and the servers' names"
                )
                raise KafkaProblemError(message) from error
            if monotonic() + pause > deadline:
                message = (
                    f"Kafka at {where} did not answer for {seconds:g} s ({_told(why)}); is it "
                    "running, and is KAFKA_SECURITY_PROTOCOL what it speaks?"
                )
                raise KafkaProblemError(message) from error
            log.warning("Kafka does not answer; trying again", servers=where, seconds=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


async def obstacle(connection: dict[str, Any]) -> Exception | None:
    """What keeps the first of the servers from us; aiokafka logs it, and raises something else."""
    how = {name: value for name, value in connection.items() if name != "bootstrap_servers"}
    host, port, _ = collect_hosts(connection["bootstrap_servers"], randomize=False)[0]
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            (await create_conn(host, port, **how)).close()
    except (OSError, KafkaError) as error:
        return error
    return None


def _told(why: Exception | None) -> str:
    if why is None or isinstance(why, TimeoutError):
        return "not a word"
    return " ".join(str(why).split()) or type(why).__name__
