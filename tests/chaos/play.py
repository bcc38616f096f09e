"""Plays a cell: topics, workers, messages, faults; then counts."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Final

from aiokafka import AIOKafkaProducer

from deploy.kafka.cluster import Cluster as Brokers
from tests.chaos import feed
from tests.chaos.cells import Cell
from tests.chaos.feed import PARTITIONS
from tests.chaos.judge import Result, judge
from tests.chaos.scene import Scene
from tests.kafka import verifier
from tests.kafka.harness import Input, send

SETTLE_SECONDS: Final = 120.0
SHORT_SECONDS: Final = 12.0
TEXTS: Final = Path(__file__).parents[2] / "data" / "train.tsv"
TRANSACTION: Final = 50  # records
WHOLE: Final = 2 * TRANSACTION  # of every three transactions, two are committed
FILLERS: Final = 90
EVERYONE: Final = frozenset({"shared_producer", "batch_seconds"})  # what is wrong in all workers


async def play(
    brokers: Brokers,
    cell: Cell,
    messages: int,
    seed: str,
    *,
    short: bool = False,
    pace: float = 1.0,
) -> Result:
    """Run one cell with `messages` messages for a main cell. The same seed, the same faults.

    `short`: each fault of a cell that repeats its faults comes once, and messages for
    a third of the time, `SHORT_SECONDS` at most. `pace`: how many times as long those of a main
    cell take to come.
    """
    count = max(500, int(messages * cell.share) // WHOLE * WHOLE)
    seconds = cell.seconds * (pace if cell.main else 1.0)
    if short:
        seconds = min(seconds / 3, SHORT_SECONDS)
    scene = Scene(
        brokers, f"{seed} {cell.name}", dict(cell.settings), real=cell.input == "sentences"
    )
    scene.messages, scene.short = count, short
    result = Result(cell.name)
    began = monotonic()
    try:
        await scene.begin(compacted=cell.input == "compacted")
        await _run(scene, cell, count, seconds)
        await scene.finish(SETTLE_SECONDS)
        await judge(scene, cell, result)
    except TimeoutError as error:
        result.problems.append(f"not played to the end: {error} (logs: {scene.folder})")
    finally:
        result.messages = len(scene.sender.sent)
        await scene.close(keep=bool(result.problems))
    result.seconds = monotonic() - began
    return result


async def _run(scene: Scene, cell: Cell, count: int, seconds: float) -> None:
    """Messages stream while the faults happen; a compacted topic is filled before."""
    if cell.input == "compacted":
        await _fill_compacted(scene, count)
    sabotage = dict(cell.sabotage)
    if sabotage.get("do") == "wait":
        sabotage["flag"] = scene.folder / "flag"
    everyone = {name: given for name, given in sabotage.items() if name in EVERYONE}
    for number in range(cell.workers):
        scene.add(**(everyone if number else sabotage))
    await scene.ready()
    feeding = asyncio.create_task(_feed(scene, cell, count, seconds))
    try:
        await cell.faults(scene)
        scene.sender.waiting = False
        scene.sender.flowing.set()
        await feeding
    finally:
        feeding.cancel()


async def _feed(scene: Scene, cell: Cell, count: int, seconds: float) -> None:
    if cell.input == "compacted":
        return
    if cell.input == "transactional":
        await _feed_transactions(scene, count, seconds)
        return
    inputs: Iterator[Input] = feed.mixed(count, 0.25 if cell.input == "poison" else 0.01)
    if cell.input == "sentences":
        inputs = feed.sentences(count, _sentences())
    spread = (
        each._replace(partition=number % scene.partitions) for number, each in enumerate(inputs)
    )
    await scene.sender.stream(spread, count, seconds)


async def _feed_transactions(scene: Scene, count: int, seconds: float) -> None:
    """The platform writes in transactions itself, and aborts every third."""
    inputs = feed.mixed(count * 3 // 2)
    transactions = count * 3 // 2 // TRANSACTION
    began = monotonic()
    async with AIOKafkaProducer(
        bootstrap_servers=scene.brokers.bootstrap_servers,
        transactional_id=f"{scene.cluster.name}-platform",
    ) as producer:
        for number in range(transactions):
            await producer.begin_transaction()
            chunk = [each for _, each in zip(range(TRANSACTION), inputs, strict=False)]
            sent = await send(producer, scene.settings.input_topic, chunk)
            if number % 3 == 2:
                await producer.abort_transaction()
            else:
                await producer.commit_transaction()
                scene.sender.took(sent)
            # The schedule itself.
            await asyncio.sleep(max(0.0, began + number * seconds / transactions - monotonic()))


async def _fill_compacted(scene: Scene, count: int) -> None:
    """Keys that come again and again, and tombstones; wait until the cleaner has made holes."""
    scene.sender.waiting = False  # all of it is there before the faults
    keyed = (
        each._replace(key=f"user{number // PARTITIONS % (count // PARTITIONS // 3)}".encode())
        for number, each in enumerate(feed.mixed(count))
    )
    await scene.sender.stream(keyed, count, 5.0)
    deadline = monotonic() + 60
    while len(await verifier.read(scene.brokers.bootstrap_servers, scene.settings.input_topic)) > (
        count * 0.9
    ):
        if monotonic() > deadline:
            scene.problems.append("the topic was not compacted: nothing is proven")
            return
        # The cleaner takes closed segments only: one more record closes them, in its own time.
        fillers = (each._replace(key=b"filler") for each in feed.mixed(FILLERS))
        scene.messages += FILLERS
        await scene.sender.stream(fillers, FILLERS, 1.0)


@asynccontextmanager
async def cluster_for(cell: Cell, usual: Brokers) -> AsyncIterator[Brokers]:
    """The usual cluster, or one with the cell's settings."""
    if not cell.brokers:
        yield usual
        return
    own = Brokers(overrides=cell.brokers)
    try:
        await own.start()
        yield own
    finally:
        own.stop()


@cache
def _sentences() -> list[str]:
    lines = TEXTS.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t")[1] for line in lines]
