"""A promotion reaches the running worker: under load, no event is lost, repeated or unversioned."""

import asyncio
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.promotion import ModelPromotion
from tests.kafka import harness
from tests.kafka.conftest import cluster, servers
from tests.kafka.harness import Cluster, Input
from trainer import promote
from trainer.registry import Registry
from trainer.settings import TrainerSettings
from worker import registry
from worker.classifier import Classifier, ModelId
from worker.promotions import Promotions

__all__ = ["cluster", "servers"]  # fixtures

pytestmark = pytest.mark.kafka

MESSAGES = 4000
PER_SECOND = 500
LONGEST_GAP = 0.25  # seconds
NEAR_SECONDS = 0.5  # of the swap


def publish(
    model: Path, options: TrainerSettings, day: int, expected: str | None, *, spoilt: bool = False
) -> str:
    """Promote a version; a `spoilt` one is not what its hash says."""
    made_at = f"2026-11-{day:02}T04:00:00.000Z"
    stated = promote.state(model, options, made_at=made_at, metrics={})
    store = Registry(options.registry, options.name)
    with store.alone():
        store.put(model, stated)
        if spoilt:
            (Path(options.registry) / "maum" / stated.version / "config.json").write_text("{}")
        moved = store.move(
            options.alias, stated.version, expected=expected, metrics={}, now=made_at
        )
    return moved.version


def load(promotion: ModelPromotion) -> Classifier:
    """An instant engine under the promoted version's name; the files are fetched and checked."""
    found = registry.fetch(promotion)
    made = harness.classifier(harness.FakeEngine())
    made.model = ModelId(found.model.name, found.model.version)
    return made


async def send(cluster: Cluster, topic: str) -> None:
    """At an even pace, in tenths of a second."""
    step = PER_SECOND // 10
    async with AIOKafkaProducer(bootstrap_servers=cluster.servers) as producer:
        for first in range(0, MESSAGES, step):
            values = [harness.chat(number) for number in range(first, first + step)]
            await harness.send(producer, topic, [Input(value, b"k") for value in values])
            await asyncio.sleep(0.1)


async def read(cluster: Cluster, topic: str, count: int) -> list[tuple[float, dict[str, object]]]:
    """Events with the moment at which a read_committed reader saw them."""
    found: list[tuple[float, dict[str, object]]] = []
    reading = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    loop = asyncio.get_running_loop()
    async with AIOKafkaConsumer(topic, **cluster.connection, **reading) as consumer:
        quiet = 0
        while quiet < 10:  # a second more than needed: a repeat would show
            batch = await consumer.getmany(timeout_ms=100)
            seen = [record for records in batch.values() for record in records]
            found += [(loop.time(), orjson.loads(record.value)) for record in seen]
            quiet = quiet + 1 if len(found) >= count and not seen else 0
    return found


async def test_a_promoted_model_serves_without_a_lost_a_repeated_or_a_late_event(
    cluster: Cluster, tiny_model: Path, options: TrainerSettings
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    first = publish(tiny_model, options, 1, None)
    spec = f"registry:{options.registry}#champion"
    async with cluster.worker(settings) as worker:
        await worker.ready()
        inference = worker.pipeline.inference
        inference.swap(load(registry.read_alias(spec)))
        watcher = Promotions(spec, load, inference.swap, worker.metrics, poll_seconds=0.1)
        watching = asyncio.create_task(watcher.run(registry.read_alias(spec).sha256))
        reading = asyncio.create_task(read(cluster, settings.emotion_topic, MESSAGES))
        sending = asyncio.create_task(send(cluster, settings.input_topic))
        await asyncio.sleep(2)
        second = await asyncio.to_thread(publish, tiny_model, options, 2, first)
        await asyncio.sleep(2)
        await asyncio.to_thread(publish, tiny_model, options, 3, second, spoilt=True)
        await sending
        found = await reading
        watching.cancel()
    ids = [event["message_id"] for _, event in found]
    assert sorted(map(str, ids)) == sorted(f"m{number}" for number in range(MESSAGES))
    versions = [str(event["model"]["version"]) for _, event in found]  # type: ignore[index]
    assert set(versions) == {first, second}
    assert worker.metrics.model_refusals._value.get() == 1
    swapped = found[versions.index(second)][0]
    gaps = [(now, now - before) for (before, _), (now, _) in pairwise(found)]
    near = [gap for now, gap in gaps if abs(now - swapped) < NEAR_SECONDS]
    # What a busy machine does to every gap, it does to those of the swap as well.
    usual = max(gap for now, gap in gaps if abs(now - swapped) >= NEAR_SECONDS)
    assert max(near) < max(LONGEST_GAP, 2 * usual)
