"""The development broker, with the real embedded one."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy import broker, process
from deploy.broker import BrokerError, EmbeddedBroker

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.kafka


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedBroker]:
    running = EmbeddedBroker()
    running.start()
    yield running
    running.stop()


@pytest.fixture
def nothing_but_the_embedded_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setattr(broker, "docker_answers", lambda: False)


async def create(bootstrap_servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()


async def produce(bootstrap_servers: str, topic: str, values: list[bytes]) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, enable_idempotence=True
    ) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes | None]:
    async with (
        asyncio.timeout(10),
        AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap_servers,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        ) as consumer,
    ):
        return [(await consumer.getone()).value for _ in range(count)]


async def consume_all(bootstrap_servers: str, topic: str) -> list[bytes | None]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap_servers) as consumer:
        partition = TopicPartition(topic, 0)
        end = (await consumer.end_offsets([partition]))[partition]
    return await consume(bootstrap_servers, topic, end)


def answers(bootstrap_servers: str) -> bool:
    host, port = bootstrap_servers.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it comes true in time: for other processes, which no fake clock reaches."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)  # another process takes its time; no clock of ours drives it
    return condition()


async def test_what_is_produced_is_consumed(embedded_broker: EmbeddedBroker) -> None:
    await create(embedded_broker.bootstrap_servers, "round-trip")
    await produce(embedded_broker.bootstrap_servers, "round-trip", [b"\xea\xb0\x80", b"2"])
    assert await consume(embedded_broker.bootstrap_servers, "round-trip", 2) == [
        "가".encode(),
        b"2",
    ]


async def test_an_aborted_transaction_is_hidden(embedded_broker: EmbeddedBroker) -> None:
    servers = embedded_broker.bootstrap_servers
    await create(servers, "transactions")
    async with AIOKafkaProducer(bootstrap_servers=servers, transactional_id="one") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait("transactions", b"aborted")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait("transactions", b"committed")
    assert await consume(servers, "transactions", 1) == [b"committed"]


async def test_a_restart_keeps_port_and_records(embedded_broker: EmbeddedBroker) -> None:
    servers = embedded_broker.bootstrap_servers
    await create(servers, "kept")
    await produce(servers, "kept", [b"before"])
    embedded_broker.restart()
    assert embedded_broker.bootstrap_servers == servers
    await produce(servers, "kept", [b"after"])
    assert await consume(servers, "kept", 2) == [b"before", b"after"]


async def test_a_killed_broker_comes_back_on_its_port(embedded_broker: EmbeddedBroker) -> None:
    servers = embedded_broker.bootstrap_servers
    await create(servers, "killed")
    await produce(servers, "killed", [b"perhaps lost"])
    embedded_broker.kill()
    assert not answers(servers)
    embedded_broker.restart()
    await produce(servers, "killed", [b"after"])
    assert b"after" in await consume_all(servers, "killed")


@pytest.mark.usefixtures("nothing_but_the_embedded_broker")
async def test_a_given_data_dir_keeps_records_between_brokers(tmp_path: Path) -> None:
    with broker.running(tmp_path) as servers:
        await create(servers, "kept")
        await produce(servers, "kept", [b"yesterday"])
    with broker.running(tmp_path) as servers:
        assert await consume(servers, "kept", 1) == [b"yesterday"]


def test_a_paused_broker_accepts_and_does_not_answer(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.pause()
    assert answers(embedded_broker.bootstrap_servers)
    assert not process.answers(embedded_broker.port)
    embedded_broker.resume()
    assert eventually(lambda: process.answers(embedded_broker.port))


def test_a_paused_broker_stops_in_order(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.pause()
    started = time.monotonic()
    embedded_broker.stop()
    assert time.monotonic() - started < process.STOP_SECONDS


def test_nothing_is_left_after_stop() -> None:
    stopped = EmbeddedBroker()
    stopped.start()
    assert stopped._process is not None
    watchdog = stopped._process._watchdog
    assert watchdog is not None
    pids = [stopped._process.pid, watchdog.pid]
    stopped.stop()
    stopped.stop()
    assert not any(exists(pid) for pid in pids)
    assert not stopped.data_dir.exists()
    with pytest.raises(BrokerError, match="not running"):
        stopped.pause()


def test_nothing_is_left_when_the_parent_is_killed() -> None:
    code = """
