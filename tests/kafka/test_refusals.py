"""What Apache Kafka refuses: one clear line, nothing lost, nothing committed past."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.kafka.cluster import Cluster as Brokers
from tests.kafka import verifier
from tests.kafka.harness import Cluster, Input, chat
from tests.kafka.secured import (
    DESCRIBE,
    GROUP,
    LITERAL,
    PREFIXED,
    READ,
    TOPIC,
    TRANSACTIONAL_ID,
    WRITE,
    Right,
    allow,
    secured,
)
from worker.settings import WorkerSettings

pytestmark = [pytest.mark.apache, pytest.mark.usefixtures("brokers")]

ROOT = Path(__file__).parents[2]


class Run:
    """A worker process with the instant classifier, and what it says."""

    def __init__(self, cluster: Cluster, settings: WorkerSettings, **changes: str) -> None:
        environment = {
            **os.environ,
            **cluster.environment(settings),
            "WORKER_SESSION_TIMEOUT_MS": "6000",
            "WORKER_ADMIN_PORT": "0",
            "WORKER_START_SECONDS": "20",
            **changes,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.copier"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.said = ""

    async def says(self, text: str, seconds: float = 60.0) -> None:
        """Wait until it says `text`; what it says is kept in `said`."""
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        deadline = monotonic() + seconds
        while text not in self.said:
            self.said += (self.process.stdout.read() or b"").decode()
            assert monotonic() < deadline, self.said
            await asyncio.sleep(0.05)

    def lines(self, text: str) -> list[str]:
        """Those of what it said that have `text` in them and are not the end without a fault."""
        return [each for each in self.said.splitlines() if text in each and "reason" in each]

    async def ends(self, status: int) -> None:
        """Wait for its end."""
        assert await asyncio.to_thread(self.process.wait, 60) == status, self.said
        assert self.process.stdout is not None
        self.said += (self.process.stdout.read() or b"").decode()
        assert "Traceback" not in self.said


@asynccontextmanager
async def running(cluster: Cluster, settings: WorkerSettings, **changes: str) -> AsyncIterator[Run]:
    run = Run(cluster, settings, **changes)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.communicate()


def rights(settings: WorkerSettings) -> list[Right]:
    """What docs/operations.md says that a worker needs."""
    outputs = (settings.emotion_topic, settings.review_topic, settings.dead_letter_topic)
    return [
        Right(TOPIC, settings.input_topic, LITERAL, READ),
        *(Right(TOPIC, name, LITERAL, WRITE) for name in outputs),
        Right(GROUP, settings.group_id, LITERAL, READ),
        Right(TRANSACTIONAL_ID, f"{settings.group_id}.", PREFIXED, WRITE),
    ]


async def test_the_rights_of_the_docs_are_enough(cluster: Cluster, brokers: Brokers) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 2)
    await allow(cluster.servers, rights(settings))
    await cluster.produce(settings.input_topic, [Input(chat(n), partition=n % 2) for n in range(9)])
    async with running(cluster, settings, **secured(brokers)):
        await verifier.settled(cluster.servers, settings)
    assert len(await verifier.read(cluster.servers, settings.emotion_topic)) == 9


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        (TRANSACTIONAL_ID, "no right to use the transactional id"),
        (GROUP, "no right to use the consumer group"),
    ],
)
async def test_a_missing_right_ends_it_with_one_line(
    cluster: Cluster, brokers: Brokers, missing: int, line: str
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 2)
    given = [rule for rule in rights(settings) if rule[0] != missing]
    await allow(cluster.servers, given)
    await cluster.produce(settings.input_topic, [Input(chat(1))])
    async with running(cluster, settings, **secured(brokers)) as worker:
        await worker.says(line)
        await worker.ends(1)
    assert len(worker.lines("stopped ")) == 1, worker.said
    await nothing_committed(cluster, settings)
    # The right is given, and it goes on where it was.
    await allow(cluster.servers, [rule for rule in rights(settings) if rule[0] == missing])
    async with running(cluster, settings, **secured(brokers)):
        await verifier.settled(cluster.servers, settings)
    assert len(await verifier.read(cluster.servers, settings.emotion_topic)) == 1


async def test_a_login_that_is_refused_ends_the_start_with_one_line(
    cluster: Cluster, brokers: Brokers
) -> None:
    settings = cluster.settings()
    wrong = secured(brokers) | {"KAFKA_SASL_PASSWORD": "no such password"}
    async with running(cluster, settings, WORKER_START_SECONDS="600", **wrong) as worker:
        await worker.says("Kafka refuses the login")
        await worker.ends(1)
    assert "no such password" not in worker.said


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("output", ["emotion_topic", "review_topic", "dead_letter_topic"])
async def test_one_output_that_may_not_be_written_ends_it_with_one_line(
    cluster: Cluster, brokers: Brokers, output: str, delivery: str
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 2)
    topic = getattr(settings, output)
    given = [rule for rule in rights(settings) if rule[1] != topic]
    await allow(cluster.servers, [*given, Right(TOPIC, topic, LITERAL, DESCRIBE)])
    kinds = (chat(0), chat(1, "e1 low"), b"{half")  # each is for another topic
    inputs = [Input(kinds[n % 3], f"room{n}".encode(), partition=n % 2) for n in range(60)]
    await cluster.produce(settings.input_topic, inputs)
    async with running(cluster, settings, WORKER_DELIVERY=delivery, **secured(brokers)) as worker:
        await worker.says("no right to use the topic")
        await worker.ends(1)
    stopped = worker.lines("stopped ")
    assert len(stopped) == 1, worker.said
    assert topic in stopped[0]
    await nothing_committed(cluster, settings)


@pytest.mark.parametrize(
    ("delivery", "output", "limit", "value"),
    [
        pytest.param("exactly_once", "emotion_topic", 200, chat(1), id="event"),
        pytest.param("exactly_once", "review_topic", 200, chat(1, "e1 low"), id="review sample"),
        pytest.param("exactly_once", "dead_letter_topic", 2000, b"x" * 8000, id="dead letter"),
        pytest.param("at_least_once", "review_topic", 200, chat(1, "e1 low"), id="at least once"),
    ],
)
async def test_an_output_larger_than_its_topic_takes_ends_it_with_one_line(
    cluster: Cluster, delivery: str, output: str, limit: int, value: bytes
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    topic = getattr(settings, output)
    await recreate(cluster, topic, {"max.message.bytes": str(limit)})
    await cluster.produce(settings.input_topic, [Input(value)])
    async with running(cluster, settings, WORKER_DELIVERY=delivery) as worker:
        await worker.says("larger than its topic takes")
        await worker.ends(1)
    told = [line for line in worker.said.splitlines() if "an output is too large" in line]
    assert len(told) == 1, worker.said
    assert topic in told[0]
    await nothing_committed(cluster, settings)
    # Room for it, and it goes on where it was.
    await recreate(cluster, topic, {})
    async with running(cluster, settings, WORKER_DELIVERY=delivery):
        await verifier.settled(cluster.servers, settings)
    assert len(await verifier.read(cluster.servers, topic)) == 1


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_too_few_replicas_are_waited_for_and_said(
    cluster: Cluster, brokers: Brokers, delivery: str
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    await recreate(cluster, settings.emotion_topic, {"min.insync.replicas": "3"}, replicas=3)
    await cluster.produce(settings.input_topic, [Input(chat(1))])
    node = await brokers.holder("controller")
    await asyncio.to_thread(node.stop)
    try:
        async with running(cluster, settings, WORKER_DELIVERY=delivery) as worker:
            await worker.says("Kafka keeps us waiting: results are not taken")
            await nothing_committed(cluster, settings)
            node.start()
            await verifier.settled(cluster.servers, settings, 60)
    finally:
        node.start()
        await brokers.answered()
    assert len(await verifier.read(cluster.servers, settings.emotion_topic)) == 1


async def test_a_cluster_that_offers_no_transactions_is_said() -> None:
    alone = Brokers(
        nodes=1,
        overrides={
            "transaction.state.log.replication.factor": "3",
            "transaction.state.log.min.isr": "2",
        },
    )
    try:
        await alone.start()
        cluster = Cluster(alone.bootstrap_servers)
        settings = cluster.settings()
        await cluster.create(settings, 1)
        await cluster.produce(settings.input_topic, [Input(chat(1))])
        async with running(cluster, settings) as worker:
            waits = "Kafka keeps us waiting: no producer yet"
            await worker.says(waits)
            await nothing_committed(cluster, settings)
            worker.process.terminate()
            await worker.ends(0)
        assert worker.said.count(waits) == 1, worker.said
        # Nothing is lost: without transactions it can be had at least once.
        async with running(cluster, settings, WORKER_DELIVERY="at_least_once"):
            await verifier.settled(cluster.servers, settings)
        assert len(await verifier.read(cluster.servers, settings.emotion_topic)) == 1
    finally:
        alone.stop()


async def test_a_review_topic_that_is_missing_ends_the_start(cluster: Cluster) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    await delete(cluster, settings.review_topic)
    await cluster.produce(settings.input_topic, [Input(chat(1, "e1 low"))])
    async with running(cluster, settings) as worker:
        told = f"no such topic (or no right to see it): {settings.review_topic}"
        await worker.says(told)
        await worker.ends(1)
    assert worker.said.count(told) == 1, worker.said
    await nothing_committed(cluster, settings)
    await recreate(cluster, settings.review_topic, {})
    async with running(cluster, settings):
        await verifier.settled(cluster.servers, settings)
    assert len(await verifier.read(cluster.servers, settings.review_topic)) == 1


async def test_topics_with_more_replicas_than_brokers_are_one_line(cluster: Cluster) -> None:
    settings = cluster.settings()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "worker", "topics", "--replication", "9"],
        cwd=ROOT,
        env={**os.environ, **cluster.environment(settings)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done
    (line,) = done.stderr.splitlines()
    assert "cannot be created" in line
    assert "9" in line


async def test_a_review_topic_deleted_while_it_runs_is_waited_for(cluster: Cluster) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    async with running(cluster, settings) as worker:
        await worker.says("partition taken over")
        await delete(cluster, settings.review_topic)
        await cluster.produce(settings.input_topic, [Input(chat(1, "e1 low"))])
        await worker.says("Kafka keeps us waiting: results are not taken")
        await nothing_committed(cluster, settings)
        await recreate(cluster, settings.review_topic, {})
        await verifier.settled(cluster.servers, settings, 60)
    assert len(await verifier.read(cluster.servers, settings.review_topic)) == 1
    assert len(await verifier.read(cluster.servers, settings.emotion_topic)) == 1


async def test_an_output_topic_made_anew_with_fewer_partitions_holds_nothing_up_for_good(
    cluster: Cluster,
) -> None:
    """A record without a key keeps to its partition's number, of which there is none any more."""
    settings = cluster.settings()
    await cluster.create(settings, 4)
    limit = {"WORKER_TRANSACTION_TIMEOUT_MS": "12000"}
    async with running(cluster, settings, **limit) as worker:
        await cluster.produce(settings.input_topic, [Input(chat(1), partition=3)])
        await verifier.settled(cluster.servers, settings, 60)
        await recreate(cluster, settings.emotion_topic, {})
        again = [Input(chat(number), partition=number % 4) for number in range(2, 10)]
        await cluster.produce(settings.input_topic, again)
        await worker.says("partition interrupted; nothing is lost")  # its topic changed, or time
        await verifier.settled(cluster.servers, settings, 60)
    events = await verifier.read(cluster.servers, settings.emotion_topic)
    numbers = sorted(orjson.loads(each.value)["message_id"] for each in events)
    assert numbers == [f"m{number}" for number in range(2, 10)]


