"""What a running worker says: places and ids, a JSON object a line, and never a text."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from tests.kafka import verifier
from tests.kafka.harness import Cluster, Input, chat

ROOT = Path(__file__).parents[2]
MARK = "unutterable"  # in ASCII, so that it shows however a text is escaped
LIMIT = 2000
POISON = (
    b"\xff " + MARK.encode(),
    f"{{{MARK}".encode(),
    f'["{MARK}"]'.encode(),
    f'{{"message_id": "p3", "text": ["{MARK}"], "{MARK}": "{MARK}"}}'.encode(),
    f'{{"message_id": "p4", "text": "{MARK}", "text": "{MARK}"}}'.encode(),
    chat(5, f"e1 {MARK} " * LIMIT),
    chat(6, f"e1 bad {MARK}", room_id=MARK, user_id=MARK),
)


async def said_by_a_worker(
    cluster: Cluster, inputs: Sequence[Input], folder: Path, **changes: str
) -> list[str]:
    """The lines, at every level, of a worker process that is given `inputs` and then stopped."""
    settings = cluster.settings(max_message_bytes=LIMIT)
    await cluster.create(settings, 1)
    await cluster.produce(settings.input_topic, inputs)
    environment = {
        **os.environ,
        **cluster.environment(settings),
        "WORKER_ADMIN_PORT": "0",
        "WORKER_MAX_MESSAGE_BYTES": str(LIMIT),
        "WORKER_REVIEW_SAMPLE_RATE": "0.5",
        "WORKER_SESSION_TIMEOUT_MS": "6000",
        "WORKER_LOG_LEVEL": "debug",
        **changes,
    }
    log = folder / "log"
    with running(environment, log) as process:
        await verifier.settled(cluster.servers, settings)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0, log.read_text()
    assert len(await verifier.read(cluster.servers, settings.dead_letter_topic)) == len(POISON)
    return log.read_text().splitlines()


@contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "tests.chaos.copier"]
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def inputs() -> list[Input]:
    good = [Input(chat(number, f"e1 n{number} {MARK}"), MARK.encode()) for number in range(9)]
    low = [Input(chat(9, f"e1 low {MARK}"), headers=[(MARK, MARK.encode())])]
    return [*good, *(Input(value) for value in POISON), *low]


async def test_json_is_an_object_a_line_that_tells_of_dead_letters_by_place_and_id(
    cluster: Cluster, tmp_path: Path
) -> None:
    lines = await said_by_a_worker(cluster, inputs(), tmp_path, WORKER_LOG_FORMAT="json")
    told = [orjson.loads(line) for line in lines]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in told)
    assert not [line for line in lines if MARK in line]
    letters = [line for line in told if line["event"] == "dead letters; the first is named"]
    assert sum(line["count"] for line in letters) == len(POISON)
    assert {line["level"] for line in letters} == {"warning"}
    assert {(line["topic"], line["partition"]) for line in letters} == {(f"{cluster.name}.in", 0)}
    first = letters[0]
    assert (first["offset"], first["reason"], first["message_id"]) == (9, "undecodable", None)


@pytest.mark.parametrize(
    ("poison", "reason", "message_id"), [(3, "invalid", "p3"), (6, "unclassifiable", "m6")]
)
async def test_the_message_id_of_a_dead_letter_is_told_and_its_text_is_not(
    cluster: Cluster, tmp_path: Path, poison: int, reason: str, message_id: str
) -> None:
    first = POISON[poison]
    rest = [Input(value) for value in POISON if value is not first]
    lines = await said_by_a_worker(
        cluster, [Input(first), *rest], tmp_path, WORKER_LOG_FORMAT="console"
    )
    assert not [line for line in lines if MARK in line]
    letters = next(line for line in lines if "dead letters; the first is named" in line)
    assert f"reason={reason}" in letters
    assert f"message_id={message_id}" in letters
    assert "offset=0" in letters
