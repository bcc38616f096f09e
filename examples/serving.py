"""The real worker process of a demo: started, waited for, stopped in order."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from deploy.process import HOST, Process, tail
from examples.stack import DemoError

READY_SECONDS: Final = 120.0
STOP_SECONDS: Final = 30.0


@contextmanager
def worker(told: dict[str, str], log: Path) -> Iterator[Process]:
    """The real worker process, for the length of the block; then stopped in order."""
    command = [sys.executable, "-m", "worker", "run"]
    process = Process(command, log, environment=os.environ | told)
    try:
        yield process
    finally:
        process.end(signal.SIGTERM, STOP_SECONDS)


@contextmanager
def ready_worker(told: dict[str, str], log: Path) -> Iterator[None]:
    """The same, from when it is ready. Raises DemoError."""
    with worker(told, log) as process:
        wait_until_ready(process, told, log)
        yield


def check(process: Process, log: Path) -> None:
    """Raise DemoError, with the log's last lines, where the worker has ended."""
    if process.status is not None:
        raise DemoError(f"the worker ended, status {process.status}; {last_lines(log)}")


def wait_until_ready(process: Process, told: dict[str, str], log: Path) -> None:
    """Return when /ready says so. Raises DemoError."""
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(int(told["WORKER_ADMIN_PORT"])):
        check(process, log)
        if time.monotonic() > deadline:
            raise DemoError(f"no ready worker in {READY_SECONDS:.0f} s; {last_lines(log)}")
        time.sleep(0.1)


def last_lines(log: Path) -> str:
    """The end of the worker's log, to show."""
    return "\n".join(["its log ends:", *(f"  {line}" for line in tail(log).splitlines())])


def _is_ready(port: int) -> bool:
    asking = HTTPConnection(HOST, port, timeout=2)
    try:
        asking.request("GET", "/ready")
        return asking.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        asking.close()
