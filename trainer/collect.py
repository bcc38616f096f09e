"""The review topic → a de-duplicated Parquet snapshot; offsets are committed once it is durable."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError, OffsetOutOfRangeError
from pydantic import ValidationError
from tqdm import tqdm

from schemas.review import ReviewSample
from trainer import dataset, stage
from trainer.settings import TrainerSettings
from trainer.stage import Done, Numbers
from worker import kafka, reach, topics
from worker.kafka import KafkaProblemError

SAMPLES: Final = "samples.parquet"
QUARANTINE: Final = "quarantine.jsonl"
QUIET_SECONDS: Final = 3.0  # nothing comes: ask the broker whether it is still there
NOTHING_CONSUMED: Final = "nothing was consumed, the next run reads it again"
KEPT: Final = "the snapshot is kept, and the next run commits it"
# What only reads is of no group: it would ask for its offsets, on a connection that nobody awaits.
ALONE: Final[dict[str, Any]] = {"group_id": None}
BAR: Final[dict[str, Any]] = {"desc": "collect", "unit": "record"}

Range = tuple[int, int]  # first offset, one past the last
T = TypeVar("T")


class CollectError(Exception):
    """The topic cannot be read, or its offsets be committed, now. The message is one clear line."""


def _warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  (beside the bar, apart from the answer)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Too few samples for a run: `count` at most. Nothing was consumed."""

    count: int


