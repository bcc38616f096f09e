"""Workers that come, go, crash and linger: whoever owns a partition, results come once."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import KafkaError, ProducerFenced, TopicAuthorizationFailedError
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import LeaveGroupRequest

from tests.kafka import verifier
from tests.kafka.harness import Cluster, FakeEngine, Input, chat, eventually
from worker import lanes, pacing, room
from worker import pipeline as pipelines
from worker.classifier import Tokenized
from worker.codec import Output
from worker.kafka import KafkaProblemError
from worker.publisher import IdempotentPublisher, TransactionalPublisher
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
BROKERS = 3  # at most, and each is asked for itself


def messages(count: int, start: int = 0, partitions: int = 4) -> list[Input]:
    return [
        Input(chat(number), f"room{number % 9}".encode(), partition=number % partitions)
        for number in range(start, start + count)
    ]


async def stream(cluster: Cluster, topic: str, enough: asyncio.Event) -> int:
    """Send until it is enough; how many messages that were."""
    sent = 0
    while not enough.is_set():
        await cluster.produce(topic, messages(40, start=sent))
        sent += 40
        await asyncio.sleep(0.03)
    return sent


async def test_a_worker_joins_and_leaves_while_messages_stream(cluster: Cluster) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 4)
    async with cluster.worker(settings, FakeEngine(0.001)) as first:
        await first.ready()
        enough = asyncio.Event()
        streaming = asyncio.create_task(stream(cluster, settings.input_topic, enough))
        async with cluster.worker(settings, FakeEngine(0.001)) as second:
            await second.ready()
            before = second.count("event")
            await eventually(lambda: second.count("event") >= before + 50, second.task)
            await second.stop()
        enough.set()
        sent = await streaming
        await verifier.settled(cluster.servers, settings)
        assert first.count("event") + second.count("event") == sent
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == sent


async def test_with_at_least_once_a_worker_joins_and_leaves_between_messages(
    cluster: Cluster,
) -> None:
    # Between, not amid: the embedded broker refuses a member's commit as soon as another joins,
    # where Apache Kafka takes it until all have joined anew.
    settings = cluster.settings(delivery="at_least_once")
    await cluster.create(settings, 4)

    async def feed(start: int) -> None:
        await cluster.produce(settings.input_topic, messages(200, start=start))
        await verifier.settled(cluster.servers, settings)

    async with cluster.worker(settings) as first:
        await first.ready()
        await feed(0)
        async with cluster.worker(settings) as second:
            await second.ready()
            await first.ready()
            await feed(200)
            assert second.count("event") > 0
        await eventually(lambda: len(first.pipeline._lanes) == 4 and first.pipeline.ready)
        await feed(400)
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == 600


async def test_a_worker_cancelled_in_the_middle_leaves_nothing_half_done(cluster: Cluster) -> None:
    settings = cluster.settings(commit_records=20)
    await cluster.create(settings, 4)
    await cluster.produce(settings.input_topic, messages(2000))
    for crash_after in (100, 300):
        async with cluster.worker(settings, FakeEngine(0.002)) as worker:
            await eventually(lambda: worker.count("event") >= crash_after, worker.task)  # noqa: B023
            await worker.crash()
    async with cluster.worker(settings):
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == 2000


async def evict(cluster: Cluster, group: str) -> None:
    """What a broker does to the dead after a session; the embedded one does not recover from it."""
    client = AIOKafkaClient(bootstrap_servers=cluster.servers)
    await client.bootstrap()
    try:
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
        answer = await client.send(node, DescribeGroupsRequest([group]))
        for member in answer.groups[0][5]:
            await client.send(node, LeaveGroupRequest(group, member[0]))
    finally:
        await client.close()


async def test_a_killed_process_leaves_nothing_half_done(cluster: Cluster) -> None:
    settings = cluster.settings(commit_records=20)
    await cluster.create(settings, 4)
    await cluster.produce(settings.input_topic, messages(10_000))
    environment = {
        **os.environ,
        **cluster.environment(settings),
        "WORKER_COMMIT_INTERVAL_MS": "5",
        "WORKER_COMMIT_RECORDS": "20",
    }
    child = subprocess.Popen(  # noqa: ASYNC220  (it starts at once)
        [sys.executable, "-m", "tests.kafka.child"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = monotonic() + 60
        done: dict[int, int] = {}
        while sum(done.values()) < 300:
            assert monotonic() < deadline
            assert child.poll() is None
            await asyncio.sleep(0.02)
            with suppress(KafkaError):  # nothing committed yet
                done = await verifier.committed(
                    cluster.servers, settings.group_id, settings.input_topic
                )
    finally:
        child.kill()
        child.wait()
    assert sum(done.values()) < 9000, "killed too late to prove anything"
    await evict(cluster, settings.group_id)
    async with cluster.worker(settings):
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == 10_000


async def test_who_opens_a_partition_fences_its_former_owner(cluster: Cluster) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    await cluster.produce(settings.input_topic, messages(3, partitions=1))
    place = TopicPartition(settings.input_topic, 0)
    output = [Output(settings.emotion_topic, None, b"{}", [])]
    former, latter = (
        TransactionalPublisher(cluster.connection, settings.group_id, 30_000) for _ in range(2)
    )
    try:
        await former.open(place)
        await former.publish(place, output, 1)
        await latter.open(place)
        with pytest.raises(ProducerFenced):
            await former.publish(place, output, 2)
        await latter.publish(place, output, 3)
    finally:
        await former.stop()
        await latter.stop()
    await verifier.settled(cluster.servers, settings)
    assert len(await verifier.read(cluster.servers, settings.emotion_topic)) == 2
    assert await verifier.committed(cluster.servers, settings.group_id, place.topic) == {0: 3}


async def test_what_a_fenced_owner_had_not_sent_is_dropped_without_a_complaint(
    cluster: Cluster,
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 9)
    place = TopicPartition(settings.input_topic, 0)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
    former, latter = (
        TransactionalPublisher(cluster.connection, settings.group_id, 30_000) for _ in range(2)
    )
    try:
        await former.open(place)
        await latter.open(place)
        outputs = [Output(settings.emotion_topic, b"room%d" % n, b"{}", []) for n in range(50)]
        with pytest.raises(ProducerFenced):
            await former.publish(place, outputs, 50)
    finally:
        await former.stop()
        await latter.stop()
    gc.collect()  # an error that nobody asked for is complained of when it goes
    await asyncio.sleep(0)
    assert complaints == []


@pytest.mark.parametrize("step", ["partitions_for", "send_offsets_to_transaction"])
async def test_a_transaction_that_is_refused_half_way_says_why(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """aiokafka's sender meets the refusal by itself, whatever step the publisher has come to."""
    settings = cluster.settings()
    await cluster.create(settings, 1)
    place = TopicPartition(settings.input_topic, 0)
    publisher = TransactionalPublisher(cluster.connection, settings.group_id, 30_000)
    await publisher.open(place)
    try:
        producer = publisher._producers[place]
        going_on = getattr(producer, step)

        async def refused(*given: Any) -> Any:  # noqa: ANN401
            found = await going_on(*given) if step == "partitions_for" else None
            producer._txn_manager.error_transaction(TopicAuthorizationFailedError({"chat.dlq"}))
            return found or await going_on(*given)

        monkeypatch.setattr(producer, step, refused)
        output = [Output(settings.emotion_topic, None, b"{}", [])]
        with pytest.raises(TopicAuthorizationFailedError, match=r"chat\.dlq"):
            await publisher.publish(place, output, 1)
    finally:
        await publisher.stop()
    assert await verifier.read(cluster.servers, settings.emotion_topic) == []
    assert await verifier.committed(cluster.servers, settings.group_id, place.topic) == {}


