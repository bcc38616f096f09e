"""What a subscriber notices of a promotion: events under a steady load while the worker swaps.

Broker and worker are processes of their own, the bundled model is promoted over itself under
another version, and a read_committed consumer notes when it sees each event.
`python -m bench.hot_swap`.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench import texts
from bench.classify import Row
from bench.tables import machine, table
from examples import serving, stack
from trainer import promote, publish
from trainer.registry import Registry
from trainer.settings import TrainerSettings
from worker.settings import BUNDLED_MODEL

ROUNDS: Final = 3
A_SECOND: Final = 50  # messages: what a busy machine can still keep up with
STEADY_SECONDS: Final = 8.0  # of load before the promotion, and after the swap
LOAD_SECONDS: Final = 180.0  # a busy machine takes its time to load a model
NEAR: Final = 2.0  # seconds around the first event of the new version
QUIET_SECONDS: Final = 5.0  # after the last event: a repeat would show


@dataclass(frozen=True, slots=True)
class Seen:
    """An event, and the moment at which it was seen."""

    at: float
    message: str
    version: str


def run(given: list[str], rounds: int) -> list[Row]:
    """A row a round, and one of all rounds."""
    with ExitStack() as started:
        folder = Path(started.enter_context(TemporaryDirectory(prefix="maum-swap-")))
        told, connection = started.enter_context(
            stack.following(folder, WORKER_MODEL_POLL_SECONDS="1")
        )
        options = TrainerSettings(registry=str(folder / "registry"))
        publish.publish(BUNDLED_MODEL, folder, options)
        versions = [version(folder / "model", options, day) for day in range(1, rounds + 2)]
        move(options, versions[0], None)
        started.enter_context(serving.ready_worker(told, folder / "worker.log"))
        rows = [
            asyncio.run(swap(connection, told, given, number, partial(move, options, new, old)))
            for number, (old, new) in enumerate(pairwise(versions), start=1)
        ]
    return [*rows, together(rows)]


def together(rows: Sequence[Row]) -> Row:
    """Of all rounds: counts are added up, and of gaps the longest is told."""
    made: Row = {"round": "all"}
    for name in list(rows[0])[1:]:
        cells = [row[name] for row in rows]
        gap = isinstance(cells[0], float)
        made[name] = max(map(float, cells)) if gap else str(sum(map(int, cells)))
    return made


def version(model: Path, options: TrainerSettings, day: int) -> str:
    """Put the model into the registry as made on that day; nothing points at it yet."""
    made_at = f"2026-01-{day:02}T00:00:00.000Z"
    stated = promote.state(model, options, made_at=made_at, metrics={})
    store = Registry(options.registry, options.name)
    with store.alone():
        store.versions.put(model, stated)
    return stated.version


def move(options: TrainerSettings, to: str, expected: str | None) -> str:
    """Point the alias at a version; which."""
    store = Registry(options.registry, options.name)
    with store.alone():
        now = "2026-01-31T00:00:00.000Z"
        return store.move(options.alias, to, expected=expected, metrics={}, now=now).version


async def swap(
    connection: dict[str, Any],
    told: dict[str, str],
    given: list[str],
    number: int,
    move_to: Callable[[], str],
) -> Row:
    """Send, promote in the middle, and judge what came; `move_to` says which version it was."""
    seen, sent, swapped = list[Seen](), list[str](), asyncio.Event()
    mark = f"r{number}-"
    async with AIOKafkaConsumer(
        told["WORKER_EMOTION_TOPIC"],
        **connection,
        isolation_level="read_committed",
        auto_offset_reset="latest",
    ) as consumer:
        await consumer.seek_to_end()
        reading = asyncio.create_task(read(consumer, mark, seen, swapped))
        sending = asyncio.create_task(
            send(connection, told["WORKER_INPUT_TOPIC"], given, sent, mark)
        )
        await asyncio.sleep(STEADY_SECONDS)
        new = await asyncio.to_thread(move_to)
        async with asyncio.timeout(LOAD_SECONDS):
            await swapped.wait()
        await asyncio.sleep(STEADY_SECONDS)
        sending.cancel()
        await asyncio.wait([sending])
        await asyncio.sleep(QUIET_SECONDS)
        reading.cancel()
        await asyncio.wait([reading])
    return row(number, len(sent), seen, new)


def row(number: int, sent: int, seen: list[Seen], new: str) -> Row:
    """What a subscriber would say of it."""
    times = Counter(each.message for each in seen)
    first = next(each.at for each in seen if each.version == new)
    gaps = [(after.at, after.at - before.at) for before, after in pairwise(seen)]
    near = [gap for at, gap in gaps if abs(at - first) <= NEAR]
    far = [gap for at, gap in gaps if abs(at - first) > NEAR]
    return {
        "round": str(number),
        "sent": str(sent),
        "lost": str(sent - len(times)),
        "repeated": str(sum(times.values()) - len(times)),
        "without a version": str(sum(not each.version for each in seen)),
        "longest gap near the swap, ms": 1000 * max(near),
        "longest gap else, ms": 1000 * max(far),
    }


async def send(
    connection: dict[str, Any], topic: str, given: list[str], sent: list[str], mark: str
) -> None:
    """At an even pace, until it is cancelled; the ids of what was sent go to `sent`.

    Leaving the producer waits until all of it was acknowledged.
    """
    clock = asyncio.get_running_loop().time
    async with AIOKafkaProducer(**connection, enable_idempotence=True) as producer:
        started = clock()
        for number in count():
            text = f"{given[number % len(given)]} {number}"
            value = json.dumps({"message_id": f"{mark}{number}", "text": text}).encode()
            await producer.send(topic, value, key=b"%d" % (number % 6))
            sent.append(f"{mark}{number}")
            await asyncio.sleep(max(0.0, started + number / A_SECOND - clock()))


async def read(
    consumer: AIOKafkaConsumer, mark: str, seen: list[Seen], swapped: asyncio.Event
) -> None:
    """Every event of this round, until it is cancelled; says when there is another version."""
    clock = asyncio.get_running_loop().time
    while True:
        for batch in (await consumer.getmany(timeout_ms=20)).values():
            for record in batch:
                event = json.loads(record.value)
                if event["message_id"].startswith(mark):
                    version = event["model"]["version"]
                    seen.append(Seen(clock(), event["message_id"], version))
                    if version != seen[0].version:
                        swapped.set()


def main() -> int:
    """Print the table."""
    rows = run(texts.compose(), ROUNDS)
    print(f"{machine()}; {A_SECOND} messages a second, the bundled model\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
