"""The cluster's errors, each as one line that says what to do."""

import asyncio
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from aiokafka import TopicPartition, errors
from pydantic import SecretStr

from worker import kafka
from worker.settings import KafkaSettings, SettingsError


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errors.TopicAuthorizationFailedError("chat.messages"), "the topic chat.messages: grant"),
        (errors.TopicAuthorizationFailedError({"b", "a"}), "the topic a, b: grant"),
        (errors.TopicAuthorizationFailedError(), "TopicAuthorizationFailedError): grant"),
        (errors.GroupAuthorizationFailedError("maum-worker"), "WORKER_GROUP_ID, a trainer's"),
        (errors.TransactionalIdAuthorizationFailed("maum-worker.t.0"), "ids that begin with"),
        (errors.MessageSizeTooLargeError("too\nlarge"), "raise max.message.bytes"),
        (errors.IncompatibleBrokerVersion("InitProducerId"), "InitProducerId"),
    ],
)
def test_what_no_retry_mends_is_one_line_with_advice(error: errors.KafkaError, advice: str) -> None:
    assert isinstance(error, kafka.FATAL)
    assert advice in kafka.line(error)
    assert "\n" not in kafka.line(error)


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        (errors.TransactionalIdAuthorizationFailed, ["maum-worker.t.0", "maum-worker.t.1"]),
        (errors.TopicAuthorizationFailedError, [TopicPartition("t", 0), TopicPartition("t", 1)]),
        (errors.TopicAuthorizationFailedError, ["t", {"t"}, TopicPartition("t", 1)]),
    ],
)
def test_partitions_that_lack_the_same_grant_say_the_same_line(
    kind: type[errors.KafkaError], about: list[object]
) -> None:
    assert len({kafka.line(kind(each)) for each in about}) == 1


def test_an_error_without_advice_is_named_once() -> None:
    error = errors.NodeNotReadyError("node 1")
    assert kafka.line(error) == "Kafka: NodeNotReadyError: node 1"
    assert kafka.line(errors.RequestTimedOutError()) == "Kafka: RequestTimedOutError"


def test_our_own_errors_are_told_as_they_were_written() -> None:
    assert kafka.line(kafka.KafkaProblemError("no such topic: x")) == "no such topic: x"


def test_a_certificate_that_is_none_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate")
    with pytest.raises(SettingsError, match="KAFKA_SSL_CAFILE") as raised:
        kafka.connection(KafkaSettings(security_protocol="SSL", ssl_cafile=file))
    assert len(raised.value.mistakes) == 1


def test_a_missing_client_certificate_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "absent.pem"
    with pytest.raises(SettingsError, match="KAFKA_SSL_CERTFILE"):
        kafka.connection(
            KafkaSettings(
                security_protocol="SASL_SSL",
                sasl_username="u",
                sasl_password=SecretStr("p"),
                ssl_certfile=file,
            )
        )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the key")
def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.pem" for name in ("key", "certificate")}
    command = (
        "openssl req -x509 -newkey rsa:2048 -days 1 -subj /CN=maum -passout pass:secret "
        f"-keyout {files['key']} -out {files['certificate']}"
    )
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    with pytest.raises(SettingsError, match="KAFKA_SSL_KEYFILE: the key is encrypted") as raised:
        kafka.connection(
            KafkaSettings(
                security_protocol="SSL",
                ssl_certfile=files["certificate"],
                ssl_keyfile=files["key"],
            )
        )
    assert len(raised.value.mistakes) == 1


def test_a_plain_connection_needs_no_certificates() -> None:
    connection = kafka.connection(KafkaSettings(bootstrap_servers="a:1,b:2"))
    assert connection["bootstrap_servers"] == "a:1,b:2"
    assert connection["ssl_context"] is None


class Consumer:
    """Stops as aiokafka's does."""

    def __init__(self, end: BaseException | None = None) -> None:
        self.client_open = True
        self._client = self
        self._end = end

    async def stop(self) -> None:
        if self._end is not None:
            raise self._end
        await self.close()

    async def close(self) -> None:
        self.client_open = False


async def test_a_consumer_that_cancels_whoever_stops_it_is_stopped_all_the_same() -> None:
    for consumer in (Consumer(), Consumer(asyncio.CancelledError())):
        await kafka.stop(consumer)
        assert not consumer.client_open


async def test_what_else_goes_wrong_as_a_consumer_stops_is_raised() -> None:
    consumer = Consumer(errors.KafkaConnectionError())
    with pytest.raises(errors.KafkaConnectionError):
        await kafka.stop(consumer)
    assert not consumer.client_open


async def test_who_stops_a_consumer_can_be_cancelled() -> None:
    class Hanging(Consumer):
        async def stop(self) -> None:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await kafka.stop(Hanging())
