"""Labelling in the terminal: a key is a label, and none is lost."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from schemas.emotion import EMOTIONS
from trainer import labels, review, terminal
from trainer.recipe import Recipe
from trainer.stage import StageError, alone

from .commands import command
from .conftest import full_after

ROOT = Path(__file__).resolve().parents[2]


def keys(pressed: str) -> "Asked":
    return Asked(iter(pressed))


class Asked:
    """Presses keys in turn, and keeps what it was shown."""

    def __init__(self, pressed: Iterator[str]) -> None:
        self.pressed = pressed
        self.shown: list[str] = []

    def __call__(self, line: str) -> str:
        self.shown.append(line)
        return next(self.pressed)


def test_a_key_is_a_label_and_it_is_kept_at_once(collected: Recipe) -> None:
    review.label(collected, 12, keys("136q"))
    found = [row.emotion for row in labels.read(collected.options.work)]
    assert found == [EMOTIONS[0], EMOTIONS[2], EMOTIONS[5]]


def test_undo_takes_the_last_one_back(collected: Recipe) -> None:
    asked = keys("12u3q")
    review.label(collected, 12, asked)
    found = labels.read(collected.options.work)
    assert [row.emotion for row in found] == [EMOTIONS[0], EMOTIONS[2]]
    assert asked.shown[1] == asked.shown[3]
    review.label(collected, 12, keys("uq"))  # nothing to undo is no harm
    assert len(labels.read(collected.options.work)) == 2


def test_an_undone_label_is_no_label(collected: Recipe) -> None:
    review.label(collected, 12, keys("1uq"))
    assert labels.read(collected.options.work) == []


def test_skipped_ones_come_again_and_labelled_ones_do_not(
    collected: Recipe, said: list[str]
) -> None:
    first, second = keys("1s2q"), keys("q")
    review.label(collected, 12, first)
    assert said[-1] == "review: 2 labelled, 10 left"
    review.label(collected, 12, second)
    assert second.shown[0].startswith("[1/10]")
    assert second.shown[0].partition("] ")[2] == first.shown[1].partition("] ")[2]


def test_the_keys_are_the_same_while_the_keyboard_writes_hangul(collected: Recipe) -> None:
    review.label(collected, 12, keys("1ㅕ2ㄴㅂ"))
    assert [row.emotion for row in labels.read(collected.options.work)] == [EMOTIONS[1]]


def test_a_disk_that_is_full_is_one_line_and_leaves_no_half_label(collected: Recipe) -> None:
    review.label(collected, 12, keys("1q"))
    path = collected.options.work / labels.FILE
    with (
        full_after(path.stat().st_size + 9),
        pytest.raises(StageError, match=r"labels\.jsonl cannot be written"),
    ):
        review.label(collected, 12, keys("2q"))
    assert [row.emotion for row in labels.read(collected.options.work)] == [EMOTIONS[0]]


def test_an_open_terminal_keeps_no_run_waiting_and_a_label_meanwhile_is_a_line(
    collected: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = collected.options.work
    with ExitStack() as run_at_work:

        def ask(line: str) -> str:
            if line.startswith("[2/"):
                run_at_work.enter_context(alone(work))
            return "3"

        monkeypatch.setattr(terminal, "one_key", ask)
        assert command(collected.options, monkeypatch, "review", "label") == 1
        assert f"another trainer is at work in {work}" in capsys.readouterr().err
        assert command(collected.options, monkeypatch, "review", "export", "tasks.json") == 0
    assert len(labels.read(work)) == 1


def test_in_a_terminal_one_key_is_enough(collected: Recipe) -> None:
    """The command itself, on a terminal of its own: no Enter is pressed."""
    main, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "trainer", "review", "label"],
        cwd=ROOT,
        env=os.environ | {"TRAINER_WORK": str(collected.options.work)},
        stdin=other,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        os.write(main, b"1s2q")
        shown = process.stdout.read()
        assert process.wait(240) == 0
    os.close(main)
    os.close(other)
    assert "review: 2 labelled, 10 left" in shown
    found = [row.emotion for row in labels.read(collected.options.work)]
    assert found == [EMOTIONS[0], EMOTIONS[1]]


def test_a_wrong_key_shows_the_keys(collected: Recipe, said: list[str]) -> None:
    review.label(collected, 12, keys("x1q"))
    assert said[:2] == [terminal.HELP, terminal.HELP]
    assert len(labels.read(collected.options.work)) == 1
