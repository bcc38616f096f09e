"""One owned input partition: take over, publish in order, recover, let go."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
)

from worker import kafka, mention
from worker.codec import Output
from worker.consumer import Source
from worker.metrics import Metrics
from worker.offsets import OffsetTracker
from worker.publisher import Publisher
from worker.tracing import OFF, Traces

log = structlog.get_logger(__name__)

FIRST_BACKOFF: Final = 0.1  # seconds
LONGEST_BACKOFF: Final = 5.0
BEHIND_SECONDS: Final = 1.0  # of age, from which on throughput is worth more than latency
BEHIND_FACTOR: Final = 4
PATIENCE_SECONDS: Final = 10.0  # until it is said that Kafka keeps us waiting, doubling up to
LONGEST_PATIENCE: Final = 120.0


class Outcome(NamedTuple):
    """What one input record resulted in, ready to publish."""

    kind: str  # event, withheld, dead_letter, tombstone or gap
    outputs: tuple[Output, ...]
    timestamp_ms: int
    tokens: int = 0
    emotion: str = ""  # of an event
    review: str = ""  # reason of its review sample
    reason: str = ""  # of a dead letter


@dataclass(frozen=True, slots=True)
class Limits:
    """How results are gathered into transactions, and how long to stand back when fenced."""

    commit_interval: float  # seconds
    commit_records: int
    fenced_backoff: float  # seconds; long enough for a heartbeat to tell us that we are out


class Lane:
    """An input partition from its assignment to its revocation.

    Whatever goes wrong between the cluster and this partition has one recovery: drop what is in
    flight, fence (which aborts an open transaction), read the commit, go on from there. `epoch`
    grows each time, so results from before are recognised as late and dropped.
    """

    def __init__(  # noqa: PLR0913, PLR0917  (its collaborators, given by the pipeline)
        self,
        partition: TopicPartition,
        source: Source,
        publisher: Publisher,
        limits: Limits,
        metrics: Metrics,
        wall_clock: Callable[[], float],
        on_room: Callable[[], None],
        traces: Traces = OFF,
    ) -> None:
        """`on_room` is called whenever `tokens` has shrunk."""
        self.partition = partition
        self.epoch = 0
        self.tokens = 0  # admitted and not yet committed
        self._source = source
        self._publisher = publisher
        self._limits = limits
        self._metrics = metrics
        self._wall_clock = wall_clock
        self._on_room = on_room
        self._traces = traces
        self.committed: int | None = None  # the offset; None before the first take-over
        self.stuck = False  # Kafka keeps it waiting: nothing more is taken in
        self._progressed = False  # anything committed since the last take-over
        self._tracker: OffsetTracker[Outcome] | None = None
        self._changed = asyncio.Event()  # the front of the tracker, or `_draining`
        self._draining = False
        self._log = log.bind(topic=partition.topic, partition=partition.partition)

    @property
    def live(self) -> bool:
        """Whether records are taken in: taken over, and not being let go."""
        return self._tracker is not None and not self._draining

    @property
    def idle(self) -> bool:
        """Whether everything that was taken in is committed."""
        return self._tracker is None or self._tracker.empty

    @property
    def position(self) -> int | None:
        """The next offset expected from the log; None while the partition is not taken over."""
        return None if self._tracker is None else self._tracker.position

    def take_in(self, offset: int) -> bool:
        """Whether the record at `offset` is to be worked on: owned, and not taken in before."""
        tracker = self._tracker
        return tracker is not None and not self._draining and tracker.take_in(offset)

    def complete(self, epoch: int, offset: int, outcome: Outcome) -> None:
        """Hand in a result; one from before a recovery is late and dropped."""
        tracker = self._tracker
        if tracker is None or epoch != self.epoch:
            return
        tracker.complete(offset, outcome)
        if tracker.ready:
            self._changed.set()

    def step_over(self, position: int) -> None:
        """The log went on to `position` without records (markers, aborted records, holes)."""
        if self.idle and self.take_in(position - 1):
            now_ms = int(self._wall_clock() * 1000)
            self.complete(self.epoch, position - 1, Outcome("gap", (), now_ms))

    def drain(self) -> None:
        """Take nothing in any more; `run` ends when all in flight is committed."""
        self._draining = True
        self._changed.set()

    async def run(self) -> None:
        """Take over and publish until drained. Raises what no retry mends."""
        backoff = FIRST_BACKOFF
        while not self._draining:
            try:
                tracker = await self._take_over()
                await self._publish_all(tracker)
            except kafka.FATAL:
                raise
            except KafkaError as error:
                # The backoff starts anew where something was committed since the last error.
                backoff = FIRST_BACKOFF if self._drop(error) else backoff
                fenced = isinstance(error, ProducerFenced)
                if isinstance(error, KafkaTimeoutError):
                    self._stick(stuck=True)
                await self._stand_back(self._limits.fenced_backoff if fenced else backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF)

    async def _take_over(self) -> OffsetTracker[Outcome]:
        # The order is what makes it safe: fence first, then read what the former owner committed.
        await self._patiently(
            self._publisher.open(self.partition),
            "no producer yet; does the cluster offer transactions, with enough brokers for them?",
        )
        position = await self._source.rewind(self.partition)
        self._progressed = False
        self.committed = position
        tracker = self._tracker = OffsetTracker(position)
        self._source.resume([self.partition])
        self._log.info("partition taken over", offset=position)
        return tracker

    async def _publish_all(self, tracker: OffsetTracker[Outcome]) -> None:
        while True:
            if not tracker.ready:
                if self._draining and tracker.empty:
                    return
                self._changed.clear()
                await self._changed.wait()
                continue
            await self._linger(tracker)
            first = tracker.first
            outcomes, next_offset = tracker.release(self._limits.commit_records)
            outputs = [output for outcome in outcomes for output in outcome.outputs]
            started = self._wall_clock()
            with self._traces.transaction(self.partition, first, next_offset, len(outcomes)):
                await self._publish(outputs, next_offset)
            self.committed = next_offset
            self._account(outcomes, started)

    async def _publish(self, outputs: list[Output], next_offset: int) -> None:
        if self.stuck:
            self._source.pause([self.partition])
        try:
            await self._patiently(
                self._publisher.publish(self.partition, outputs, next_offset),
                "results are not taken; do the topics exist, with min.insync.replicas in sync?",
            )
        except (MessageSizeTooLargeError, RecordListTooLargeError):
            # It ends the worker, and the next one meets it again: say which message it is.
            self._log.error("an output is too large", **mention.largest(outputs))
            raise
        self._stick(stuck=False)

    async def _patiently(self, call: Coroutine[Any, Any, None], trouble: str) -> None:
        """Await what aiokafka tries for long by itself; take nothing in, and say so, meanwhile."""
        task = asyncio.ensure_future(call)
        waited, patience = 0.0, PATIENCE_SECONDS
        try:
            while not (await asyncio.wait({task}, timeout=patience))[0]:
                waited += patience
                self._log.warning(f"Kafka keeps us waiting: {trouble}", seconds=waited)
                patience = min(2 * patience, LONGEST_PATIENCE)
                self._stick(stuck=True)
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def flows(self) -> bool:
        """Whether more is to be taken in: a stuck one has enough with anything to try again."""
        return self.live and not (self.stuck and self.tokens)

    def _stick(self, *, stuck: bool) -> None:
        """Leave the room to others, from a sign that Kafka takes nothing until the next commit."""
        if stuck == self.stuck:
            return
        self.stuck = stuck
        if self.live:  # else a take-over resumes it
            (self._source.pause if stuck else self._source.resume)([self.partition])
        self._on_room()

    async def _linger(self, tracker: OffsetTracker[Outcome]) -> None:
        """Let more results join the transaction, while there are more to come.

        A transaction costs five requests however large it is, so with a backlog, where nobody
        waits for the one result, more may join.
        """
        interval = self._limits.commit_interval
        if self._wall_clock() - tracker.front.timestamp_ms / 1000 > BEHIND_SECONDS:
            interval *= BEHIND_FACTOR
        try:
            async with asyncio.timeout(interval):
                while tracker.unfinished and not self._draining:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return

    def _account(self, outcomes: list[Outcome], started: float) -> None:
        self._progressed = True
        now = self._wall_clock()
        metrics = self._metrics
        metrics.transactions.labels("committed").inc()
        metrics.stage_seconds.labels("publish").observe(max(0.0, now - started))
        metrics.end_to_end.observe(max(0.0, now - outcomes[0].timestamp_ms / 1000))
        self.tokens -= sum(outcome.tokens for outcome in outcomes)
        self._on_room()
        # A few sums a transaction, not a few counters a message.
        counts = Counter((each.kind, each.emotion, each.review, each.reason) for each in outcomes)
        refused = 0
        for (kind, emotion, review, reason), count in counts.items():
            metrics.records.labels(kind).inc(count)
            if emotion:
                metrics.events.labels(emotion).inc(count)
            if review:
                metrics.review_samples.labels(review).inc(count)
            if reason:
                metrics.dead_letters.labels(reason).inc(count)
                refused += count
        if refused:  # one line a transaction: a flood of poison must not flood the log
            first = next(each for each in outcomes if each.reason).outputs[0]
            told = mention.dead_letter(first)
            self._log.warning("dead letters; the first is named", count=refused, **told)

    def _drop(self, error: KafkaError) -> bool:
        """Forget what is in flight; whether anything was committed since the last take-over."""
        committed = self._tracker is not None and self._progressed
        self._source.pause([self.partition])
        self._tracker = None
        self.epoch += 1
        self.tokens = 0
        self._on_room()
        self._metrics.transactions.labels("aborted").inc()
        self._log.warning(
            "partition interrupted; nothing is lost, going on from the last commit",
            error=kafka.line(error),
        )
        return committed

    async def _stand_back(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not self._draining:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return
