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
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from deploy.process import free_port
from worker import kafka, reach, topics
from worker.kafka import KafkaProblemError
from worker.settings import KafkaSettings


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
