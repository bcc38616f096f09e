"""When the scheduler runs, and that a failed run is not its end."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainer import schedule
from trainer.collect import CollectError
from trainer.settings import TrainerSettings
from worker.settings import SettingsError

ROOT = Path(__file__).resolve().parents[2]


class Started:
    """Counts the runs."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        return self.code


def test_a_cron_expression_says_when(options: TrainerSettings) -> None:
    weekly = options.model_copy(update={"cron": "30 3 * * mon"})
    monday = schedule.trigger(weekly).get_next_fire_time(None, datetime(2026, 11, 24, tzinfo=UTC))
    assert (monday.isoweekday(), monday.hour, monday.minute, monday.day) == (1, 3, 30, 30)


def test_a_bad_cron_expression_is_one_line(options: TrainerSettings) -> None:
    bad = options.model_copy(update={"cron": "every monday"})
    with pytest.raises(SettingsError, match=r"TRAINER_CRON: .*\(given: 'every monday'\)"):
        schedule.trigger(bad)


@pytest.mark.parametrize(("waiting", "runs"), [(999, 0), (1000, 1)])
def test_without_one_it_runs_when_enough_wait(
    options: TrainerSettings, waiting: int, runs: int
) -> None:
    start = Started()
    schedule.turn(options, lambda: waiting, start)
    assert start.count == runs


def test_by_the_clock_it_runs_whatever_waits(options: TrainerSettings) -> None:
    start = Started()
    weekly = options.model_copy(update={"cron": "0 3 * * 1"})
    assert schedule.turn(weekly, lambda: 0, start) == 0
    assert start.count == 1


def test_a_failed_run_and_a_silent_kafka_are_not_the_end(options: TrainerSettings) -> None:
    def silent() -> int:
        raise CollectError("Kafka does not answer")

    assert schedule.turn(options, lambda: 5000, Started(code=1)) == 1
    assert schedule.turn(options, silent, Started()) is None


def test_sigterm_ends_it_in_order(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "trainer", "schedule"],
        cwd=ROOT,
        env=os.environ | {"TRAINER_CRON": "0 3 * * 1", "TRAINER_WORK": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("schedule: cron")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
