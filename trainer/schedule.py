"""Runs at the times of `TRAINER_CRON`, or when enough review samples or a failed run wait.

Each run is a process of its own: what it leaves in memory goes with it, and its end, however bad,
is not the scheduler's.
"""

import asyncio
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from trainer import backlog
from trainer.backlog import Range
from trainer.broker import CollectError
from trainer.settings import TrainerSettings
from trainer.sources import Sources
from trainer.tables import DataError
from worker import kafka, reach
from worker.kafka import KafkaProblemError
from worker.settings import SettingsError

log = structlog.get_logger(__name__)

COMMAND: Final = (sys.executable, "-m", "trainer", "run")
STOP_SECONDS: Final = 0.2  # a look at Kafka that is to stop goes on for, at most
FIELDS: Final = 5
WEEK: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAYS: Final = {str(place): place for place in range(8)} | {
    name: place for place, name in enumerate(WEEK[:7])
}
WEEKDAYS: Final = re.compile(r"(\w+)(?:-(\w+)(?:/([1-7]))?)?")


def trigger(options: TrainerSettings) -> Any:  # noqa: ANN401  (one of APScheduler's)
    """When to look: by the cron expression, or every so many seconds. Raises SettingsError."""
    if options.cron is None:
        return IntervalTrigger(seconds=options.poll_seconds, timezone=UTC)
    given = f"(given: {options.cron!r})"
    try:
        when = _crontab(options.cron)
    except ValueError as error:
        raise SettingsError([f"TRAINER_CRON: {error} {given}"]) from None
    if when.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise SettingsError([f"TRAINER_CRON: no year has such a day, it would never run {given}"])
    return when


def _crontab(expression: str) -> Any:  # noqa: ANN401  (as above)
    """Where day and weekday are both given, either will do. Raises ValueError."""
    *others, weekdays = expression.split() or [""]
    fields = [*others, named(weekdays)]
    if len(fields) != FIELDS or others[2].startswith("*") or weekdays.startswith("*"):
        return CronTrigger.from_crontab(" ".join(fields), timezone=UTC)
    minute, hour, day, month, weekday = fields
    either = ((day, "*"), ("*", weekday))
    return OrTrigger(
        [
            CronTrigger.from_crontab(f"{minute} {hour} {one} {month} {other}", timezone=UTC)
            for one, other in either
        ]
    )


def named(weekdays: str) -> str:
    """The weekdays of a crontab by name (pure). Raises ValueError.

    APScheduler 3 counts from Monday, and crontab from Sunday, which is 0 and 7.
    """
    found: list[str] = []
    for part in weekdays.lower().split(","):
        matched = WEEKDAYS.fullmatch(part.replace("*", "0-6"))
        first, last, step = matched.groups() if matched else ("", None, None)
        start, end = DAYS.get(first), DAYS.get(last or first)
        if end == 0 and last:
            end = 7  # fri-sun
        if start is None or end is None or start > end:
            raise ValueError(f"{part!r} is no weekday")
        found += WEEK[start : end + 1 : int(step or 1)]
    return ",".join(dict.fromkeys(found))


def waiting(
    connection: dict[str, Any], options: TrainerSettings, stopped: threading.Event
) -> dict[int, Range] | None:
    """The offsets that no run has read; None if it is `stopped` meanwhile. Raises CollectError."""

    async def look() -> dict[int, Range] | None:
        asked = asyncio.ensure_future(
            reach.retrying(
                lambda: backlog.look(connection, options), options.kafka_seconds, connection
            )
        )
        while not asked.done() and not stopped.is_set():
            await asyncio.wait({asked}, timeout=STOP_SECONDS)
        if asked.done():
            return asked.result()
        asked.cancel()
        await asyncio.wait({asked})
        return None

    try:
        return asyncio.run(look())
    except (KafkaError, KafkaProblemError) as error:
        raise CollectError(kafka.line(error)) from error


class Turns:
    """Each call is a turn: a run, if it is time for one."""

    def __init__(
        self,
        options: TrainerSettings,
        look: Callable[[], dict[int, Range] | None],
        start: Callable[[], int | None],
    ) -> None:
        """`look` gives the offsets that wait, `start` an exit code; None where they are stopped."""
        self._options = options
        self._look = look
        self._start = start
        self._left: dict[int, Range] = {}  # what the last run left: it found too little in it

    def __call__(self) -> int | None:
        """Run if it is time: always by the cron expression, else when enough wait. The exit code.

        What a failed run consumed waits on no topic any more: its snapshot is enough for the next.
        """
        if self._options.cron is not None:
            return self._run()
        try:
            unused = Sources(self._options).snapshots
            found = {} if unused else self._look()
        except (CollectError, DataError) as error:
            log.error("cannot look at what waits; trying again", reason=str(error))  # noqa: TRY400
            return None
        if found is None or (not unused and not self._enough(found)):
            return None
        log.info("time for a run", samples_at_most=backlog.count(found), snapshots=len(unused))
        code = self._run()
        self._left = found if code == 0 else {}
        return code

    def _enough(self, found: dict[int, Range]) -> bool:
        """Whether so much waits as a run needs, and the last one did not see the same.

        Not every offset is a sample: there are markers of transactions, aborted records, repeats.
        """
        return backlog.count(found) >= self._options.min_samples and found != self._left

    def _run(self) -> int | None:
        code = self._start()
        if code:
            log.error("the run failed; the next one goes on from there", exit_code=code)
        return code


class Runs:
    """Runs, one at a time, each a process; none is left, and none begins, after `end`."""

    def __init__(self, stopped: threading.Event, command: Sequence[str] = COMMAND) -> None:
        self._stopped = stopped
        self._command = command
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> int | None:
        """One run; its exit code, or None where it was stopped, or not begun."""
        with self._starting:
            if self._stopped.is_set():
                return None
            process = self._process = subprocess.Popen(self._command)  # noqa: S603  (our own)
        code = process.wait()
        return None if self._stopped.is_set() else code

    def end(self) -> None:
        """End the run that is at work. It can be cut off anywhere: its stages go on from there."""
        self._stopped.set()
        with self._starting:
            if self._process is not None:
                self._process.terminate()


def one_at_a_time(turn: Callable[[], object], when: BaseTrigger) -> BackgroundScheduler:
    """A scheduler of turns. One that falls due in another waits for its end; more are missed."""
    scheduler = BackgroundScheduler(executors={"default": ThreadPoolExecutor(1)}, timezone=UTC)
    scheduler.add_job(turn, when, max_instances=2, coalesce=True, misfire_grace_time=None)
    return scheduler


def serve(options: TrainerSettings, connection: dict[str, Any]) -> int:
    """Run at each turn until SIGTERM or SIGINT. Raises SettingsError for a bad expression."""
    when = trigger(options)
    stopped = threading.Event()
    runs = Runs(stopped)
    scheduler = one_at_a_time(
        Turns(options, lambda: waiting(connection, options, stopped), runs.start), when
    )

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    scheduler.start()
    print(f"schedule: {when}", flush=True)  # noqa: T201  (the command's answer)
    stopped.wait()
    runs.end()
    scheduler.shutdown()
    return 0
