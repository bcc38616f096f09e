"""Publishing the results of one input partition together with the commit of its offsets.

Exactly once: one transactional producer per owned input partition, `{group}.{topic}.{partition}`.
aiokafka commits a transaction's offsets without the group's generation, so one producer a worker
would let a zombie commit after a rebalance. With one id a partition, whoever takes a partition over
fences its former owner, as Kafka Streams did before KIP-447.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    KafkaTimeoutError,
    ProducerClosed,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import OffsetAndMetadata

from worker.codec import Output

log = structlog.get_logger(__name__)

MAX_BATCH_BYTES: Final = 262_144
GZIP: Final = 1  # in Kafka's record batches
CLOSE_SECONDS: Final = 5.0
METADATA_SECONDS: Final = 10.0
LONGEST_KEPT: Final = 128  # bytes of a key whose hash is kept

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
                acknowledged = await _send(producer, source, outputs)
                await producer.send_offsets_to_transaction(
                    {source: OffsetAndMetadata(next_offset, "")}, self._group_id
                )
                # aiokafka commits even when a batch of it was refused, so look at each.
                await _settled(acknowledged)
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
            await _settled(await _send(producer, source, outputs))
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


async def _send(
    producer: AIOKafkaProducer, source: TopicPartition, outputs: Sequence[Output]
) -> list[asyncio.Future[object]]:
    """Hand `outputs` to the producer, a batch a target partition; futures of their acknowledgement.

    Whole batches, because a future, a coroutine and a log line for every message cost more than
    all the rest of its way through the worker.
    """
    by_target: defaultdict[tuple[str, int], list[Output]] = defaultdict(list)
    counts: dict[str, int] = {}
    for output in outputs:
        count = counts.get(output.topic)
        if count is None:
            count = counts[output.topic] = await _partition_count(producer, output.topic)
        by_target[output.topic, target(source, output.key, count)].append(output)
    acknowledged: list[asyncio.Future[object]] = []
    for (topic, partition), group in by_target.items():
        for batch in _batches(producer, group):
            sent = await _sent(producer, batch, topic, partition)
            # Where something else fails first nobody asks for it, and asyncio would complain.
            sent.add_done_callback(_retrieve)
            acknowledged.append(sent)
    return acknowledged


async def _sent(
    producer: AIOKafkaProducer, batch: BatchBuilder, topic: str, partition: int
) -> asyncio.Future[object]:
    """Raises UnknownTopicOrPartitionError where the topic was made anew with fewer meanwhile."""
    try:
        sent: asyncio.Future[object] = await producer.send_batch(batch, topic, partition=partition)
    except AssertionError as error:
        if partition in await producer.partitions_for(topic):
            raise
        message = f"{topic} has no partition {partition} any more"
        raise UnknownTopicOrPartitionError(message) from error
    return sent


async def _partition_count(producer: AIOKafkaProducer, topic: str) -> int:
    """Raises KafkaTimeoutError where aiokafka waits for ever, as on a client closed meanwhile."""
    try:
        async with asyncio.timeout(METADATA_SECONDS):
            return len(await producer.partitions_for(topic))
    except TimeoutError:
        raise KafkaTimeoutError(f"no broker tells of the topic {topic}") from None


def _batches(producer: AIOKafkaProducer, outputs: Sequence[Output]) -> list[BatchBuilder]:
    batches: list[BatchBuilder] = []
    for _, key, value, headers in outputs:
        record = {"timestamp": None, "key": key, "value": value, "headers": headers}
        if batches and batches[-1].append(**record) is not None:
            continue
        batch = producer.create_batch()
        batch.append(**record)  # an empty batch takes a record of any size
        if batch.size() > MAX_BATCH_BYTES:
            batch = _packed(producer)
            batch.append(**record)
        batches.append(batch)
    return batches


def _packed(producer: AIOKafkaProducer) -> BatchBuilder:
    """A batch that is compressed, as the large record in it may have come.

    Topics bound what is sent, not what it unpacks to: else a record that was small on its way in
    could not go to the dead letters, and would stop every worker. Of the codecs, any client reads
    gzip.
    """
    transactional = producer._txn_manager.transactional_id is not None  # noqa: SLF001
    return BatchBuilder(MAX_BATCH_BYTES, GZIP, is_transactional=transactional)


def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


_kept_hash: Final = lru_cache(maxsize=65_536)(_hash)


def target(source: TopicPartition, key: bytes | None, count: int) -> int:
    """Partition of an output topic with `count` partitions.

    By the key, as Kafka's default partitioner does it, so that joins by key work. Records without
    a key keep to the input's partition number, so that their order survives.
    """
    if key is None:
        number: int = source.partition
    else:  # long ones are no rooms, and so many of them as are kept would fill the memory
        number = (_kept_hash if len(key) <= LONGEST_KEPT else _hash)(key)
    return number % count


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
            _retrieve(batch._drain_waiter)  # noqa: SLF001  (failed, and mostly nobody waits for it)
        await producer.client.close()


def _retrieve(done: asyncio.Future[Any]) -> BaseException | None:
    """The future's error, which asyncio does not complain of from here on."""
    return None if done.cancelled() else done.exception()


def _why_it_ended(producer: AIOKafkaProducer) -> BaseException | None:
    """What went wrong with the producer's last transaction, if anything did."""
    ended = producer._txn_manager.wait_for_transaction_end()  # noqa: SLF001  (nothing public tells)
    return None if ended is None or not ended.done() else _retrieve(ended)


async def _settled(acknowledged: Sequence[asyncio.Future[object]]) -> None:
    """Wait for each batch, and raise the first error. A cancelled wait leaves them as they are."""
    if acknowledged:
        await asyncio.wait(acknowledged)
    for each in acknowledged:
        each.result()
