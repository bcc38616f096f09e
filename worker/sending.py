"""Outputs → record batches, one or more a target partition, handed to a producer.

Whole batches, because a future, a coroutine and a log line for every message cost more than all
the rest of its way through the worker.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, UnknownTopicOrPartitionError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from worker.codec import Output

MAX_BATCH_BYTES: Final = 262_144
GZIP: Final = 1  # in Kafka's record batches
METADATA_SECONDS: Final = 10.0
LONGEST_KEPT: Final = 128  # bytes of a key whose hash is kept


async def send(
    producer: AIOKafkaProducer, source: TopicPartition, outputs: Sequence[Output]
) -> list[asyncio.Future[object]]:
    """Hand `outputs` to the producer; futures of their acknowledgement, one a batch.

    Raises KafkaError.
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
            sent.add_done_callback(retrieve)
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


async def settled(acknowledged: Sequence[asyncio.Future[object]]) -> None:
    """Wait for each batch, and raise the first error. A cancelled wait leaves them as they are."""
    if acknowledged:
        await asyncio.wait(acknowledged)
    for each in acknowledged:
        each.result()


def retrieve(done: asyncio.Future[Any]) -> BaseException | None:
    """The future's error, which asyncio does not complain of from here on."""
    return None if done.cancelled() else done.exception()
