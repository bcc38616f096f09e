"""The demo: its chat, and the whole of it on a tiny model."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from examples import demo
from schemas.emotion import EMOTIONS
from tests.worker import tiny

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "examples.demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    tiny.save(tmp_path / "tiny")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WORKER_", "KAFKA_"))}
    nowhere = {"DOCKER_HOST": "tcp://127.0.0.1:1"}
    return kept | nowhere | {"WORKER_MODEL": str(tmp_path / "tiny"), "TMPDIR": str(tmp_path)}


def alive(environment: dict[str, str]) -> list[str]:
    """The commands of all processes that were started with this environment, by whomever.

    Broker and worker lead sessions of their own and may outlive who started them, so neither a
    group nor a parent finds them; the folder for temporary files, which no one else has, does.
    """
    mark = f"TMPDIR={environment['TMPDIR']}".encode()
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().decode(errors="replace")
                found.append(command.replace("\0", " ").strip())
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return found


def number(pattern: str, lines: Sequence[str]) -> float:
    """The one number that the pattern finds in the one line that it fits."""
    (match,) = (match for line in lines if (match := re.search(pattern, line)))
    return float(match[1])


linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")


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


@linux
@pytest.mark.kafka
def test_the_demo_shows_every_message_and_ends_well(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, "--limit", "40"],
        cwd=ROOT,
        env=environment | {"WORKER_MARGIN_THRESHOLD": "1"},  # everything is for review
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "exactly one result for every record" in done.stdout
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    shown = [re.search(rf"({'|'.join(EMOTIONS)}) \d\.\d\d(  low margin)?$", line) for line in lines]
    events = [match for match in shown if match]
    assert len(events) == number(r"^(\d+) events", lines) == 40
    for emotion in EMOTIONS:
        assert number(rf"^{emotion} +(\d+)  ", lines) == sum(each[1] == emotion for each in events)
    assert number(r"events \((\d+) low margin\)", lines) == sum(bool(each[2]) for each in events)
    assert number(r"events \((\d+) low margin\)", lines) == 40
    assert number(r", (\d+) for review, ", lines) == 40
    assert number(r"(\d+) dead letters$", lines) == 6
    assert sum("dead letter: " in line for line in lines) == 6
    assert number(r"^(\d+) records sent", lines) == 46
    assert number(r" sent, ([\d.]+) results a second$", lines) > 0
    assert 0 < number(r"p50 (\d+) ms", lines) <= number(r"p99 (\d+) ms", lines)
    assert alive(environment) == []


@linux
@pytest.mark.kafka
def test_ctrl_c_leaves_nothing(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "starting the worker" not in process.stdout.readline():
            assert process.poll() is None
        started = alive(environment)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert process.returncode == 130
    # The demo, the broker, the worker, and who watches over those two.
    assert len(started) >= 4
    assert any("-m worker run" in command for command in started)
    assert alive(environment) == []
    assert not list(Path(environment["TMPDIR"]).glob("maum-*"))
