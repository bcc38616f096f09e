"""The demo: its chat, and the whole of it on a tiny model."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from examples import demo
from tests.worker import tiny

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "examples.demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    tiny.save(tmp_path / "tiny")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WORKER_", "KAFKA_"))}
    nowhere = {"DOCKER_HOST": "tcp://127.0.0.1:1"}
    return kept | nowhere | {"WORKER_MODEL": str(tmp_path / "tiny"), "TMPDIR": str(tmp_path)}


def test_the_chat_is_well_formed() -> None:
    head, *lines = demo.CHAT.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]

    assert head == "room\tuser\ttext"
    assert len(rows) >= 300
    assert all(len(row) == 3 and all(row) for row in rows)
    assert len({room for room, _, _ in rows}) == 6


def test_the_poison_is_spread_among_the_messages() -> None:
    wanted = demo.records(limit=40)

    assert len(wanted) == 46
    assert sum(record.poison is not None for record in wanted) == 6


@pytest.mark.kafka
def test_the_demo_shows_every_message_and_ends_well(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, "--limit", "40"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 events" in done.stdout
    assert "6 dead letters" in done.stdout
    assert "exactly one result for every record" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.kafka
def test_ctrl_c_leaves_nothing(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "starting the worker" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert process.returncode == 130
    assert not list(Path(environment["TMPDIR"]).glob("maum-*"))
