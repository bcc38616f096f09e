"""What the development cluster needs, and how it says what is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.kafka import __main__ as program
from deploy.kafka import jars


@pytest.fixture(autouse=True)
def anew() -> None:
    jars.java.cache_clear()


def tool(folder: Path, name: str, says: str = "") -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{says}\nEND\n", encoding="utf-8")
    path.chmod(0o755)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    assert program.main(["fetch"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_without_java_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    line = refusal(capsys)
    assert "needs Java 17 or newer, which is not on PATH" in line
    assert "apt-get install" in line


@pytest.mark.parametrize(
    ("says", "number"),
    [('openjdk version "11.0.2" 2019-01-15', 11), ('java version "1.8.0_442"', 8), ("no", 0)],
)
def test_an_old_java_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    says: str,
    number: int,
) -> None:
    tool(tmp_path, "java", says)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert f"is {number}: install it" in refusal(capsys)


def test_without_maven_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jars, "java", lambda: "java")
    monkeypatch.setattr(jars, "CLASSPATH", tmp_path / "classpath.txt")
    monkeypatch.setenv("PATH", str(tmp_path))
    line = refusal(capsys)
    assert "jars come by Maven, which is not on PATH" in line
    assert "apt-get install" in line


def test_brokers_of_which_one_ended_are_not_said_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A process counts as a broker of the folder by its command line.
    command = [sys.executable, "-c", "input()", str(tmp_path.resolve())]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as broker:
        ended = 2**22 + 1  # no process has such a number
        state = {"servers": "127.0.0.1:1,127.0.0.1:2", "pids": [broker.pid, ended]}
        (tmp_path / program.STATE).write_text(json.dumps(state), encoding="utf-8")
        status = program.main(["up", "--data-dir", str(tmp_path)])
        broker.kill()
    assert status == 1
    said = capsys.readouterr().err
    assert said.startswith(f"1 of 2 brokers on {tmp_path.resolve()} ended by themselves")
    assert "make kafka-down" in said