import os, signal
from deploy.embedded import EmbeddedBroker
broker = EmbeddedBroker()
broker.start()
print(broker._process.pid, broker.bootstrap_servers, broker.data_dir, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert parent.returncode == -signal.SIGKILL
    assert parent.stderr == ""
    pid, servers, data_dir = parent.stdout.split()
    assert eventually(lambda: not answers(servers))
    assert eventually(lambda: not exists(int(pid)))
    assert eventually(lambda: not Path(data_dir).exists())


def exists(pid: int) -> bool:
    """Whether it runs. A dead process that its new parent hasn't reaped doesn't."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not Path("/proc/self").exists()


def test_a_given_broker_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "one.invalid:9092,two.invalid:9092")
    given = broker.start()
    assert given.kind == "given"
    with pytest.raises(BrokerError, match="not ours"):
        given.kill()
    with broker.running() as servers:
        assert servers == "one.invalid:9092,two.invalid:9092"


@pytest.mark.usefixtures("nothing_but_the_embedded_broker")
def test_docker_goes_before_the_embedded_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    container = broker.GivenBroker("docker.invalid:9092")
    monkeypatch.setattr(broker, "docker_answers", lambda: True)
    monkeypatch.setattr(broker, "_start_docker", lambda: container)
    assert broker.start() is container


@pytest.mark.usefixtures("nothing_but_the_embedded_broker")
def test_a_docker_that_cannot_start_kafka_gives_way(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise OSError("no such image")

    monkeypatch.setattr(broker, "docker_answers", lambda: True)
    monkeypatch.setattr(broker, "_start_docker", fail)
    second = broker.start()
    second.stop()
    assert second.kind == "embedded"
    assert "no such image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reply", "expected"),
    [(b"HTTP/1.0 200 OK\r\n\r\nOK", True), (b"HTTP/1.1 503 Unavailable\r\n\r\n", False)],
)
@pytest.mark.parametrize("scheme", ["unix", "tcp"])
def test_an_engine_is_docker_when_it_answers_a_ping(
    scheme: str, reply: bytes, *, expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if scheme == "unix":
        monkeypatch.chdir(tmp_path)  # a socket's path may not be longer than about 100 bytes
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("docker.sock")
        listener.listen()
        monkeypatch.setenv("DOCKER_HOST", "unix:docker.sock")
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{listener.getsockname()[1]}")

    def engine() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(reply)

    thread = threading.Thread(target=engine, daemon=True)
    thread.start()
    with listener:
        assert broker.docker_answers() is expected
        thread.join()


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "ssh://nobody@host.invalid"])
def test_an_engine_that_does_not_answer_is_not_docker(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert not broker.docker_answers()


def test_a_port_in_use_is_a_clear_error(embedded_broker: EmbeddedBroker) -> None:
    second = EmbeddedBroker(port=embedded_broker.port)
    with pytest.raises(BrokerError, match="already in use"):
        second.start()
    assert not second.data_dir.exists()
    assert answers(embedded_broker.bootstrap_servers)


def test_a_broker_that_ends_at_once_shows_its_last_words(
    embedded_broker: EmbeddedBroker,
) -> None:
    second = EmbeddedBroker(embedded_broker.data_dir)
    with pytest.raises(BrokerError, match=r"ended at once with status 1:(.|\n)*already running"):
        second.start()


def test_a_free_port_is_given_once() -> None:
    ports = [process.free_port() for _ in range(500)]

    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_runs_until_it_is_interrupted(number: signal.Signals) -> None:
    port = process.free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.broker", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        line = command.stdout.readline()
        assert f"for development only at 127.0.0.1:{port}" in line
        assert answers(f"127.0.0.1:{port}")
        command.send_signal(number)
        _, errors = command.communicate(timeout=20)
    assert command.returncode == 0
    assert errors == ""
    assert not answers(f"127.0.0.1:{port}")
