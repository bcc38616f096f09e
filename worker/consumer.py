"""The input: poll, pause and resume, seek and commit, and the group's assignments."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnsupportedCodecError,
)

from worker import idleness, kafka, pacing, records, unplaced
from worker.codec import Record
from worker.committed import committed
from worker.kafka import KafkaProblemError
from worker.settings import WorkerSettings

log = structlog.get_logger(__name__)

ENDS_SECONDS: Final = 3.0  # twice that, and `/ready` still hears of those that answered
FETCH_BYTES: Final = 1_048_576  # an answer, of all partitions of a broker

Fetched = Mapping[TopicPartition, Sequence[Record]]


class Assignments(Protocol):
    """Told of what the group gives and takes."""

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Finish and let go; the group waits for this."""

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take over. Must not block: heartbeats rest meanwhile."""


class Source(Protocol):
    """What the pipeline needs of the input."""

    async def start(self, assignments: Assignments) -> None:
        """Connect and join the group; `assignments` hears what is given and taken."""

    async def poll(self, max_records: int, timeout_ms: int) -> Fetched:
        """What was fetched, by partition; waits `timeout_ms` for it at most."""

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Hand nothing out of `partitions` for now."""

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Hand out of `partitions` again."""

    async def rewind(self, partition: TopicPartition) -> int:
        """Go back to what is committed, and return its offset."""

    async def position(self, partition: TopicPartition) -> int | None:
        """The next offset that would be handed out; None where there is none."""

    async def ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where the log ends, of each partition that tells it; raises where none does."""

    async def commit(self, partition: TopicPartition, next_offset: int) -> None:
        """Commit `next_offset` outside of any transaction."""

    async def stop(self) -> None:
        """Leave the group."""


class KafkaSource(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """An aiokafka consumer, read_committed, that never commits or resets by itself."""

    def __init__(self, connection: dict[str, Any], settings: WorkerSettings) -> None:
        records.install()
        pacing.install()
        idleness.install()
        unplaced.install()
        self._topic = settings.input_topic
        self._group_id = settings.group_id
        self._consumer = AIOKafkaConsumer(
            **connection,
            group_id=settings.group_id,
            enable_auto_commit=False,
            # "none": a jump in the log is decided here, in the open, never silently.
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=settings.session_timeout_ms,
            # A member learns of a rebalance by its next heartbeat, and everyone waits for the last.
            heartbeat_interval_ms=settings.session_timeout_ms // 10,
            rebalance_timeout_ms=max(settings.session_timeout_ms, 30_000),
            max_poll_interval_ms=settings.max_poll_interval_ms,
            # Answers lie in memory in full, and decoded beside that, whatever the queue holds. A
            # batch that is larger than this comes all the same.
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=max(262_144, settings.max_message_bytes),
            # A topic that gains partitions is noticed this fast, by one small request a worker;
            # aiokafka's own five minutes would leave their messages lying that long.
            metadata_max_age_ms=5_000,
        )

    async def start(self, assignments: Assignments) -> None:
        """Connect and join the group. Raises KafkaConnectionError when nobody answers."""
        self._assignments = assignments
        self._failed: Exception | None = None
        self._consumer.subscribe([self._topic], listener=self)
        await self._consumer.start()

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Let partitions go: they are drained before this returns."""
        with self._remembering():
            await self._assignments.revoked(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Take over what aiokafka gives."""
        # aiokafka has begun to fetch; nothing is handed out until the partition is taken over.
        with self._remembering():
            self._consumer.pause(*assigned)
            self._assignments.assigned(assigned)

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """Keep what a listener raises for the next poll: aiokafka logs and swallows it."""
        try:
            yield
        except Exception as error:
            self._failed = error
            raise

    async def poll(self, max_records: int, timeout_ms: int) -> Fetched:
        """Records by partition, in order. Raises KafkaError and KafkaProblemError."""
        if self._failed is not None:
            raise self._failed
        if self._consumer._fetcher.error_future.done():  # noqa: SLF001  (no call of it ever tells)
            raise KafkaProblemError("fetching has ended, which is a fault in aiokafka; start anew")
        try:
            fetched: Fetched = await self._consumer.getmany(
                timeout_ms=timeout_ms, max_records=max_records
            )
        except NoOffsetForPartitionError:
            return {}  # not taken over yet: `rewind` decides where it begins
        except OffsetOutOfRangeError as error:
            await self._step_into_range(error.args[0])
            return {}
        except UnsupportedCodecError as error:
            raise KafkaProblemError(f"a record batch cannot be read: {error}") from error
        return fetched

    async def _step_into_range(self, positions: Mapping[TopicPartition, int]) -> None:
        beginnings = await self._consumer.beginning_offsets(list(positions))
        for partition, position in positions.items():
            beginning = beginnings[partition]
            if position > beginning:
                message = (
                    f"{partition.topic}-{partition.partition}: offset {position} is past the end "
                    "of the log, which was cut or made anew; reset the group's offsets by hand"
                )
                raise KafkaProblemError(message)
            if partition not in self._consumer.assignment():
                continue  # let go meanwhile
            log.warning(
                "records expired before they were read; going on at the log's beginning",
                topic=partition.topic,
                partition=partition.partition,
                expected=position,
                beginning=beginning,
            )
            self._consumer.seek(partition, beginning)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Hand nothing out of those that are still owned."""
        self._consumer.pause(*(self._consumer.assignment() & set(partitions)))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Hand out again of those that are still owned."""
        self._consumer.resume(*(self._consumer.assignment() & set(partitions)))

    async def rewind(self, partition: TopicPartition) -> int:
        """Seek to the committed offset, or to the log's beginning, and return it."""
        # Its client is private, but a connection of our own for one request would be a waste.
        client = self._consumer._client  # noqa: SLF001
        offset = await committed(client, self._group_id, partition)
        if offset is None:
            offset = int((await self._consumer.beginning_offsets([partition]))[partition])
        self._consumer.seek(partition, offset)
        return offset

    async def position(self, partition: TopicPartition) -> int | None:
        """Where the next poll goes on, past markers and holes; None if that is not known now."""
        try:
            async with asyncio.timeout(1.0):
                return int(await self._consumer.position(partition))
        except (TimeoutError, KafkaError):
            return None

    async def ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where the readable log ends; of the topic's first partition if none is given.

        Raises KafkaError, TimeoutError.
        """
        asked = list(partitions) or [TopicPartition(self._topic, 0)]
        try:
            return await self._ends(asked)
        except (KafkaError, TimeoutError):
            # One without a leader keeps the answers of all others back: each by itself.
            answers = await asyncio.gather(*map(self._end_if_told, asked))
            ends = {partition: end for each in answers for partition, end in each.items()}
            if not ends:
                raise
            return ends

    async def _end_if_told(self, partition: TopicPartition) -> dict[TopicPartition, int]:
        with suppress(KafkaError, TimeoutError):
            return await self._ends([partition])
        return {}

    async def _ends(self, asked: list[TopicPartition]) -> dict[TopicPartition, int]:
        async with asyncio.timeout(ENDS_SECONDS):
            return dict(await self._consumer.end_offsets(asked))

    async def commit(self, partition: TopicPartition, next_offset: int) -> None:
        """Commit as a member of the group; a former member gets CommitFailedError."""
        await self._consumer.commit({partition: next_offset})

    async def stop(self) -> None:
        """Leave the group."""
        await kafka.stop(self._consumer)
