"""The whole story, from poll to commit, between an input and an output that are fakes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from structlog.testing import capture_logs

from worker import codec, housekeeping
from worker import lane as lanes
from worker import pipeline as pipelines
from worker import room as rooms
from worker.metrics import Metrics
from worker.pipeline import Pipeline
from worker.settings import WorkerSettings

from .fakes import (
    SOURCE,
    Clock,
    FakeEngine,
    FakePublisher,
    FakeRecord,
    FakeSource,
    fake_classifier,
    inference_of,
)

OTHER = TopicPartition(SOURCE.topic, 5)
PLACE = {"topic": SOURCE.topic, "partition": str(SOURCE.partition)}


class Worker:
    """A pipeline between fakes, and its metrics."""

    def __init__(self, source: FakeSource, max_queue_tokens: int = 65_536) -> None:
        self.source = source
        self.publisher = FakePublisher()
        self.metrics = Metrics()
        inference = inference_of(fake_classifier(FakeEngine()), metrics=self.metrics)
        options = WorkerSettings(
            commit_interval_ms=0.0,
            review_sample_rate=0.0,
            max_queue_tokens=max_queue_tokens,
            _env_file=None,
        )
        self.pipeline = Pipeline(source, self.publisher, inference, options, self.metrics)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@asynccontextmanager
async def running(source: FakeSource, max_queue_tokens: int = 65_536) -> AsyncIterator[Worker]:
    """A worker that owns the partitions of `source`, stopped in order at the end of the block."""
    worker = Worker(source, max_queue_tokens)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.pipeline.run())
        for _ in source.partitions:
            await source.resumed.get()
        yield worker
        worker.publisher.go_on.set()
        worker.pipeline.stop()


async def eventually(true: Callable[[], bool]) -> None:
    """Threads tokenise and infer, so a turn of the loop is not enough to wait for."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  (what is waited for is a metric, which tells nobody)
            await asyncio.sleep(0.001)  # not 0: a loop that spins starves those threads


def message(offset: int, text: str, at: TopicPartition = SOURCE) -> FakeRecord:
    value = orjson.dumps({"message_id": f"m{offset}", "text": text})
    return FakeRecord(value=value, offset=offset, partition=at.partition)


async def test_tokens_count_as_queued_from_when_they_are_admitted_until_they_are_committed() -> (
    None
):
    async with running(FakeSource()) as worker:
        worker.publisher.go_on.clear()
        # Texts of three and two tokens, a tombstone for one, and 46 bytes of poison for two.
        poison = FakeRecord(value=b"{".ljust(40), offset=3)
        worker.source.bring(message(0, "w2 w3"), message(1, "w4"), FakeRecord(offset=2), poison)
        await eventually(lambda: worker.value("maum_queue_tokens") == 3 + 2 + 1 + 2)
        worker.publisher.go_on.set()
        await eventually(lambda: worker.value("maum_queue_tokens") == 0)


async def test_the_lag_is_what_lies_between_the_worker_and_the_end_of_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(housekeeping, "EVERY_SECONDS", 0.0)
    async with running(FakeSource(committed=100, end=130)) as worker:
        await eventually(lambda: worker.value("maum_lag_records", **PLACE) == 30)
        worker.source.bring(*(message(offset, "w2") for offset in range(100, 112)))
        await eventually(lambda: worker.value("maum_lag_records", **PLACE) == 18)
        worker.source.end = 112
        await eventually(lambda: worker.value("maum_lag_records", **PLACE) == 0)
    assert worker.value("maum_lag_records", **PLACE) is None  # another worker's to tell


async def test_what_nobody_takes_lags_though_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "EVERY_SECONDS", 0.0)
    async with running(FakeSource(end=12)) as worker:
        worker.publisher.go_on.clear()
        worker.source.bring(*(message(offset, "w2") for offset in range(12)))
        await eventually(lambda: worker.pipeline.queued_tokens > 0)
        asked = worker.source.asked
        await eventually(lambda: worker.source.asked > asked + 1)
        assert worker.value("maum_lag_records", **PLACE) == 12


async def test_a_partition_without_a_leader_is_named_and_the_lag_of_others_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(housekeeping, "EVERY_SECONDS", 0.0)
    source = FakeSource(end=7, partitions=(SOURCE, OTHER))
    source.leaderless = {SOURCE}
    with capture_logs() as said:
        async with running(source) as worker:
            other = PLACE | {"partition": str(OTHER.partition)}
            await eventually(lambda: worker.value("maum_lag_records", **other) == 7)
            assert worker.value("maum_lag_records", **PLACE) is None
            asked = worker.source.asked
            await eventually(lambda: worker.source.asked > asked + 2)
    told = [each for each in said if "has it a leader?" in each["event"]]
    assert [each["partition"] for each in told] == [SOURCE.partition]  # once, not at each look


