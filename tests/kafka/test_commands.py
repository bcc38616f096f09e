"""`python -m worker`: run, topics and check as processes, with a tiny random model."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple, TextIO

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.process import free_port
from tests.kafka import verifier
from tests.kafka.harness import Cluster, Input, chat, eventually
from tests.worker import tiny
from worker import topics

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny.save(folder)
    return folder


@pytest.fixture
def environment(cluster: Cluster, model: Path) -> dict[str, str]:
    return {
        **os.environ,
        **cluster.environment(cluster.settings()),
        "PYTHONPATH": str(ROOT),
        "WORKER_MODEL": str(model),
        "WORKER_ADMIN_PORT": "0",
        "WORKER_DEVICE": "cpu",
        "WORKER_THREADS": "1",
        "WORKER_SESSION_TIMEOUT_MS": "6000",
    }


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "worker", *words]


def call(environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*words),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def running(
    environment: dict[str, str], module: str = "worker", stderr: int | TextIO = subprocess.PIPE
) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, "run"], env=environment, cwd=ROOT, stderr=stderr, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def get(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


async def test_sigterm_finishes_what_is_in_flight_and_exits_0_at_once(
    cluster: Cluster, environment: dict[str, str]
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 4)
    port = free_port()
    environment |= {"WORKER_ADMIN_PORT": str(port)}
    with running(environment) as process:
        deadline = monotonic() + 40
        while await asyncio.to_thread(get, port, "/ready") != 200:
            assert process.poll() is None
            assert monotonic() < deadline
            await asyncio.sleep(0.05)
        inputs = [Input(chat(number, "네 " * (number % 30))) for number in range(400)]
        await cluster.produce(settings.input_topic, inputs)
        started = monotonic()
        process.send_signal(signal.SIGTERM)
        _, told = await asyncio.to_thread(process.communicate, None, 20)
        assert process.returncode == 0, told
        assert monotonic() - started < settings.drain_seconds / 2
    assert "left to the next owner" not in told
    assert "Traceback" not in told
    async with cluster.worker(settings):  # the rest
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == 400


async def test_a_device_that_hangs_does_not_hold_up_the_end(
    cluster: Cluster, environment: dict[str, str], tmp_path: Path
) -> None:
    """What it was busy with is left to the next owner."""
    settings = cluster.settings()
    await cluster.create(settings, 1)
    await cluster.produce(settings.input_topic, [Input(chat(number)) for number in range(9)])
    environment |= {
        "WORKER_DRAIN_SECONDS": "10",
        "CHAOS": '{"at": "engine", "nth": 1, "do": "sleep", "seconds": 60}',
    }
    log = tmp_path / "log"
    with log.open("w") as file, running(environment, "tests.chaos.copier", stderr=file) as process:
        await eventually(lambda: "sabotage" in log.read_text(), seconds=60)
        process.send_signal(signal.SIGTERM)
        started = monotonic()
        assert await asyncio.to_thread(process.wait, 50) == 0
        assert monotonic() - started < 30, "it waited for the device"
    assert "work in flight is left to the next owner" in log.read_text()
    assert "Traceback" not in log.read_text()
    async with cluster.worker(settings):
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == 9


def test_a_missing_topic_is_told_in_one_line_exit_1(environment: dict[str, str]) -> None:
    done = call(environment, "run")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "no such topic" in line]
    assert len(lines) == 1
    assert "python -m worker topics" in lines[0]
    assert "Traceback" not in done.stderr


def test_without_a_broker_it_tries_again_is_not_ready_and_exits_1(
    environment: dict[str, str],
) -> None:
    port = free_port()
    environment |= {
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
        "WORKER_START_SECONDS": "10",
        "WORKER_ADMIN_PORT": str(port),
    }
    with running(environment) as process:
        deadline, status = monotonic() + 20, 0
        while not status and process.poll() is None and monotonic() < deadline:
            status = get(port, "/ready")
            sleep(0.02)
        _, told = process.communicate(timeout=30)
    assert status == 503
    assert process.returncode == 1
    assert "trying again" in told
    assert "did not answer for 10 s" in told
    assert "Traceback" not in told


def test_a_wrong_certificate_file_is_a_wrong_setting(environment: dict[str, str]) -> None:
    done = call(
        environment
        | {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CAFILE": str(ROOT / "pyproject.toml")},
        "run",
    )
    assert done.returncode == 2
    assert done.stderr.startswith("worker: KAFKA_SSL_CAFILE")
    assert len(done.stderr.splitlines()) == 1


def test_topics_can_be_created_twice_and_check_tells_what_is_missing(
    environment: dict[str, str],
) -> None:
    missing = call(environment | {"WORKER_MODEL": str(ROOT / "deploy")}, "check")
    assert missing.returncode == 1
    assert "kafka: no such topic" in missing.stdout
    assert "holds no config.json" in missing.stdout
    first = call(environment, "topics", "--partitions", "3")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("created") == 5
    second = call(environment, "topics", "--partitions", "3")
    assert second.returncode == 0
    assert second.stdout.count("exists") == 5
    there = call(environment, "check")
    assert there.returncode == 0, there.stdout + there.stderr
    assert "its topics are there" in there.stdout


class Made(NamedTuple):
    """A topic as the cluster has it."""

    partitions: int
    copies: int
    config: dict[str, str]


async def described(servers: str, names: Sequence[str]) -> tuple[int, list[Made]]:
    """How many brokers there are, and the topics of these names."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        made = {each["topic"]: each["partitions"] for each in await admin.describe_topics(names)}
        found: list[Made] = []
        for name in names:
            asked = ConfigResource(ConfigResourceType.TOPIC, name)
            ((_, _, _, _, entries),) = (await admin.describe_configs([asked]))[0].resources
            config = {key: value for key, value, *_ in entries}
            found.append(Made(len(made[name]), len(made[name][0]["replicas"]), config))
        return len((await admin.describe_cluster())["brokers"]), found
    finally:
        await admin.close()


