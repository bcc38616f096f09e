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
from collections.abc import Callable
from datetime import UTC
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from trainer import collect
from trainer.collect import CollectError
from trainer.dataset import DataError
from trainer.settings import TrainerSettings
from trainer.sources import Sources
from worker import kafka
from worker.settings import SettingsError

log = structlog.get_logger(__name__)

COMMAND: Final = (sys.executable, "-m", "trainer", "run")
WEEK: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAYS: Final = {str(place): place for place in range(8)} | {
    name: place for place, name in enumerate(WEEK[:7])
}
WEEKDAYS: Final = re.compile(r"(\w+)(?:-(\w+)(?:/([1-7]))?)?")


def trigger(options: TrainerSettings) -> Any:  # noqa: ANN401  (one of APScheduler's)
    """When to look: by the cron expression, or every so many seconds. Raises SettingsError."""
    if options.cron is None:
        return IntervalTrigger(seconds=options.poll_seconds, timezone=UTC)
    *others, weekdays = options.cron.split() or [""]
    try:
        return CronTrigger.from_crontab(" ".join([*others, named(weekdays)]), timezone=UTC)
    except ValueError as error:
        raise SettingsError([f"TRAINER_CRON: {error} (given: {options.cron!r})"]) from None


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


def waiting(connection: dict[str, Any], options: TrainerSettings) -> int:
    """Review samples that wait, at most. Raises CollectError."""

    async def count() -> int:
        async with asyncio.timeout(options.kafka_seconds):
            spans = await collect.look(connection, options)
        return sum(last - first for first, last in spans.values())

    try:
        return asyncio.run(count())
    except (KafkaError, TimeoutError) as error:
        told = kafka.line(error) if isinstance(error, KafkaError) else "Kafka does not answer"
        raise CollectError(told) from error


def turn(
    options: TrainerSettings, count: Callable[[], int], start: Callable[[], int]
) -> int | None:
    """Run if it is time: always by the cron expression, else when enough wait. The exit code.

    What a failed run consumed waits on no topic any more: its snapshot is enough for the next.
    """
    if options.cron is None:
        try:
            unused = Sources(options).snapshots
            found = 0 if unused else count()
        except (CollectError, DataError) as error:
            log.error("cannot look at what waits; trying again", reason=str(error))  # noqa: TRY400
            return None
        if not unused and found < options.min_samples:
            return None
        log.info("enough waits for a run", samples=found, snapshots=len(unused))
    code = start()
    if code:
        log.error("the run failed; the next one goes on from there", exit_code=code)
    return code


def serve(options: TrainerSettings, connection: dict[str, Any]) -> int:
    """Run at each turn until SIGTERM or SIGINT. Raises SettingsError for a bad expression."""
    when = trigger(options)
    running: list[subprocess.Popen[bytes]] = []

    def start() -> int:
        running[:] = [subprocess.Popen(COMMAND)]  # noqa: S603  (our own command)
        return running[0].wait()

    stopped = threading.Event()
    scheduler = BackgroundScheduler(timezone=UTC)
    # One at a time; what was missed meanwhile is made up for once.
    scheduler.add_job(
        lambda: turn(options, lambda: waiting(connection, options), start),
        when,
        max_instances=1,
        coalesce=True,
        misfire_grace_time=None,
    )

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    scheduler.start()
    print(f"schedule: {when}", flush=True)  # noqa: T201  (the command's answer)
    stopped.wait()
    # The run can be cut off anywhere: its stages go on where they were.
    for each in running:
        each.terminate()
    scheduler.shutdown()
    return 0
