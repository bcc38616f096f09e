"""When the scheduler runs, and that a failed run is not its end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

import pytest
from apscheduler.triggers.base import BaseTrigger
from structlog.testing import capture_logs

from deploy.process import free_port
from trainer import history, schedule, stage
from trainer.backlog import Range
from trainer.broker import CollectError
from trainer.history import Run
from trainer.schedule import Runs, Turns
from trainer.settings import TrainerSettings
from trainer.snapshot import SAMPLES
from trainer.stage import Numbers
from worker import kafka
from worker.settings import KafkaSettings, SettingsError

from .commands import environment

ROOT = Path(__file__).resolve().parents[2]

T = TypeVar("T")


class Started:
    """Counts the runs."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        return self.code


class Topic:
    """What waits: each look finds the same until something comes, or is consumed."""

    def __init__(self, *spans: Range) -> None:
        self.spans = list(spans)

    def __call__(self) -> dict[int, Range]:
        return {number: span for number, span in enumerate(self.spans) if span[0] < span[1]}


def test_a_cron_expression_says_when(options: TrainerSettings) -> None:
    weekly = options.model_copy(update={"cron": "30 3 * * mon"})
    monday = schedule.trigger(weekly).get_next_fire_time(None, datetime(2026, 11, 24, tzinfo=UTC))
    assert (monday.isoweekday(), monday.hour, monday.minute, monday.day) == (1, 3, 30, 30)


@pytest.mark.parametrize(
    ("weekdays", "days"),
    [
        ("1", "1"),
        ("0", "7"),
        ("7", "7"),
        ("mon", "1"),
        ("1-5", "12345"),
        ("1,3", "13"),
        ("fri-SUN", "567"),
        ("5-7", "567"),
        ("1-5/2", "135"),
        ("*/2", "2467"),
        ("*", "1234567"),
    ],
)
def test_weekdays_are_those_of_a_crontab(
    options: TrainerSettings, weekdays: str, days: str
) -> None:
    when = schedule.trigger(options.model_copy(update={"cron": f"0 3 * * {weekdays}"}))
    fired, now = set(), datetime(2026, 11, 22, tzinfo=UTC)
    while (now := when.get_next_fire_time(None, now)) < datetime(2026, 11, 29, tzinfo=UTC):
        fired.add(now.isoweekday())
        now += timedelta(minutes=1)
    assert "".join(map(str, sorted(fired))) == days


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 3 13 * 5", [4, 11, 13, 18]),  # each Friday of December 2026, and the 13th, a Sunday
        ("0 3 13 * *", [13]),
        ("0 3 * * 5", [4, 11, 18]),
        ("0 3 */2 * 5", [11]),  # of the odd days the Fridays: a star is not a day
    ],
)
def test_a_day_and_a_weekday_are_either_as_in_a_crontab(
    options: TrainerSettings, cron: str, days: list[int]
) -> None:
    when = schedule.trigger(options.model_copy(update={"cron": cron}))
    fired, now = [], datetime(2026, 12, 1, tzinfo=UTC)
    while (now := when.get_next_fire_time(None, now)) < datetime(2026, 12, 20, tzinfo=UTC):
        fired.append(now.day)
        now += timedelta(minutes=1)
    assert fired == days