def collect(
    connection: dict[str, Any],
    options: TrainerSettings,
    known: Iterable[Path] = (),
    warn: Callable[[str], None] = _warn,
) -> Done | Waiting:
    """Snapshot what waits on the review topic, but for what the folders `known` hold already.

    Where more waits than the limit takes, the oldest are used up however few of them are sound:
    they would stand before the others for ever. Without a single one there is no `SAMPLES` file.
    `warn` takes a line. Raises CollectError, StageError, DataError.
    """
    whole = _ask(lambda: look(connection, options, warn), connection, options)
    count = sum(last - first for first, last in whole.values())
    if count < options.min_samples:
        return Waiting(count)
    waiting = limited(whole, options.max_samples)
    at_least = options.min_samples if waiting == whole else 0
    log = _ask(lambda: _mark(connection, options, waiting), connection, options)
    seen = {
        row["id"]: _content(row)
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
    told = {
        "topic": options.review_topic,
        "log": log,  # a topic that was made anew has the same name, and soon the same offsets
        "offsets": orjson.dumps(offsets).decode(),
    }
    try:
        done = stage.run(options.work, "collect", {}, told, make, offsets=offsets)
    except TooFewError as error:
        if error.repeats:
            warn(f"collect: {error.repeats} of the records repeat samples that are kept already")
        return Waiting(error.count)
    _ask(lambda: _commit(connection, options, waiting), connection, options, left=KEPT)
    return done


class TooFewError(Exception):
    """Among the records there are only `count` new, sound samples, and `repeats`."""

    def __init__(self, count: int, repeats: int) -> None:
        super().__init__(f"{count} samples")
        self.count = count
        self.repeats = repeats


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
    async with _consumer(connection, options) as consumer:
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
    records: Iterable[ConsumerRecord], seen: dict[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(samples, quarantine), without repeats and tombstones.

    `seen`: the content of each id that is kept already; those of the samples are added.
    """
    samples, quarantine = [], []
    for record in records:
        if record.value is None:
            continue
        try:
            sample = ReviewSample.model_validate_json(record.value)
        except ValidationError as error:
            quarantine.append(_quarantined(record, error))
            continue
        row = _flat(sample)
        content = _content(row)
        if seen.get(row["id"], content) != content:
            # Of an input topic that was made anew: another message has the same source.
            row["id"] += f"~{content}"
        if row["id"] not in seen:
            seen[row["id"]] = content
            samples.append(row)
    return samples, quarantine


def _content(row: Mapping[str, Any]) -> str:
    """Tells two messages apart, but not two answers to the same."""
    stated = orjson.dumps([row["message_id"], row["text"]])
    return blake2b(stated, digest_size=8).hexdigest()


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


def _write(
    records: list[ConsumerRecord], seen: dict[str, str], folder: Path, at_least: int
) -> Numbers:
    samples, quarantine = rows(records, seen)
    tombstones = sum(record.value is None for record in records)
    repeats = len(records) - len(samples) - len(quarantine) - tombstones
    if len(samples) < at_least:
        raise TooFewError(len(samples), repeats)
    if samples:
        dataset.write_parquet(folder / SAMPLES, samples)
    lines = [orjson.dumps(each) + b"\n" for each in quarantine]
    (folder / QUARANTINE).write_bytes(b"".join(lines))
    return {
        "records": len(records),
        "samples": len(samples),
        "repeats": repeats,
        "quarantined": len(quarantine),
        "low_margin": sum(each["reason"] == "low_margin" for each in samples),
    }


async def _read_all(
    connection: dict[str, Any], options: TrainerSettings, waiting: Mapping[int, Range]
) -> list[ConsumerRecord]:
    """Every committed record of the ranges. Raises CollectError when the broker falls silent."""
    try:
        async with _consumer(connection, options, **ALONE) as consumer:
            return await _drain(consumer, options, waiting)
    except (KafkaError, KafkaProblemError, TimeoutError) as error:
        raise _failed(error, options, NOTHING_CONSUMED) from error


async def _mark(
    connection: dict[str, Any], options: TrainerSettings, waiting: Mapping[int, Range]
) -> str:
    """Tells this log from every other: a hash of the first record of each range.

    Also of records that were aborted, which stay where they are as well. Raises KafkaError.
    """
    every = {"isolation_level": "read_uncommitted"}
    async with _consumer(connection, options, **ALONE, **every) as consumer:
        last = _place(consumer, options.review_topic, waiting)
        firsts = [await _first(consumer, each, end) for each, end in sorted(last.items())]
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


def _place(
    consumer: AIOKafkaConsumer, topic: str, waiting: Mapping[int, Range]
) -> dict[TopicPartition, int]:
    """Put `consumer` at the beginning of each range; the ends."""
    last = {TopicPartition(topic, number): end for number, (_, end) in waiting.items()}
    consumer.assign(list(last))
    for each in last:
        consumer.seek(each, waiting[each.partition][0])
    return last


async def _drain(
    consumer: AIOKafkaConsumer, options: TrainerSettings, waiting: Mapping[int, Range]
) -> list[ConsumerRecord]:
    topic = options.review_topic
    last = _place(consumer, topic, waiting)
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
        ends = _place(consumer, options.review_topic, waiting)
        consumer.pause(*ends)  # it is assigned them only to commit: nothing is to be fetched
        await consumer.commit(ends)


@asynccontextmanager
async def _consumer(
    connection: dict[str, Any],
    options: TrainerSettings,
    **changes: Any,  # noqa: ANN401  (aiokafka's settings)
) -> AsyncIterator[AIOKafkaConsumer]:
    # No subscription: partitions are assigned by hand, so that no rebalance cuts a snapshot.
    given = {
        "group_id": options.group_id,
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "auto_offset_reset": "none",
        "request_timeout_ms": int(options.kafka_seconds * 1000),
    }
    consumer = AIOKafkaConsumer(**connection | given | changes)
    try:
        await reach.retrying(consumer.start, options.kafka_seconds, connection)
        yield consumer
    finally:
        # What it was wanted for is done by now, or has failed and says so itself.
        with suppress(KafkaError):
            await kafka.stop(consumer)


async def _partitions(connection: dict[str, Any], topic: str) -> list[TopicPartition]:
    # A consumer knows of no topic but those it is assigned to; of all only where Kafka is old.
    count = await topics.partitions(connection, topic)
    if count is None:
        raise CollectError(topics.absent([topic]))
    return [TopicPartition(topic, each) for each in range(count)]


def _ask(
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

    try:
        return asyncio.run(answer())
    except (KafkaError, KafkaProblemError) as error:
        raise _failed(error, options, left) from error


def _unawaited(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Of a request that was given up aiokafka awaits no answer: the line that we say is enough."""
    if not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)


def _failed(error: Exception, options: TrainerSettings, left: str) -> CollectError:
    told = _line(error, options)
    return CollectError(f"{told} {left}" if told.endswith("?") else f"{told}; {left}")


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
