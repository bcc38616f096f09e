"""Publishing the results of one input partition together with the commit of its offsets.

Exactly once: one transactional producer per owned input partition, `{group}.{topic}.{partition}`.
aiokafka commits a transaction's offsets without the group's generation, so one producer a worker
would let a zombie commit after a rebalance. With one id a partition, whoever takes a partition over
fences its former owner, as Kafka Streams did before KIP-447.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    KafkaTimeoutError,
    ProducerClosed,
)
from aiokafka.structs import OffsetAndMetadata

from worker.codec import Output
from worker.sending import MAX_BATCH_BYTES, retrieve, send, settled

log = structlog.get_logger(__name__)

CLOSE_SECONDS: Final = 5.0

Commit = Callable[[TopicPartition, int], Awaitable[None]]


class Publisher(Protocol):
    """Publishes what one input partition's records resulted in. Errors are aiokafka's."""

    async def open(self, source: TopicPartition) -> None:
        """Take the partition over; its former owner can commit nothing from here on."""

    async def publish(
        self, source: TopicPartition, outputs: Sequence[Output], next_offset: int
    ) -> None:
        """Publish `outputs` in order and commit `next_offset` for `source`."""

    async def close(self, source: TopicPartition) -> None:
        """Let the partition go; an open transaction is left to be aborted by the next owner."""

    async def stop(self) -> None:
        """Close everything."""


class TransactionalPublisher:
    """Outputs and offset in one transaction, or not at all."""

    def __init__(
        self, connection: dict[str, Any], group_id: str, transaction_timeout_ms: int
    ) -> None:
        self._connection = connection
        self._group_id = group_id
        self._transaction_timeout_ms = transaction_timeout_ms
        self._producers: dict[TopicPartition, AIOKafkaProducer] = {}

    async def open(self, source: TopicPartition) -> None:
        """Fence the former owner with a producer of the partition's own."""
        await self.close(source)
        producer = AIOKafkaProducer(
            **self._connection,
            transactional_id=f"{self._group_id}.{source.topic}.{source.partition}",
            transaction_timeout_ms=self._transaction_timeout_ms,
            max_batch_size=MAX_BATCH_BYTES,
        )
        self._producers[source] = producer
        await producer.start()

    async def publish(
        self, source: TopicPartition, outputs: Sequence[Output], next_offset: int
    ) -> None:
        """Publish `outputs` and commit `next_offset` in one transaction.

        Raises KafkaTimeoutError after the transaction's time, when the cluster gives it up, too:
        aiokafka would go on asking, for a partition of a topic that was made anew with fewer, say.
        """
        producer = self._producers[source]
        await producer.begin_transaction()
        seconds = self._transaction_timeout_ms / 1000
        try:
            async with asyncio.timeout(seconds):
                acknowledged = await send(producer, source, outputs)
                await producer.send_offsets_to_transaction(
                    {source: OffsetAndMetadata(next_offset, "")}, self._group_id
                )
                # aiokafka commits even when a batch of it was refused, so look at each.
                await settled(acknowledged)
                await producer.commit_transaction()
        except TimeoutError:
            raise KafkaTimeoutError(f"a transaction was not taken in {seconds:g} s") from None
        except (IllegalOperation, AssertionError) as error:
            # The cluster refused a part of it meanwhile (a right, say): aiokafka then tells whoever
            # asks next only that there is no transaction, and keeps the reason for its end.
            raise _why_it_ended(producer) or error from error

    async def close(self, source: TopicPartition) -> None:
        """Drop the partition's producer; an open transaction is aborted by the next one."""
        producer = self._producers.pop(source, None)
        if producer is not None:
            await _close(producer)
            # A fenced producer fails a future that nobody awaits, and asyncio would complain of it.
            _why_it_ended(producer)

    async def stop(self) -> None:
        """Close the producers of all partitions."""
        await asyncio.gather(*(self.close(source) for source in list(self._producers)))


class IdempotentPublisher:
    """Outputs acknowledged by all in-sync replicas first, then the commit: at least once."""

    def __init__(self, connection: dict[str, Any], commit: Commit) -> None:
        """`commit(source, next_offset)` commits with the group's generation."""
        self._connection = connection
        self._commit = commit
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def open(self, source: TopicPartition) -> None:  # noqa: ARG002  (one for all partitions)
        """Start the producer that all partitions share."""
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._connection, enable_idempotence=True, max_batch_size=MAX_BATCH_BYTES
                )
                try:
                    await producer.start()
                except BaseException:
                    await _close(producer)
                    raise
                self._producer = producer

    async def publish(
        self, source: TopicPartition, outputs: Sequence[Output], next_offset: int
    ) -> None:
        """Publish `outputs`, and commit `next_offset` once every one is acknowledged."""
        producer = self._producer
        if producer is None:  # closed by another lane's failure; this one opens it again as well
            raise ProducerClosed
        try:
            await settled(await send(producer, source, outputs))
        except Exception:
            # Sequence numbers may be broken from here on; the next open starts a fresh producer.
            if self._producer is producer:
                self._producer = None
                await _close(producer)
            raise
        await self._commit(source, next_offset)

    async def close(self, source: TopicPartition) -> None:
        """Nothing is kept per partition."""

    async def stop(self) -> None:
        """Close the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)


async def _close(producer: AIOKafkaProducer) -> None:
    """Stop `producer`, also one whose cluster is gone: its flush would wait for ever.

    Whatever it says while it closes (that it was fenced, above all) is no longer of interest.
    """
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await producer.stop()
    except (TimeoutError, KafkaError) as error:
        log.debug("a producer was closed by force", error=type(error).__name__)
    finally:
        # Its sender would go on trying, and connect anew, for as long as the process lives; who
        # appended a batch after its flush would wait for ever.
        sender = producer._sender.sender_task  # noqa: SLF001  (nothing public ends it)
        if sender is not None:
            sender.cancel()
        accumulator = producer._message_accumulator  # noqa: SLF001  (who waits there)
        accumulator.fail_all(ProducerClosed())
        for batch in chain.from_iterable(accumulator._batches.values()):  # noqa: SLF001
            retrieve(batch._drain_waiter)  # noqa: SLF001  (failed, and mostly nobody waits for it)
        await producer.client.close()


def _why_it_ended(producer: AIOKafkaProducer) -> BaseException | None:
    """What went wrong with the producer's last transaction, if anything did."""
    ended = producer._txn_manager.wait_for_transaction_end()  # noqa: SLF001  (nothing public tells)
    return None if ended is None or not ended.done() else retrieve(ended)
