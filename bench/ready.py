"""How long from the start of the worker until it is ready, with a warm disk."""

import asyncio
from contextlib import closing
from socket import socket
from statistics import median
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Final
from urllib.request import urlopen

from bench.classify import Row
from bench.stream import WORKER, opened, process
from deploy import broker

if TYPE_CHECKING:
    import subprocess

DEADLINE_SECONDS: Final = 60


def run(_: list[str], rounds: int) -> list[Row]:
    """A row a precision, bundled model; the first start, which fills the cache, does not count."""
    rows: list[Row] = []
    for precision in ("auto", "fp32"):
        with broker.running() as servers, opened(servers, "ready") as stream:
            asyncio.run(stream.create("run"))
            environment = stream.environment(
                "run", WORKER_PRECISION=precision, WORKER_ADMIN_PORT=f"{free_port()}"
            )
            seconds = [start(environment) for _ in range(rounds + 1)][1:]
        rows.append(
            {
                "bundled model": precision,
                "start to /ready, s": median(seconds),
                "slowest, s": max(seconds),
            }
        )
    return rows


def start(environment: dict[str, str]) -> float:
    """Seconds until /ready answers 200."""
    started = perf_counter()
    with process(WORKER, environment) as worker:
        until_ready(int(environment["WORKER_ADMIN_PORT"]), worker)
        return perf_counter() - started


def until_ready(port: int, worker: "subprocess.Popen[bytes]") -> None:
    """Wait for /ready. Raises RuntimeError where that does not come."""
    deadline = perf_counter() + DEADLINE_SECONDS
    while not answers(f"http://127.0.0.1:{port}/ready"):
        if perf_counter() > deadline or worker.poll() is not None:
            raise RuntimeError("the worker did not become ready")
        sleep(0.02)


def answers(url: str) -> bool:
    """Whether `url` answers 200."""
    try:
        with urlopen(url, timeout=1) as response:  # noqa: S310  (our own worker)
            return bool(response.status == 200)  # noqa: PLR2004
    except OSError:  # not there yet, or too busy to answer
        return False


def free_port() -> int:
    """A port that nobody listens on just now."""
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