async def nothing_committed(cluster: Cluster, settings: WorkerSettings) -> None:
    reached = await verifier.committed(cluster.servers, settings.group_id, settings.input_topic)
    assert not any(offset > 0 for offset in reached.values()), reached


@pytest.mark.parametrize(
    ("setting", "value"),
    [("WORKER_SESSION_TIMEOUT_MS", "1000"), ("WORKER_TRANSACTION_TIMEOUT_MS", "1000000")],
)
async def test_a_time_that_the_cluster_refuses_ends_it_with_one_line(
    cluster: Cluster, setting: str, value: str
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    async with running(cluster, settings, **{setting: value}) as worker:
        await worker.says(f"the cluster refuses {setting}")
        await worker.ends(1)
    assert len(worker.lines("stopped ")) == 1, worker.said


@asynccontextmanager
async def administering(cluster: Cluster) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def delete(cluster: Cluster, topic: str) -> None:
    async with administering(cluster) as admin:
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():  # noqa: ASYNC110  (brokers hear of it one by one)
            await asyncio.sleep(0.1)


async def recreate(cluster: Cluster, topic: str, config: dict[str, str], replicas: int = 1) -> None:
    """One partition, other settings."""
    async with administering(cluster) as admin:
        if topic in await admin.list_topics():
            await admin.delete_topics([topic])
        deadline = monotonic() + 30
        while True:
            answer = await admin.create_topics([NewTopic(topic, 1, replicas, topic_configs=config)])
            if not answer.topic_errors[0][1]:
                break
            assert monotonic() < deadline, answer  # its former self is still being deleted
            await asyncio.sleep(0.1)
