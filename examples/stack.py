"""What a demo runs on: a broker with topics, and what the worker is told of them."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from deploy import broker
from deploy.broker import Broker
from deploy.process import HOST, free_port
from worker import kafka, pacing, settings
from worker.settings import KafkaSettings


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


def environment(running: Broker) -> dict[str, str]:
    """What the worker is told; on a broker of others, a group and topics of its own."""
    mark = f"maum-demo-{secrets.token_hex(4)}." if running.kind == "given" else ""
    local = {} if running.kind == "given" else {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}
    return local | {
        "KAFKA_BOOTSTRAP_SERVERS": running.bootstrap_servers,
        "WORKER_GROUP_ID": f"{mark}maum-worker",
        "WORKER_INPUT_TOPIC": f"{mark}chat.messages",
        "WORKER_EMOTION_TOPIC": f"{mark}chat.emotions",
        "WORKER_REVIEW_TOPIC": f"{mark}chat.emotions.review",
        "WORKER_DEAD_LETTER_TOPIC": f"{mark}chat.messages.dlq",
        "WORKER_MODELS_TOPIC": f"{mark}emotion.models",
        "WORKER_DELIVERY": "exactly_once",
        "WORKER_LOW_MARGIN_EVENTS": "publish",
        "WORKER_ADMIN_HOST": HOST,
        "WORKER_ADMIN_PORT": str(free_port()),
        "WORKER_LOG_FORMAT": "console",
        "WORKER_LOG_LEVEL": "info",
    }


def connection(running: Broker) -> dict[str, Any]:
    """Keyword arguments of the demo's own Kafka clients. Raises SettingsError."""
    pacing.install()
    if running.kind == "given":
        return kafka.connection(settings.load(KafkaSettings))
    return kafka.connection(
        KafkaSettings(bootstrap_servers=running.bootstrap_servers, security_protocol="PLAINTEXT")
    )


def create_topics(told: dict[str, str]) -> None:
    """Run the worker's own command. Raises DemoError with what it complained of."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", "topics"],
        env=os.environ | told,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(f"no topics: {(done.stderr or done.stdout).strip()}")


async def remove_topics(kafka_connection: dict[str, Any], told: dict[str, str]) -> None:
    """Leave no topics on a broker of others; it forgets idle groups itself. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**kafka_connection)
    await admin.start()
    try:
        await admin.delete_topics([name for key, name in told.items() if key.endswith("_TOPIC")])
    finally:
        await admin.close()


@contextmanager
def topics(running: Broker, told: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Make the topics; how to connect. At the block's end a broker of others is left without them.

    Raises DemoError, SettingsError, KafkaError.
    """
    create_topics(told)
    connecting = connection(running)
    try:
        yield connecting
    finally:
        if running.kind == "given":
            asyncio.run(remove_topics(connecting, told))


@contextmanager
def following(folder: Path, **changes: str) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """A broker with topics, for a worker that follows the alias of the registry in `folder`.

    What the worker is told, `changes` among it, and how to connect. Raises what `topics` raises,
    and BrokerError.
    """
    running = broker.start()
    try:
        told = environment(running) | {
            "WORKER_MODEL": f"registry:{folder / 'registry'}#champion",
            "WORKER_LOG_LEVEL": "warning",
            **changes,
        }
        with topics(running, told) as connecting:
            yield told, connecting
    finally:
        running.stop()