async def test_a_fenced_worker_that_still_owns_the_partition_goes_on_from_the_commit(
    cluster: Cluster,
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 2)
    stranger = TransactionalPublisher(cluster.connection, settings.group_id, 30_000)
    async with cluster.worker(settings) as worker:
        await cluster.produce(settings.input_topic, messages(100, partitions=2))
        await verifier.settled(cluster.servers, settings)
        await stranger.open(TopicPartition(settings.input_topic, 0))
        await cluster.produce(settings.input_topic, messages(200, start=100, partitions=2))
        await verifier.settled(cluster.servers, settings)
        await stranger.stop()
        assert worker.metrics.transactions.labels("aborted")._value.get() >= 1
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == 300


async def test_a_worker_whose_fetching_has_ended_ends_too(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka tells nobody: polls would come back empty for ever, and all would look well."""
    settings = cluster.settings()
    await cluster.create(settings, 1)

    def broken(_: object) -> None:
        raise AssertionError("as it may come of two answers to one question")

    with pytest.RaisesGroup(pytest.RaisesExc(KafkaProblemError, match="fetching has ended")):
        async with cluster.worker(settings) as worker:
            monkeypatch.setattr(Fetcher, "_get_actions_per_node", broken)
            await asyncio.wait_for(worker.task, 20)


async def test_a_worker_that_does_not_poll_for_too_long_is_replaced_and_comes_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = cluster.settings(max_poll_interval_ms=1000)
    await cluster.create(settings, 4)
    async with cluster.worker(settings) as hanging, cluster.worker(settings) as other:
        await hanging.ready()
        await other.ready()
        await eventually(lambda: len(other.pipeline._lanes) == 2, other.task)
        serving = hanging.pipeline.inference.classifier
        tokenize, go_on = serving.tokenize, threading.Event()

        def hung(texts: Sequence[str]) -> list[Tokenized]:
            go_on.wait(30)
            return tokenize(texts)

        monkeypatch.setattr(serving, "tokenize", hung)
        await cluster.produce(settings.input_topic, messages(200))
        await eventually(lambda: other.count("event") == 200, other.task, 25)
        go_on.set()
        await eventually(lambda: len(other.pipeline._lanes) == 2, other.task, 25)
        await hanging.ready()
        await cluster.produce(settings.input_topic, messages(200, start=200))
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == 400
    assert hanging.count("event") > 0


async def test_a_broken_producer_shared_by_all_partitions_is_replaced(cluster: Cluster) -> None:
    settings = cluster.settings(delivery="at_least_once")
    await cluster.create(settings, 4)
    made: list[IdempotentPublisher] = []

    def publisher(source: Any) -> IdempotentPublisher:  # noqa: ANN401
        made.append(IdempotentPublisher(cluster.connection, source.commit))
        return made[0]

    async with cluster.worker(settings, publisher=publisher) as worker:
        await worker.ready()
        assert made[0]._producer is not None
        await made[0]._producer.stop()
        await cluster.produce(settings.input_topic, messages(400))
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings, repeats=True)
    assert report.problems == []


async def test_a_publisher_that_another_partition_closed_can_be_opened_again(
    cluster: Cluster,
) -> None:
    settings = cluster.settings(delivery="at_least_once")
    await cluster.create(settings, 1)
    place = TopicPartition(settings.input_topic, 0)

    async def commit(_place: TopicPartition, _offset: int) -> None:
        """Nobody asks."""

    publisher = IdempotentPublisher(cluster.connection, commit)
    with pytest.raises(KafkaError):  # what a lane recovers from
        await publisher.publish(place, [], 1)
    await publisher.open(place)
    await publisher.publish(place, [Output(settings.emotion_topic, None, b"{}", [])], 1)
    await publisher.stop()


async def test_a_stop_while_texts_are_tokenized_finishes_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    async with cluster.worker(settings) as worker:
        await worker.ready()
        serving = worker.pipeline.inference.classifier
        tokenize, entered = serving.tokenize, asyncio.Event()
        loop = asyncio.get_running_loop()

        def slowly(texts: Sequence[str]) -> list[Tokenized]:
            loop.call_soon_threadsafe(entered.set)
            asyncio.run(asyncio.sleep(0.5))
            return tokenize(texts)

        monkeypatch.setattr(serving, "tokenize", slowly)
        await cluster.produce(settings.input_topic, [Input(chat(1))])
        await entered.wait()
        started = monotonic()
        await worker.stop()
        assert monotonic() - started < 5  # less than a session, and than what draining may take
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == 1


async def test_a_stop_before_the_group_is_joined_is_heeded(cluster: Cluster) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    async with cluster.worker(settings) as worker:
        await asyncio.sleep(0)
        started = monotonic()
        await worker.stop()
        assert monotonic() - started < 5  # less than a session, and than what draining may take


async def test_a_rebalance_under_backpressure_does_not_flood_the_queue(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "POLL_RECORDS", 50)
    monkeypatch.setattr(room, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(lanes, "REVOKE_SECONDS", 0.2)
    settings = cluster.settings(max_queue_tokens=200)
    await cluster.create(settings, 2)
    await cluster.produce(settings.input_topic, messages(3000, partitions=2))
    engines = FakeEngine(), FakeEngine()
    for engine in engines:
        engine.go_on.clear()
    async with cluster.worker(settings, engines[0]) as first:
        await eventually(lambda: first.pipeline.queued_tokens >= 200, first.task)
        await asyncio.sleep(0.3)  # paused
        async with cluster.worker(settings, engines[1]) as second:
            await second.ready()
            await first.ready()
            await asyncio.sleep(1.5)
            for worker in (first, second):
                assert worker.pipeline.queued_tokens <= 200 + 3 * 2 * 50
            for engine in engines:
                engine.go_on.set()
            await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == 3000


def test_the_settings_of_a_child_are_those_of_the_test(cluster: Cluster) -> None:
    settings = cluster.settings()
    names = {name.removeprefix("WORKER_").lower() for name in cluster.environment(settings)}
    assert names - {"kafka_bootstrap_servers"} <= set(WorkerSettings.model_fields)


async def test_a_worker_without_work_does_not_ask_without_end(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded broker answers each fetch at once; Apache Kafka waits by itself."""
    fetches, send = 0, AIOKafkaClient.send

    async def counting(self: AIOKafkaClient, node: int, request: Any, **more: Any) -> Any:  # noqa: ANN401
        nonlocal fetches
        fetches += isinstance(request, FetchRequest)
        return await send(self, node, request, **more)

    settings = cluster.settings()
    await cluster.create(settings, 4)
    await cluster.produce(settings.input_topic, messages(8))
    async with cluster.worker(settings):
        await verifier.settled(cluster.servers, settings)
        await asyncio.sleep(0.1)  # the pauses grow to their longest
        monkeypatch.setattr(AIOKafkaClient, "send", counting)
        began = monotonic()
        await asyncio.sleep(0.5)
        allowed = (monotonic() - began) / pacing.LONGEST * BROKERS + BROKERS
    assert fetches <= allowed
