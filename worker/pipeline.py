"""The story: poll → decode → batch → infer → decide → publish → commit.

Records are polled and decoded here, tokenised and inferred in mixed batches (`inference`), decided
into outputs here, and published in input order by the lane of their partition (`lane`; `lanes` has
those that the group gave us), in one transaction with the commit of their offsets (`publisher`).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, time
from typing import Final

import structlog
from aiokafka.errors import KafkaError, KafkaTimeoutError

from schemas.deadletter import Reason
from worker import codec, kafka, room
from worker.classifier import ModelId, Tokenized
from worker.codec import Chat, DecodeError, Record
from worker.consumer import Fetched, Source
from worker.engines import InferenceError
from worker.housekeeping import Housekeeping
from worker.inference import Inference, Verdict
from worker.lane import Lane, Limits, Outcome
from worker.lanes import Lanes
from worker.metrics import Metrics
from worker.outcome import Router
from worker.publisher import Publisher
from worker.room import Room
from worker.settings import WorkerSettings
from worker.tracing import OFF, Traces

log = structlog.get_logger(__name__)

POLL_RECORDS: Final = 1000  # at most, at a time: what is tokenised in one go
POLL_MS: Final = 200
LEAVE_SECONDS: Final = 4.0
BACKOFF_SECONDS: Final = 0.1  # after an error in polling, doubling up to
LONGEST_BACKOFF: Final = 5.0
TOKEN_BYTES: Final = 32  # of a record count as a token at least: large ones weigh their size


@dataclass(slots=True)
class Message:
    """One message on its way through; `epoch` is its lane's at the time it was taken in."""

    lane: Lane
    epoch: int
    record: Record
    chat: Chat
    router: Router
    tokens: int = 0  # that it counts in the queue: at least what its bytes weigh
    truncated: bool = False

    def wanted(self) -> bool:
        """Whether its lane still waits for it."""
        return self.epoch == self.lane.epoch

    def resolve(self, verdict: Verdict, model: ModelId) -> None:
        """Decide where it goes, and hand that to its lane."""
        if not self.wanted():
            return
        if isinstance(verdict, InferenceError):
            outcome = self.router.refuse(
                self.record, Reason.UNCLASSIFIABLE, str(verdict), self.tokens
            )
        else:
            outcome = self.router.route(
                self.record, self.chat, verdict, model, self.truncated, self.tokens
            )
        self.lane.complete(self.epoch, self.record.offset, outcome)