async def test_a_partition_that_cannot_publish_leaves_room_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(rooms, "PATIENCE_SECONDS", 0.01)
    source = FakeSource(partitions=(SOURCE, OTHER))
    async with running(source, max_queue_tokens=40) as worker:
        worker.publisher.stuck = {SOURCE}
        for offset in range(40):  # of it alone more than the queue holds
            source.bring(message(offset, "w2 w3"))
        for offset in range(40):
            source.bring(message(offset, "w4", OTHER), at=OTHER)
        published = worker.publisher.published
        await eventually(lambda: sum(map(len, published)) == 40)
        assert {output.topic for each in published for output in each} == {"chat.emotions"}
        assert worker.pipeline.queued_tokens < 40 + 10
        assert SOURCE in source.paused
        worker.publisher.stuck = set()
        await eventually(lambda: sum(map(len, published)) == 80)
        assert not source.paused


async def test_a_partition_that_begins_anew_takes_no_more_than_it_tries_again_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "FIRST_BACKOFF", 0.001)
    async with running(FakeSource()) as worker:
        publisher, source = worker.publisher, worker.source
        publisher.stuck, publisher.gives_up = {SOURCE}, True
        source.bring(message(0, "w2"))
        await eventually(lambda: worker.value("maum_transactions_total", result="aborted") == 1)
        (lane,) = (lane for _, lane in worker.pipeline._lanes.items())

        def stuck() -> bool:
            return lane.stuck

        publisher.gives_up = False
        source.bring(message(0, "w2"))  # from the commit on
        await eventually(lambda: lane.live and SOURCE in source.paused)
        assert stuck()
        source.bring(message(1, "w3"))
        publisher.stuck = set()
        await eventually(lambda: sum(map(len, publisher.published)) == 2)
        assert not stuck()
        assert not source.paused


def test_a_queue_holds_several_batches_of_any_device() -> None:
    assert [rooms.default(batch) for batch in (1_024, 16_384)] == [16_384, 65_536]


async def test_a_queue_of_one_token_takes_a_message_after_the_other() -> None:
    async with running(FakeSource(), max_queue_tokens=1) as worker:
        for offset in range(3):
            worker.source.bring(message(offset, "w2"))
        await eventually(lambda: sum(map(len, worker.publisher.published)) == 3)


async def test_a_poll_that_fails_while_partitions_pause_does_not_leave_them_paused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipelines, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(rooms, "PATIENCE_SECONDS", 0.01)
    async with running(FakeSource(), max_queue_tokens=4) as worker:
        worker.publisher.go_on.clear()
        worker.source.bring(message(0, "w2 w3 w4 w5"))
        await eventually(lambda: SOURCE in worker.source.paused)
        worker.source.fails = KafkaTimeoutError()
        worker.publisher.go_on.set()
        await eventually(lambda: worker.source.fails is None)
        worker.source.bring(message(1, "w2"))
        await eventually(lambda: sum(map(len, worker.publisher.published)) == 2)


async def test_a_large_record_takes_the_room_that_its_bytes_take() -> None:
    async with running(FakeSource()) as worker:
        worker.publisher.go_on.clear()
        worker.source.bring(
            FakeRecord(message(0, "w2").value, key=b"k" * 320_000, offset=0),
            FakeRecord(b"{", headers=(("h", b"v" * 320_000),), offset=1),
        )
        await eventually(lambda: worker.pipeline.queued_tokens >= 20_000)


async def test_decoding_tells_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(pipelines, "perf_counter", clock)
    decode = codec.decode

    def slowly(value: bytes, max_bytes: int, found: int) -> codec.Chat:
        clock.passes(0.5)
        return decode(value, max_bytes, found)

    monkeypatch.setattr(codec, "decode", slowly)
    async with running(FakeSource()) as worker:
        worker.source.bring(message(0, "w2"), message(1, "w3"), FakeRecord(value=b"{", offset=2))
        worker.source.bring(message(3, "w2"))
        await eventually(lambda: worker.value("maum_stage_seconds_count", stage="decode") == 2)
    assert worker.value("maum_stage_seconds_sum", stage="decode") == 4 * 0.5


async def test_it_is_ready_only_while_it_has_what_the_group_gave_it() -> None:
    async with running(FakeSource()) as worker:
        pipeline, group = worker.pipeline, worker.source.group
        await eventually(lambda: pipeline.ready)
        await group.revoked([SOURCE])
        seen = [pipeline.ready]  # a rebalance, or thrown out
        group.assigned([])
        seen.append(pipeline.ready)  # it stands by
        assert seen == [False, True]
        group.assigned([SOURCE])
        await worker.source.resumed.get()
        await eventually(lambda: pipeline.ready)
        worker.publisher.go_on.clear()
        worker.source.bring(message(0, "w2"))
        await eventually(lambda: pipeline.queued_tokens > 0)
        pipeline.stop()
        await eventually(lambda: not pipeline.ready)
        worker.publisher.go_on.set()
    assert not pipeline.ready
