"""The review topic → a de-duplicated Parquet snapshot; offsets are committed once it is durable."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError
from tqdm import tqdm

from schemas.review import ReviewSample
from trainer import dataset, stage
from trainer.settings import TrainerSettings
from trainer.stage import Done, Numbers
from worker import kafka, topics

SAMPLES: Final = "samples.parquet"
QUARANTINE: Final = "quarantine.jsonl"
QUIET_SECONDS: Final = 3.0  # nothing comes: ask the broker whether it is still there
NOTHING_CONSUMED: Final = "nothing was consumed, the next run reads it again"
BAR: Final[dict[str, Any]] = {"desc": "collect", "unit": "record"}

Range = tuple[int, int]  # first offset, one past the last
T = TypeVar("T")


class CollectError(Exception):
    """The topic cannot be read now: nothing was consumed. The message is one clear line."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Too few samples for a run: `count` at most. Nothing was consumed."""

    count: int


def collect(
    connection: dict[str, Any], options: TrainerSettings, known: Iterable[Path] = ()
) -> Done | Waiting:
    """Snapshot what waits on the review topic, but for what the folders `known` hold already.

    Where more waits than the limit takes, the oldest are used up however few of them are sound:
    they would stand before the others for ever. Without a single one there is no `SAMPLES` file.
    Raises CollectError, StageError, DataError.
    """
    whole = _ask(look(connection, options), options)
    count = sum(last - first for first, last in whole.values())
    if count < options.min_samples:
        return Waiting(count)
    waiting = limited(whole, options.max_samples)
    at_least = options.min_samples if waiting == whole else 0
    seen = {
        row["id"]
        for folder in known
        if (folder / SAMPLES).exists()
        for row in dataset.read_table(folder / SAMPLES)
    }

    def make(folder: Path) -> Numbers:
        records = asyncio.run(_read_all(connection, options, waiting))
        # Partitions come as they please: the same offsets are to make the same snapshot.
        records.sort(key=lambda each: (each.partition, each.offset))
        return _write(records, seen, folder, at_least)

    offsets = {str(partition): list(span) for partition, span in sorted(waiting.items())}
    told = {"topic": options.review_topic, "offsets": orjson.dumps(offsets).decode()}
    try:
        done = stage.run(options.work, "collect", {}, told, make, offsets=offsets)
    except TooFewError as error:
        return Waiting(error.count)
    _ask(_commit(connection, options, waiting), options)
    return done


class TooFewError(Exception):
    """Among the records there are only `count` new, sound samples."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} samples")
        self.count = count


async def look(connection: dict[str, Any], options: TrainerSettings) -> dict[int, Range]:
    """What waits on each partition: from the group's commit (or the beginning) to the end."""
    partitions = await _partitions(connection, options.review_topic)
    async with _consumer(connection, options) as consumer:
        beginnings = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        waiting = {}
        for each in partitions:
            committed = await consumer.committed(each) or 0
            if committed > ends[each]:
                raise CollectError(
                    f"{each.topic}-{each.partition}: the offset of {options.group_id}, {committed},"
                    " is past the end of the log, which was cut or made anew; reset it by hand"
                )
            waiting[each.partition] = (max(committed, beginnings[each]), ends[each])
        return {number: span for number, span in waiting.items() if span[0] < span[1]}


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


