"""Workers that share a GPU, through the broker, exactly once: what the second and the fourth add.

One process is bounded by its Python long before a large card is, so several share it, each with a
part of the partitions.
"""

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from bench.classify import CannotRunError, Row, base_shape
from bench.ready import free_port, until_ready
from bench.stream import WORKER, Stream, distinct, opened, process, rate
from deploy import broker
from worker.settings import BUNDLED_MODEL

MESSAGES: Final = 20_000
WORKERS: Final = (1, 2, 4)
PARTITIONS: Final = 8


def run(texts: list[str], rounds: int) -> list[Row]:
    """A row a model. Raises CannotRunError."""
    import torch  # noqa: PLC0415  (lazy: --help need not wait)

    if not torch.cuda.is_available():
        raise CannotRunError("gpu_workers: torch sees no CUDA device here; nothing was measured")
    messages, name = distinct(texts, MESSAGES), torch.cuda.get_device_name()
    with tempfile.TemporaryDirectory() as folder:
        base = base_shape(Path(folder))
        return [
            compare("bundled model, bf16", BUNDLED_MODEL, messages, rounds) | {"device": name},
            compare("RoBERTa-base shape, bf16", base, messages, rounds) | {"device": name},
        ]


def compare(name: str, folder: Path, messages: list[bytes], rounds: int) -> Row:
    """Every number of workers in turn, on a new broker each round, every message distinct."""
    rates: dict[int, list[float]] = {count: [] for count in WORKERS}
    for _ in range(rounds):
        with broker.running() as servers:
            for count in WORKERS:
                with opened(servers, f"gpu.{count}", PARTITIONS) as stream:
                    rates[count].append(asyncio.run(through_kafka(stream, folder, messages, count)))
    row: Row = {f"exactly once, {PARTITIONS} partitions, backlog": name}
    for count in WORKERS:
        row[f"{count} worker{'s' * (count > 1)}, msg/s"] = median(rates[count])
    many = zip(rates[WORKERS[-1]], rates[1], strict=True)
    return row | {f"{WORKERS[-1]} over one": median(most / one for most, one in many)}


async def through_kafka(stream: Stream, folder: Path, messages: list[bytes], count: int) -> float:
    """Messages a second of `count` workers, from the first that is sent to the last commit."""
    await stream.create("run")
    with ExitStack() as stack:
        workers, ports = [], []
        for _ in range(count):
            ports.append(free_port())
            environment = stream.environment(
                "run",
                WORKER_CACHE_ENTRIES="0",
                WORKER_ADMIN_PORT=f"{ports[-1]}",
                WORKER_MODEL=str(folder),
                WORKER_DEVICE="cuda",
                WORKER_PRECISION="bf16",
            )
            workers.append(stack.enter_context(process(WORKER, environment)))
        for port, worker in zip(ports, workers, strict=True):
            await asyncio.to_thread(until_ready, port, worker)
        started = perf_counter()
        await stream.fill(messages)
        group = stream.settings("run").group_id
        return (await rate(stream.servers, group, len(messages), workers[0], started)).rate