def test_the_clock_is_utc_wherever_the_trainer_stands(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    for cron in ("0 3 * * 1", None):
        assert schedule.trigger(options.model_copy(update={"cron": cron})).timezone is UTC


@pytest.mark.parametrize(
    "cron",
    [
        "every monday",
        "",
        "0 3 * * 8",
        "0 3 * * 5-1",
        "0 3 * * */0",
        "0 3 * * funday",
        "0 3 30 2 *",  # no year has that day
    ],
)
def test_a_bad_cron_expression_is_one_line(options: TrainerSettings, cron: str) -> None:
    bad = options.model_copy(update={"cron": cron})
    with pytest.raises(SettingsError) as caught:
        schedule.trigger(bad)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("TRAINER_CRON: ")
    assert mistake.endswith(f"(given: {cron!r})")
    assert "\n" not in mistake


@pytest.mark.parametrize(("waiting", "runs"), [(999, 0), (1000, 1)])
def test_without_one_it_runs_when_enough_wait(
    options: TrainerSettings, waiting: int, runs: int
) -> None:
    start = Started()
    Turns(options, Topic((0, waiting)), start)()
    assert start.count == runs


def test_what_a_run_found_too_little_in_is_not_run_for_again_until_something_comes(
    options: TrainerSettings,
) -> None:
    """Offsets are not samples: of a thousand each second may be a marker of a transaction."""
    topic, start = Topic((0, 600), (0, 600)), Started()
    turn = Turns(options, topic, start)
    turn()
    turn()
    assert start.count == 1
    topic.spans[0] = (0, 601)
    turn()
    turn()
    assert start.count == 2
    topic.spans[:] = [(601, 2000), (600, 600)]  # that run used up what there was
    turn()
    assert start.count == 3


def test_what_a_failed_run_left_is_run_for_again(options: TrainerSettings) -> None:
    start = Started(code=1)
    turn = Turns(options, Topic((0, 5000)), start)
    turn()
    turn()
    assert start.count == 2


def test_by_the_clock_it_runs_whatever_waits(options: TrainerSettings) -> None:
    start = Started()
    weekly = options.model_copy(update={"cron": "0 3 * * 1"})
    turn = Turns(weekly, Topic(), start)
    assert turn() == turn() == 0
    assert start.count == 2


def test_a_failed_run_and_a_silent_kafka_are_not_the_end(options: TrainerSettings) -> None:
    def silent() -> dict[int, Range]:
        raise CollectError("Kafka does not answer")

    assert Turns(options, Topic((0, 5000)), Started(code=1))() == 1
    assert Turns(options, silent, Started())() is None


def test_a_run_that_failed_after_collecting_is_gone_on_with(options: TrainerSettings) -> None:
    def make(folder: Path) -> Numbers:
        (folder / SAMPLES).write_bytes(b"")
        return {}

    snapshot = stage.run(options.work, "collect", {}, {}, make).folder.name
    start = Started()
    turn = Turns(options, Topic(), start)
    turn()
    assert start.count == 1
    done = Run(snapshots=[snapshot], selected="", student="", verdict="reject", version=None)
    history.add(options.work, done)
    turn()
    assert start.count == 1


def test_a_history_that_cannot_be_read_is_not_the_end(options: TrainerSettings) -> None:
    options.work.mkdir()
    (options.work / history.FILE).write_text("{")
    assert Turns(options, Topic((0, 5000)), Started())() is None


# A run that a signal ends long before: to sleep is all that it is for.
SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


def test_a_scheduler_that_was_stopped_while_it_looked_starts_no_run(
    options: TrainerSettings, tmp_path: Path
) -> None:
    stopped, mark = threading.Event(), tmp_path / "started"
    runs = Runs(stopped, (sys.executable, "-c", f"open({str(mark)!r}, 'w')"))

    def look() -> dict[int, Range]:
        stopped.set()
        return {0: (0, 5000)}

    with capture_logs() as logs:
        assert Turns(options, look, runs.start)() is None
    assert not mark.exists()
    assert [log for log in logs if log["log_level"] == "error"] == []


def test_a_run_that_is_stopped_in_order_did_not_fail(options: TrainerSettings) -> None:
    runs = Runs(threading.Event(), SLEEPER)
    found: list[int | None] = []
    turn = Turns(options, Topic((0, 5000)), runs.start)
    with capture_logs() as logs:
        thread = threading.Thread(target=lambda: found.append(turn()))
        thread.start()
        wait_for(lambda: runs._process)
        runs.end()
        thread.join(60)
    assert found == [None]
    assert [log for log in logs if log["log_level"] == "error"] == []


def test_a_run_that_somebody_else_ended_did_fail() -> None:
    code = f"import os; os.kill(os.getpid(), {signal.SIGTERM:d})"
    assert Runs(threading.Event(), (sys.executable, "-c", code)).start() == -signal.SIGTERM


def test_a_look_at_a_kafka_that_does_not_answer_ends_when_the_scheduler_does(
    options: TrainerSettings,
) -> None:
    nobody = kafka.connection(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    patient = options.model_copy(update={"kafka_seconds": 600.0})
    stopped = threading.Event()
    stopping = threading.Timer(0.5, stopped.set)
    stopping.start()
    began = monotonic()
    assert schedule.waiting(nobody, patient, stopped) is None
    assert monotonic() - began < 30


def test_a_kafka_that_is_not_there_is_one_line(options: TrainerSettings) -> None:
    servers = f"127.0.0.1:{free_port()}"
    nobody = kafka.connection(KafkaSettings(bootstrap_servers=servers))
    quick = options.model_copy(update={"kafka_seconds": 0.5})
    with pytest.raises(
        CollectError, match=f"Kafka at {servers} did not answer for 0.5 s"
    ) as caught:
        schedule.waiting(nobody, quick, threading.Event())
    assert "\n" not in str(caught.value)


def wait_for(what: Callable[[], T | None], seconds: float = 120.0) -> T:
    """What it finds at last."""
    deadline = monotonic() + seconds
    while not (found := what()):
        assert monotonic() < deadline
        sleep(0.1)
    return found


class Twice(BaseTrigger):  # type: ignore[misc]  # apscheduler is untyped
    """Due now, and a tenth of a second after the scheduler has seen that."""

    def __init__(self) -> None:
        self.first: datetime | None = None

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        if previous is None:
            self.first = now
            return now
        return now + timedelta(seconds=0.1) if previous == self.first else None


def test_a_turn_that_falls_due_while_a_run_is_at_work_comes_after_it() -> None:
    at_work, begun, go_on = [0], list[int](), threading.Semaphore(0)

    def turn() -> None:
        at_work[0] += 1
        begun.append(at_work[0])
        go_on.acquire(timeout=60)
        at_work[0] -= 1

    scheduler = schedule.one_at_a_time(turn, Twice())
    scheduler.start()
    try:
        wait_for(lambda: begun)
        wait_for(lambda: not scheduler.get_jobs())  # both fell due
        assert begun == [1]
        go_on.release()
        wait_for(lambda: len(begun) == 2)
        assert begun == [1, 1]
    finally:
        go_on.release()
        scheduler.shutdown()


def child_of(scheduler: int) -> int | None:
    """The number of the run that it started, if one is at work."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == str(scheduler):
                return int(process.name)
    return None


def test_it_starts_a_run_where_a_snapshot_waits_and_sigterm_ends_both(
    options: TrainerSettings,
) -> None:
    def make(folder: Path) -> Numbers:
        (folder / SAMPLES).write_bytes(b"")
        return {}

    stage.run(options.work, "collect", {}, {}, make)
    endless = options.model_copy(
        update={"poll_seconds": 1.0, "epochs": 100_000, "patience": 100_000}
    )
    with subprocess.Popen(
        [sys.executable, "-m", "trainer", "schedule"],
        cwd=ROOT,
        env=environment(endless),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            run = wait_for(lambda: child_of(process.pid))
            command = Path(f"/proc/{run}/cmdline")  # its parent's, for a moment
            wait_for(lambda: command.read_bytes().endswith(b"\0-m\0trainer\0run\0"))
            wait_for(lambda: [*(options.work / "teach").glob(".partial-*/checkpoints/*")])
            assert Path(f"/proc/{run}").exists()  # the same one: one at a time
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not Path(f"/proc/{run}").exists()


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