def rows(
    records: Iterable[ConsumerRecord], seen: set[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(samples, quarantine), without repeats and tombstones; adds the ids to `seen`."""
    samples, quarantine = [], []
    for record in records:
        if record.value is None:
            continue
        try:
            sample = ReviewSample.model_validate_json(record.value)
        except ValidationError as error:
            quarantine.append(_quarantined(record, error))
            continue
        if sample.event_id not in seen:
            seen.add(sample.event_id)
            samples.append(_flat(sample))
    return samples, quarantine


def _flat(sample: ReviewSample) -> dict[str, Any]:
    fields = sample.model_dump(exclude={"model", "source", "scores", "schema_version"})
    return {
        "id": sample.event_id,
        **fields,
        "scores": list(sample.scores.values()),
        "model_name": sample.model.name,
        "model_version": sample.model.version,
    }


def _quarantined(record: ConsumerRecord, error: ValidationError) -> dict[str, Any]:
    mistakes = error.errors(include_input=False, include_url=False, include_context=False)
    told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in mistakes)
    return {
        "partition": record.partition,
        "offset": record.offset,
        "reason": told.removeprefix(": "),
        "value_base64": base64.b64encode(record.value).decode(),
    }


def _write(records: list[ConsumerRecord], seen: set[str], folder: Path, at_least: int) -> Numbers:
    samples, quarantine = rows(records, seen)
    if len(samples) < at_least:
        raise TooFewError(len(samples))
    if samples:
        dataset.write_parquet(folder / SAMPLES, samples)
    lines = [orjson.dumps(each) + b"\n" for each in quarantine]
    (folder / QUARANTINE).write_bytes(b"".join(lines))
    return {
        "records": len(records),
        "samples": len(samples),
        "repeats": len(records) - len(samples) - len(quarantine),
        "quarantined": len(quarantine),
        "low_margin": sum(each["reason"] == "low_margin" for each in samples),
    }


async def _read_all(
    connection: dict[str, Any], options: TrainerSettings, waiting: Mapping[int, Range]
) -> list[ConsumerRecord]:
    """Every committed record of the ranges. Raises CollectError when the broker falls silent."""
    try:
        async with _consumer(connection, options) as consumer:
            return await _drain(consumer, options, waiting)
    except (KafkaError, TimeoutError) as error:
        raise _gone(error, options) from error


async def _drain(
    consumer: AIOKafkaConsumer, options: TrainerSettings, waiting: Mapping[int, Range]
) -> list[ConsumerRecord]:
    topic = options.review_topic
    last = {TopicPartition(topic, number): end for number, (_, end) in waiting.items()}
    consumer.assign(list(last))
    for each in last:
        consumer.seek(each, waiting[each.partition][0])
    found: list[ConsumerRecord] = []
    open_, clock = set(last), asyncio.get_running_loop().time
    places, moved = dict.fromkeys(last, -1), clock()
    with tqdm(total=sum(end - first for first, end in waiting.values()), **BAR) as bar:
        while open_:
            batch = await consumer.getmany(*open_, timeout_ms=int(QUIET_SECONDS * 1000))
            for each, records in batch.items():
                wanted = [record for record in records if record.offset < last[each]]
                found += wanted
                bar.update(len(wanted))
            # Markers of transactions move the position, too, without a record.
            now = {each: await consumer.position(each) for each in open_}
            if any(places[each] != place for each, place in now.items()):
                places, moved = places | now, clock()
            elif clock() - moved >= options.kafka_seconds:
                message = f"{topic} fell silent before its end"
                raise CollectError(f"{message}; {NOTHING_CONSUMED}")
            else:
                async with asyncio.timeout(options.kafka_seconds):
                    await consumer.end_offsets(list(open_))  # is it still there?
            open_ = {each for each in open_ if now[each] < last[each]}
    return found


async def _commit(
    connection: dict[str, Any], options: TrainerSettings, waiting: Mapping[int, Range]
) -> None:
    async with _consumer(connection, options) as consumer:
        spans = {
            TopicPartition(options.review_topic, number): end
            for number, (_, end) in waiting.items()
        }
        consumer.assign(list(spans))
        await consumer.commit(spans)


@asynccontextmanager
async def _consumer(
    connection: dict[str, Any], options: TrainerSettings
) -> AsyncIterator[AIOKafkaConsumer]:
    # No subscription: partitions are assigned by hand, so that no rebalance cuts a snapshot.
    consumer = AIOKafkaConsumer(
        **connection,
        group_id=options.group_id,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="none",
        request_timeout_ms=int(options.kafka_seconds * 1000),
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def _partitions(connection: dict[str, Any], topic: str) -> list[TopicPartition]:
    # A consumer knows of no topic but those it is assigned to; of all only where Kafka is old.
    count = await topics.partitions(connection, topic)
    if count is None:
        raise CollectError(topics.absent([topic]))
    return [TopicPartition(topic, each) for each in range(count)]


def _ask(asking: Coroutine[Any, Any, T], options: TrainerSettings) -> T:
    async def within(answer: Awaitable[T]) -> T:
        async with asyncio.timeout(options.kafka_seconds):
            return await answer

    try:
        return asyncio.run(within(asking))
    except (KafkaError, TimeoutError) as error:
        raise _gone(error, options) from error


def _gone(error: BaseException, options: TrainerSettings) -> CollectError:
    told = (
        kafka.line(error)
        if isinstance(error, KafkaError)
        else (f"Kafka did not answer for {options.kafka_seconds:g} s")
    )
    return CollectError(f"{told}; {NOTHING_CONSUMED}")
