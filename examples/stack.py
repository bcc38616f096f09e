"""What the demo runs on: a broker's topics, and the real worker process."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient

from deploy.broker import Broker
from deploy.process import HOST, free_port
from worker import kafka, pacing, settings
from worker.settings import KafkaSettings

READY_SECONDS: Final = 120.0
STOP_SECONDS: Final = 30.0
LOG_LINES: Final = 12


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


def environment(broker: Broker) -> dict[str, str]:
    """What the worker is told; on a broker of others, a group and topics of its own."""
    mark = f"maum-demo-{secrets.token_hex(4)}." if broker.kind == "given" else ""
    local = {} if broker.kind == "given" else {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}
    return local | {
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
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


def connection(broker: Broker) -> dict[str, Any]:
    """Keyword arguments of the demo's own Kafka clients. Raises SettingsError."""
    pacing.install()
    if broker.kind == "given":
        return kafka.connection(settings.load(KafkaSettings))
    return kafka.connection(
        KafkaSettings(bootstrap_servers=broker.bootstrap_servers, security_protocol="PLAINTEXT")
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
def worker(told: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The real worker process, for the length of the block; then stopped in order."""
    with log.open("wb") as file:
        # A session of its own: Ctrl-C in the terminal is for the demo, which then stops it.
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "run"],
            env=os.environ | told,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def check(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Raise DemoError, with the log's last lines, where the worker has ended."""
    if process.poll() is not None:
        raise DemoError(f"the worker ended, status {process.returncode}; {last_lines(log)}")


def wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Return when /ready says so. Raises DemoError."""
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(port):
        check(process, log)
        if time.monotonic() > deadline:
            raise DemoError(f"no ready worker in {READY_SECONDS:.0f} s; {last_lines(log)}")
        time.sleep(0.1)


def last_lines(log: Path) -> str:
    """The end of the worker's log, to show."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join(["its log ends:", *(f"  {line}" for line in lines)])


def _is_ready(port: int) -> bool:
    asking = HTTPConnection(HOST, port, timeout=2)
    try:
        asking.request("GET", "/ready")
        return asking.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        asking.close()
