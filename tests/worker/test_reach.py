"""Kafka that cannot be reached: waited for as long as it was said, or not at all, and told why."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from structlog.testing import capture_logs

from deploy.process import free_port
from worker import kafka, reach, topics
from worker.kafka import KafkaProblemError
from worker.settings import KafkaSettings, WorkerSettings


def connection(servers: str) -> dict[str, Any]:
    return kafka.connection(KafkaSettings(bootstrap_servers=servers, _env_file=None))


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """A server that takes connections and never says a word."""
    gone = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gone.set()


async def tried(servers: str, seconds: float = 0.5) -> None:
    to = connection(servers)
    await reach.retrying(lambda: topics.missing(to, ["chat.messages"]), seconds, to)


async def test_a_server_that_says_nothing_is_waited_for_no_longer_than_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reach, "LOOK_SECONDS", 0.1)
    async with silent() as servers, asyncio.timeout(10):
        with pytest.raises(KafkaProblemError, match=r"did not answer for 0\.5 s \(not a word\)"):
            await tried(servers)


async def test_a_port_where_nobody_listens_is_told_as_such() -> None:
    with pytest.raises(KafkaProblemError, match=r"did not answer for 0\.5 s \(.*refused|Connect"):
        await tried(f"127.0.0.1:{free_port()}")


def refusing(error: Exception) -> Any:  # noqa: ANN401  (stands in for aiokafka's create_conn)
    async def create_conn(*_: object, **__: object) -> None:
        raise error

    return create_conn


async def unreachable() -> None:
    raise KafkaConnectionError("Unable to bootstrap")


async def test_a_certificate_that_is_not_trusted_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    untrusted = ssl.SSLCertVerificationError(1, "CERTIFICATE_VERIFY_FAILED")
    untrusted.verify_message = "self-signed certificate"
    monkeypatch.setattr(reach, "create_conn", refusing(untrusted))
    with pytest.raises(KafkaProblemError, match=r"\(self-signed certificate\).*KAFKA_SSL_CAFILE"):
        await reach.retrying(unreachable, 1e9, connection("kafka:9093"))


@pytest.mark.parametrize(
    "error",
    [SaslAuthenticationFailed("wrong password"), UnsupportedSaslMechanismError("SCRAM-SHA-512")],
)
async def test_a_login_that_is_refused_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, error: KafkaError
) -> None:
    monkeypatch.setattr(reach, "create_conn", refusing(error))
    with pytest.raises(type(error)):
        await reach.retrying(unreachable, 1e9, connection("kafka:9093"))
    assert kafka.line(error).startswith("Kafka refuses the login (")
    assert str(error.args[0]) in kafka.line(error)


async def test_what_answers_after_a_while_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(reach, "create_conn", refusing(ConnectionRefusedError()))
    left = 3

    async def answer() -> str:
        nonlocal left
        left -= 1
        if left:
            raise KafkaConnectionError
        return "here"

    assert await reach.retrying(answer, 1e9, connection("kafka:9092")) == "here"


async def there(*_: object, **__: object) -> Any:  # noqa: ANN401  (as `refusing`)
    class Open:
        def close(self) -> None:
            """It only had to be there."""

    return Open()


async def test_a_broker_that_is_not_ready_is_waited_for_as_one_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reach, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(reach, "create_conn", there)
    left = 3

    async def answer() -> str:
        nonlocal left
        left -= 1
        if left:
            raise NodeNotReadyError("node 1")
        return "here"

    assert await reach.retrying(answer, 1e9, connection("kafka:9092")) == "here"
    left = 10**9
    with pytest.raises(KafkaProblemError, match=r"for 0\.01 s \(NodeNotReadyError: node 1\)"):
        await reach.retrying(answer, 0.01, connection("kafka:9092"))


async def test_a_right_that_is_missing_is_said_at_once() -> None:
    async def refused() -> None:
        raise TopicAuthorizationFailedError("chat.messages")

    with pytest.raises(TopicAuthorizationFailedError):
        await reach.retrying(refused, 1e9, connection("kafka:9092"))


@pytest.mark.parametrize(
    ("model", "missing", "warnings"),
    [
        ("registry:/srv/models#champion", ["emotion.models"], 1),
        ("registry:/srv/models#champion", [], 0),
        ("models/maum-small", ["emotion.models"], 0),
    ],
)
async def test_a_topic_of_models_that_is_missing_is_one_warning_for_a_registrys_model(
    monkeypatch: pytest.MonkeyPatch, model: str, missing: list[str], warnings: int
) -> None:
    async def lacking(_: object, names: list[str]) -> list[str]:
        return [name for name in names if name in missing]

    monkeypatch.setattr(topics, "missing", lacking)
    options = WorkerSettings(model=model, _env_file=None)
    with capture_logs() as logs:
        await reach.reach(connection("kafka:9092"), options)
    assert len(logs) == warnings
    assert all(log["log_level"] == "warning" for log in logs)
    assert all("`python -m worker topics` creates" in log["reason"] for log in logs)


async def test_a_topic_that_the_worker_needs_is_not_only_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def lacking(_: object, names: list[str]) -> list[str]:
        return names

    monkeypatch.setattr(topics, "missing", lacking)
    options = WorkerSettings(model="registry:/srv/models#champion", _env_file=None)
    with pytest.raises(KafkaProblemError, match="no such topic") as caught:
        await reach.reach(connection("kafka:9092"), options)
    assert "emotion.models" not in str(caught.value)
