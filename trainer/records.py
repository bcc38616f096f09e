"""The records of what waits on the review topic, and what tells their log from every other."""

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from tqdm import tqdm

from trainer import backlog, broker
from trainer.backlog import Range, place
from trainer.broker import NOTHING_CONSUMED, CollectError
from trainer.consumer import consuming
from trainer.settings import TrainerSettings

QUIET_SECONDS: Final = 3.0  # nothing comes: ask the broker whether it is still there
BAR: Final[dict[str, Any]] = {"desc": "collect", "unit": "record"}


async def read(
    connection: dict[str, Any], options: TrainerSettings, waiting: Mapping[int, Range]
) -> list[ConsumerRecord]:
    """Every committed record of the ranges, by partition and offset.

    Partitions come as they please: the same offsets are to make the same snapshot. Raises
    CollectError, also when the broker falls silent.
    """
    with broker.failing(options, NOTHING_CONSUMED):
        async with consuming(connection, options, alone=True) as consumer:
            found = await _drain(consumer, options, waiting)
    return sorted(found, key=lambda each: (each.partition, each.offset))


async def mark(
    connection: dict[str, Any], options: TrainerSettings, waiting: Mapping[int, Range]
) -> str:
    """Tells this log from every other: a hash of the first record of each range.

    Also of records that were aborted, which stay where they are as well. Raises KafkaError.
    """
    async with consuming(connection, options, alone=True, aborted=True) as consumer:
        ends = place(consumer, options.review_topic, waiting)
        firsts = [await _first(consumer, each, end) for each, end in sorted(ends.items())]
    return sha256(repr(firsts).encode()).hexdigest()


async def _first(
    consumer: AIOKafkaConsumer, partition: TopicPartition, end: int
) -> tuple[object, ...]:
    """Of the first record before `end`; nothing where there are only markers of transactions."""
    while await consumer.position(partition) < end:
        found = await consumer.getmany(
            partition, timeout_ms=int(QUIET_SECONDS * 1000), max_records=1
        )
        for record in found.get(partition, []):
            return record.partition, record.offset, record.timestamp, record.key, record.value
    return ()


async def _drain(
    consumer: AIOKafkaConsumer, options: TrainerSettings, waiting: Mapping[int, Range]
) -> list[ConsumerRecord]:
    topic = options.review_topic
    ends = place(consumer, topic, waiting)
    found: list[ConsumerRecord] = []
    open_, clock = set(ends), asyncio.get_running_loop().time
    places, moved = dict.fromkeys(ends, -1), clock()
    with tqdm(total=backlog.count(waiting), **BAR) as bar:
        while open_:
            batch = await consumer.getmany(*open_, timeout_ms=int(QUIET_SECONDS * 1000))
            for each, records in batch.items():
                wanted = [record for record in records if record.offset < ends[each]]
                found += wanted
                bar.update(len(wanted))
            # Markers of transactions move the position, too, without a record.
            now = {each: await consumer.position(each) for each in open_}
            if any(places[each] != place for each, place in now.items()):
                places, moved = places | now, clock()
            elif clock() - moved >= options.kafka_seconds:
                raise CollectError(f"{topic} fell silent before its end; {NOTHING_CONSUMED}")
            else:
                async with asyncio.timeout(options.kafka_seconds):
                    await consumer.end_offsets(list(open_))  # is it still there?
            open_ = {each for each in open_ if now[each] < ends[each]}
    return found
