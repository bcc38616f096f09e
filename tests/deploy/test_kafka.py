"""What the development cluster needs, and how it says what is missing."""

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
