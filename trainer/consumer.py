"""A consumer of the review topic: what it reads is assigned to it by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from trainer.settings import TrainerSettings
from worker import kafka, reach


@asynccontextmanager
async def consuming(
    connection: dict[str, Any],
    options: TrainerSettings,
    *,
    alone: bool = False,
    aborted: bool = False,
) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer that is assigned nothing yet; it is stopped at the end.

    It is of the trainer's group, or `alone`: one that only reads would ask for the group's offsets,
    on a connection that nobody awaits. With `aborted` it reads aborted records as well. Raises
    KafkaError, KafkaProblemError.
    """
    # No subscription: partitions are assigned by hand, so that no rebalance cuts a snapshot.
    given = {
        "group_id": None if alone else options.group_id,
        "enable_auto_commit": False,
        "isolation_level": "read_uncommitted" if aborted else "read_committed",
        "auto_offset_reset": "none",
        "request_timeout_ms": int(options.kafka_seconds * 1000),
    }
    consumer = AIOKafkaConsumer(**connection | given)
    try:
        await reach.retrying(consumer.start, options.kafka_seconds, connection)
        yield consumer
    finally:
        # What it was wanted for is done by now, or has failed and says so itself.
        with suppress(KafkaError):
            await kafka.stop(consumer)
