"""What waits on the review topic, by its offsets, and the commit of what was taken of it."""

from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from trainer.broker import CollectError
from trainer.consumer import consuming
from trainer.settings import TrainerSettings
from worker import topics

Range = tuple[int, int]  # first offset, one past the last


async def look(
    connection: dict[str, Any],
    options: TrainerSettings,
    warn: Callable[[str], None] | None = None,
) -> dict[int, Range]:
    """What waits on each partition: from the group's commit (or the beginning) to the end.

    These are offsets: markers of transactions and aborted records are among them. `warn` hears of
    those that expired. Raises CollectError, KafkaError.
    """
    partitions = await _partitions(connection, options.review_topic)
    async with consuming(connection, options) as consumer:
        beginnings = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        waiting, expired = {}, 0
        for each in partitions:
            known = await consumer.committed(each)
            committed = known or 0
            if known is not None:  # else the group never read: nothing of its own is gone
                expired += max(0, beginnings[each] - known)
            if committed > ends[each]:
                raise CollectError(
                    f"{each.topic}-{each.partition}: the offset of {options.group_id}, {committed},"
                    " is past the end of the log, which was cut or made anew; reset it by hand"
                )
            waiting[each.partition] = (max(committed, beginnings[each]), ends[each])
        if expired and warn:
            warn(
                f"collect: at most {expired} review samples expired before they were read; collect "
                f"more often, or raise the retention of {options.review_topic}"
            )
        return {number: span for number, span in waiting.items() if span[0] < span[1]}


def count(waiting: Mapping[int, Range]) -> int:
    """How many offsets these are, on all partitions (pure)."""
    return sum(last - first for first, last in waiting.values())


def limited(waiting: Mapping[int, Range], limit: int) -> dict[int, Range]:
    """The oldest of each partition, `limit` records in all at most (pure)."""
    cut = {}
    for left, (number, (first, last)) in zip(
        range(len(waiting), 0, -1),
        sorted(waiting.items(), key=lambda item: item[1][1] - item[1][0]),
        strict=True,
    ):
        taken = min(last - first, limit // left)
        limit -= taken
        if taken:
            cut[number] = (first, first + taken)
    return cut


def place(
    consumer: AIOKafkaConsumer, topic: str, waiting: Mapping[int, Range]
) -> dict[TopicPartition, int]:
    """Put `consumer` at the beginning of each range; the ends."""
    ends = {TopicPartition(topic, number): end for number, (_, end) in waiting.items()}
    consumer.assign(list(ends))
    for each in ends:
        consumer.seek(each, waiting[each.partition][0])
    return ends


async def commit(
    connection: dict[str, Any], options: TrainerSettings, waiting: Mapping[int, Range]
) -> None:
    """Commit the end of each range: nothing of them waits any more. Raises KafkaError."""
    async with consuming(connection, options) as consumer:
        ends = place(consumer, options.review_topic, waiting)
        consumer.pause(*ends)  # it is assigned them only to commit: nothing is to be fetched
        await consumer.commit(ends)


async def _partitions(connection: dict[str, Any], topic: str) -> list[TopicPartition]:
    # A consumer knows of no topic but those it is assigned to; of all only where Kafka is old.
    number = await topics.partitions(connection, topic)
    if number is None:
        raise CollectError(topics.absent([topic]))
    return [TopicPartition(topic, each) for each in range(number)]
