"""The whole story, from poll to commit, between an input and an output that are fakes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import pytest

from worker import codec
from worker import pipeline as pipelines
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

PLACE = {"topic": SOURCE.topic, "partition": str(SOURCE.partition)}


class Worker:
    """A pipeline between fakes, and its metrics."""

    def __init__(self, source: FakeSource) -> None:
        self.source = source
        self.publisher = FakePublisher()
        self.metrics = Metrics()
        inference = inference_of(fake_classifier(FakeEngine()), metrics=self.metrics)
        settings = WorkerSettings(commit_interval_ms=0.0, _env_file=None)
        self.pipeline = Pipeline(source, self.publisher, inference, settings, self.metrics)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@asynccontextmanager
async def running(source: FakeSource) -> AsyncIterator[Worker]:
    """A worker that owns `SOURCE`, stopped in order at the end of the block."""
    worker = Worker(source)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.pipeline.run())
        await source.resumed.get()
        yield worker
        worker.publisher.go_on.set()
        worker.pipeline.stop()


async def eventually(true: Callable[[], bool]) -> None:
    """Threads tokenise and infer, so a turn of the loop is not enough to wait for."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  (what is waited for is a metric, which tells nobody)
            await asyncio.sleep(0.001)  # not 0: a loop that spins starves those threads


def message(offset: int, text: str) -> FakeRecord:
    value = orjson.dumps({"message_id": f"m{offset}", "text": text})
    return FakeRecord(value=value, offset=offset)


async def test_tokens_count_as_queued_from_when_they_are_admitted_until_they_are_committed() -> (
    None
):
    async with running(FakeSource()) as worker:
        worker.publisher.go_on.clear()
        # Texts of three and two tokens, a tombstone for one, and 16 bytes of poison for two.
        poison = FakeRecord(value=b"{".ljust(16), offset=3)
        worker.source.bring(message(0, "w2 w3"), message(1, "w4"), FakeRecord(offset=2), poison)
        await eventually(lambda: worker.value("maum_queue_tokens") == 3 + 2 + 1 + 2)
        worker.publisher.go_on.set()
        await eventually(lambda: worker.value("maum_queue_tokens") == 0)


async def test_the_lag_is_what_lies_between_the_worker_and_the_end_of_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipelines, "HOUSEKEEPING_SECONDS", 0.0)
    async with running(FakeSource(committed=100, end=130)) as worker:
        await eventually(lambda: worker.value("maum_lag_records", **PLACE) == 30)
        worker.source.bring(*(message(offset, "w2") for offset in range(100, 112)))
        await eventually(lambda: worker.value("maum_lag_records", **PLACE) == 18)
        worker.source.end = 112
        await eventually(lambda: worker.value("maum_lag_records", **PLACE) == 0)
    assert worker.value("maum_lag_records", **PLACE) is None  # another worker's to tell


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