class Pipeline:
    """Runs the story until `stop`; owns the lanes."""

    def __init__(  # noqa: PLR0913, PLR0917  (its parts, from the composition root)
        self,
        source: Source,
        publisher: Publisher,
        inference: Inference,
        settings: WorkerSettings,
        metrics: Metrics,
        wall_clock: Callable[[], float] = time,
        traces: Traces = OFF,
    ) -> None:
        self.inference = inference
        self._source = source
        self._publisher = publisher
        self._settings = settings
        self._metrics = metrics
        self._traces = traces
        self._router = Router(settings)
        limits = Limits(
            settings.commit_interval_ms / 1000,
            settings.commit_records,
            fenced_backoff=settings.session_timeout_ms * 0.3 / 1000,
        )
        self._lanes = Lanes(source, publisher, limits, metrics, wall_clock, traces)
        limit = settings.max_queue_tokens or room.default(inference.max_batch_tokens)
        self._room = Room(source, self._lanes, metrics, limit)
        self._housekeeping = Housekeeping(source, self._lanes, metrics)
        self._stopping = asyncio.Event()
        self._queueing: asyncio.Future[None] | None = None  # what is being tokenised

    def stop(self) -> None:
        """Stop polling, finish what is in flight, commit, leave the group; `run` then returns."""
        self._stopping.set()

    @property
    def ready(self) -> bool:
        """Whether the group was joined and every partition it gave is taken over."""
        return self._lanes.ready

    @property
    def reachable_at(self) -> float:
        """When Kafka last answered, by the monotonic clock."""
        return self._housekeeping.reachable_at

    @property
    def queued_tokens(self) -> int:
        """Tokens admitted and not yet committed."""
        return self._lanes.tokens

    async def run(self) -> None:
        """Run until stopped. Raises (in a group) what no retry mends; nothing past is committed."""
        try:
            async with asyncio.TaskGroup() as group:
                self._lanes.open(group)
                try:
                    await self._serve(group)
                finally:
                    self._lanes.close()
        finally:
            self._lanes.cancel()
            self.inference.close()
            await self._leave()

    async def _serve(self, group: asyncio.TaskGroup) -> None:
        workers: list[asyncio.Task[None]] = []
        if await self._join():
            workers = [
                group.create_task(self._poll()),
                group.create_task(self._housekeeping.run()),
                group.create_task(self.inference.run()),
            ]
            await self._stopping.wait()
            workers[0].cancel()
        log.info("stopping: finishing what is in flight", tokens=self.queued_tokens)
        self._lanes.close()
        await self._lanes.revoked(self._lanes.owned, self._settings.drain_seconds / 2)
        for task in workers:
            task.cancel()

    async def _join(self) -> bool:
        """Join the group, which takes as long as others hold it up; False if stopped meanwhile."""
        joining = asyncio.ensure_future(self._source.start(self._lanes))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({joining, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if joining.done():
                await joining
            return joining.done()
        finally:
            joining.cancel()
            stopping.cancel()
            await asyncio.gather(joining, stopping, return_exceptions=True)

    async def _leave(self) -> None:
        """Close what is open to Kafka; a cluster that is gone must not keep us."""
        for close in (self._publisher.stop, self._source.stop):
            try:
                async with asyncio.timeout(LEAVE_SECONDS):
                    await close()
            except (TimeoutError, KafkaError) as error:
                log.warning("Kafka could not be left properly", error=type(error).__name__)

    # poll → decode → batch

    async def _poll(self) -> None:
        backoff = BACKOFF_SECONDS
        try:
            while True:
                try:
                    await self._room.wait(self._poll_once)
                    await self._poll_once()
                    backoff = BACKOFF_SECONDS
                except KafkaError as error:
                    may_pass = error.retriable or isinstance(error, KafkaTimeoutError)
                    if isinstance(error, kafka.FATAL) or not may_pass:
                        raise
                    log.warning("polling failed; trying again", error=kafka.line(error))
                    await asyncio.sleep(backoff)
                    backoff = min(2 * backoff, LONGEST_BACKOFF)
        finally:
            if self._queueing is not None:
                await self._queueing  # lanes wait for what was taken in: a stop must not lose it

    async def _poll_once(self) -> None:
        # Nothing may be awaited between poll and decode: what poll hands out counts as read.
        messages = self._decode(await self._source.poll(POLL_RECORDS, POLL_MS))
        before = self._queueing
        if messages:
            self._queueing = asyncio.ensure_future(self._queue(messages, before))
        # The next ones are polled and decoded while these are tokenised, but no more than those: a
        # tokenizer that hangs stops the polling, and the group gives the partitions to others.
        if before is not None:
            await asyncio.shield(before)

    def _decode(self, fetched: Fetched) -> list[Message]:
        """Records to messages; what cannot be one is answered at once."""
        started = perf_counter()
        messages: list[Message] = []
        router = self._router
        limit = self._settings.max_message_bytes
        for partition, records in fetched.items():
            lane = self._lanes.get(partition)
            if lane is None:
                continue  # let go meanwhile
            epoch = lane.epoch
            for record in records:
                if not lane.take_in(record.offset):
                    continue
                value = record.value
                if value is None:
                    lane.tokens += 1
                    outcome = Outcome("tombstone", (), record.timestamp, 1)
                    lane.complete(epoch, record.offset, outcome)
                    continue
                # Key and headers are copied to the outputs, so they count as the value does.
                size = codec.size(record)
                cost = 1 + size // TOKEN_BYTES
                lane.tokens += cost
                try:
                    chat = codec.decode(value, limit, size)
                except DecodeError as error:
                    outcome = router.refuse(record, error.reason, str(error), cost)
                    lane.complete(epoch, record.offset, outcome)
                    continue
                messages.append(Message(lane, epoch, record, chat, router, cost))
        if fetched:
            self._metrics.stage_seconds.labels("decode").observe(perf_counter() - started)
        return messages

    async def _queue(self, messages: Sequence[Message], after: asyncio.Future[None] | None) -> None:
        if after is not None:
            await after
        tokenized = await self.inference.tokenize([message.chat.text for message in messages])
        jobs: list[tuple[Message, Tokenized]] = []
        for message, encoded in zip(messages, tokenized, strict=True):
            if isinstance(encoded, InferenceError):
                message.resolve(encoded, self.inference.classifier.model)
            elif message.wanted():
                more = max(0, len(encoded.tokens) - message.tokens)
                message.tokens += more
                message.lane.tokens += more
                message.truncated = encoded.truncated
                jobs.append((message, encoded))
        queued = [(message, encoded.tokens) for message, encoded in jobs]
        self.inference.submit(self._traces.classify(queued))
