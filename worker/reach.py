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
UNHEARD: Final = "promotions are not heard of at once, but at the next look at the alias"
LOOK_SECONDS: Final = 2.0  # at each server, for why it cannot be reached


async def reach(connection: dict[str, Any], options: WorkerSettings) -> None:
    """Wait for Kafka, and see that the topics are there. Raises KafkaProblemError, KafkaError.

    The one of promotions may be missing: a warning says so where the model is a registry's.
    """
    names = [
        options.input_topic,
        options.emotion_topic,
        options.review_topic,
        options.dead_letter_topic,
    ]
    heard = [options.models_topic] if options.model.startswith("registry:") else []
    missing = await retrying(
        lambda: topics.missing(connection, [*names, *heard]), options.start_seconds, connection
    )
    if needed := [name for name in missing if name in names]:
        raise KafkaProblemError(topics.absent(needed))
    if missing:
        log.warning(UNHEARD, reason=topics.absent(missing), poll_seconds=options.model_poll_seconds)


async def retrying(
    call: Callable[[], Awaitable[T]], seconds: float, connection: dict[str, Any]
) -> T:
    """Call until Kafka answers, for at most `seconds`. Raises KafkaProblemError where it doesn't.

    What no waiting mends (a login, a certificate, a right) is raised at once, as KafkaError, or as
    KafkaProblemError.
    """
    where = connection["bootstrap_servers"]
    deadline, pause = monotonic() + seconds, FIRST_PAUSE
    while True:
        try:
            # aiokafka itself waits 40 s for a server that takes a connection and says nothing.
            async with asyncio.timeout(deadline - monotonic()):
                return await call()
        except (KafkaError, TimeoutError) as error:
            if isinstance(error, KafkaError) and not error.retriable:
                raise
            why = await obstacle(connection)
            if why is None and not isinstance(error, KafkaConnectionError):
                why = error  # such as of another server, which the call was for
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