async def test_topics_are_made_with_partitions_and_retention_for_what_they_hold(
    cluster: Cluster, environment: dict[str, str]
) -> None:
    done = await asyncio.to_thread(call, environment, "topics")
    assert done.returncode == 0, done.stderr
    settings = cluster.settings()
    names = ("input_topic", "emotion_topic", "review_topic", "dead_letter_topic", "models_topic")
    brokers, made = await described(cluster.servers, [getattr(settings, name) for name in names])
    assert [topic.partitions for topic in made] == [8, 8, 8, 8, 1]
    assert {topic.copies for topic in made} == {min(3, brokers)}
    if brokers >= 3:
        assert {topic.config["min.insync.replicas"] for topic in made} == {"2"}
    days = [int(config["retention.ms"]) / 86_400_000 for *_, config in made]
    assert days[:4] == [7, 7, 30, 30]
    policies = [config["cleanup.policy"] for *_, config in made]
    assert policies == ["delete", "delete", "delete", "delete", "compact"]
    room = [int(config["max.message.bytes"]) for *_, config in made]
    assert room[2:4] == [2_097_152, 2_097_152]
    assert max(room[:2]) < 2_097_152, "a dead letter has room for the largest input and its headers"


async def test_outputs_get_the_partitions_of_an_input_topic_that_is_there(
    cluster: Cluster, environment: dict[str, str]
) -> None:
    settings = cluster.settings()
    await topics.create(cluster.connection, topics.wanted(settings, 5)[:1], 0)
    done = await asyncio.to_thread(call, environment, "topics")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("created") == 4
    names = (settings.input_topic, settings.emotion_topic, settings.dead_letter_topic)
    _, made = await described(cluster.servers, names)
    assert [topic.partitions for topic in made] == [5, 5, 5]
