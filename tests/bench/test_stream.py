"""What the benchmarks with a broker do to it, and count."""

import asyncio
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from bench import overhead, ready
from bench.overhead import SIDES
from bench.stream import Stream, Work, distinct, opened
from worker.settings import WorkerSettings

MESSAGES = 20_000  # what takes some looks at the group


def topics(servers: str) -> set[str]:
    async def ask() -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        try:
            return set(await admin.list_topics())
        finally:
            await admin.close()

    return asyncio.run(ask())


def test_a_worker_delivers_exactly_once_whatever_is_set_where_the_benchmark_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("WORKER_DELIVERY=at_least_once\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKER_DELIVERY", "at_least_once")
    stream = Stream("localhost:9092", "load")
    for name, value in stream.environment("run").items():
        monkeypatch.setenv(name, value)
    assert WorkerSettings().delivery == "exactly_once"
    asked = stream.environment("run", WORKER_DELIVERY="at_least_once")
    assert asked["WORKER_DELIVERY"] == "at_least_once"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_both_sides_work_off_the_whole_backlog(servers: str, side: str, delivery: str) -> None:
    async def work(stream: Stream) -> Work:
        await stream.create("first")
        await stream.fill(distinct(["안녕", "뭐 해"], MESSAGES))
        return await overhead.once(stream, side, "run", delivery, MESSAGES)

    with opened(servers, "overhead") as stream:
        done = asyncio.run(work(stream))
    assert done.rate > 0
    assert done.cost > 0


def test_a_given_broker_is_left_as_it_was_and_its_own_topics_are_not_touched(
    servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    before, during = topics(servers), set[str]()
    start = ready.start

    def watched(environment: dict[str, str]) -> float:
        seconds = start(environment)
        during.update(topics(servers) - before)
        return seconds

    monkeypatch.setattr(ready, "start", watched)
    rows = ready.run([], 1)
    assert [row["bundled model"] for row in rows] == ["auto", "fp32"]
    assert during
    assert all(each.startswith("ready-") for each in during)
    assert topics(servers) == before
