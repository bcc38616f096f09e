"""A promotion reaches the running worker: under load, no event is lost, repeated or unversioned."""

import asyncio
import os
import subprocess
import sys
import threading
import urllib.request
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.process import free_port
from schemas.promotion import ModelPromotion
from tests.kafka import harness
from tests.kafka.conftest import cluster
from tests.kafka.harness import Cluster, FakeEngine, Input, eventually
from trainer import promote
from trainer.registry import Registry
from trainer.settings import TrainerSettings
from worker import promotions, registry
from worker.classifier import Classifier, ModelId
from worker.promotions import Loader, Promotions

__all__ = ["cluster"]  # a fixture

pytestmark = pytest.mark.kafka

PARTITIONS: Final = 3
OPEN: Final = 200  # messages that are sent and whose events were not seen: the load
SOME: Final = 300  # events: more than were open
SECONDS: Final = 60.0  # a busy machine takes its time
HOUR: Final = 3600.0
ROOT: Final = Path(__file__).resolve().parents[2]


def publish(
    model: Path, options: TrainerSettings, day: int, expected: str | None, *, spoilt: bool = False
) -> str:
    """Promote a version; a `spoilt` one is not what its hash says."""
    made_at = f"2026-11-{day:02}T04:00:00.000Z"
    stated = promote.state(model, options, made_at=made_at, metrics={})
    store = Registry(options.registry, options.name)
    with store.alone():
        store.versions.put(model, stated)
        if spoilt:
            (Path(options.registry) / "maum" / stated.version / "config.json").write_text("{}")
        moved = store.move(
            options.alias, stated.version, expected=expected, metrics={}, now=made_at
        )
    return moved.version


class Gate:
    """Where a thread waits until it is let on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self.open.wait(2 * SECONDS)


class SlowEngine(FakeEngine):
    """Its first batch, which is the canaries', takes until it is let on."""

    def __init__(self) -> None:
        super().__init__()
        self.warm = Gate()

    def run(self, prepared: Any) -> Any:  # noqa: ANN401
        self.warm.wait()
        return super().run(prepared)


def loader(engine: FakeEngine) -> Loader:
    """That engine under the promoted version's name; the files are fetched and checked."""

    def load(promotion: ModelPromotion) -> Classifier:
        found = registry.fetch(promotion)
        made = harness.classifier(engine)
        made.model = ModelId(found.model.name, found.model.version)
        return made

    return load


class Stream:
    """Messages, and their events as a read_committed subscriber sees them."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self.sent: list[str] = []
        self.seen: list[dict[str, Any]] = []
        self._consumer = consumer
        self._room = asyncio.Semaphore(OPEN)
        self._stopped = False

    async def send(self, producer: AIOKafkaProducer, topic: str) -> None:
        """As fast as the events come, until it is stopped."""
        for number in count():
            await self._room.acquire()
            if self._stopped:
                break
            await producer.send(topic, harness.chat(number), key=b"%d" % (number % 16))
            self.sent.append(f"m{number}")
        await producer.flush()

    def stop(self) -> None:
        self._stopped = True
        self._room.release()

    async def read(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._take()

    async def rest(self) -> None:
        """What is left, to the end of the topic: a repeat would be there, too."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        while any([await self._consumer.position(each) < end for each, end in ends.items()]):
            await self._take()

    async def more(self, events: int, task: asyncio.Task[None]) -> set[str]:
        """Wait for so many more; the versions that they have. Fails when `task` ends first."""
        before = len(self.seen)
        await eventually(lambda: len(self.seen) >= before + events, task, SECONDS)
        return {each["model"]["version"] for each in self.seen[before:]}

    async def _take(self) -> None:
        for records in (await self._consumer.getmany(timeout_ms=100)).values():
            for record in records:
                self.seen.append(orjson.loads(record.value))
                self._room.release()


async def test_a_promoted_model_serves_without_a_lost_or_a_repeated_event_and_nobody_waits(
    cluster: Cluster, tiny_model: Path, options: TrainerSettings
) -> None:
    """The old model serves while the new one is loaded and tried, and the swap waits for nothing,
    not even for the old one's batch. How long the longest pause is, `python -m bench.hot_swap`
    measures: 250 ms at most.
    """
    settings = cluster.settings()
    await cluster.create(settings, PARTITIONS)
    first = publish(tiny_model, options, 1, None)
    spec = f"registry:{options.registry}#champion"
    old, new, fetched, swapped = FakeEngine(), SlowEngine(), Gate(), asyncio.Event()

    def load(promotion: ModelPromotion) -> Classifier:
        made = loader(new)(promotion)
        fetched.wait()
        return made

    async with (
        AIOKafkaConsumer(
            settings.emotion_topic,
            **cluster.connection,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        ) as consumer,
        AIOKafkaProducer(bootstrap_servers=cluster.servers) as producer,
    ):
        stream = Stream(consumer)
        reading = asyncio.create_task(stream.read())
        async with cluster.worker(settings, old) as worker:
            await worker.ready()
            inference = worker.pipeline.inference
            inference.swap(loader(old)(registry.read_alias(spec)))

            def swap(classifier: Classifier) -> None:
                inference.swap(classifier)
                swapped.set()

            watcher = Promotions(spec, load, swap, worker.metrics, poll_seconds=0.1)
            watching = asyncio.create_task(watcher.run(registry.read_alias(spec).sha256))
            sending = asyncio.create_task(stream.send(producer, settings.input_topic))
            try:
                assert await stream.more(SOME, worker.task) == {first}
                second = await asyncio.to_thread(publish, tiny_model, options, 2, first)
                for slow in (fetched, new.warm):
                    await eventually(slow.reached.is_set, worker.task, SECONDS)
                    assert await stream.more(SOME, worker.task) == {first}
                    if slow is new.warm:
                        old.go_on.clear()  # it has a batch that does not end
                    slow.open.set()
                await asyncio.wait_for(swapped.wait(), SECONDS)
                old.go_on.set()
                assert second in await stream.more(
                    OPEN + SOME, worker.task
                )  # the old one owed OPEN
                await asyncio.to_thread(publish, tiny_model, options, 3, second, spoilt=True)
                refused = worker.metrics.model_refusals._value
                await eventually(lambda: refused.get() == 1, worker.task, SECONDS)
                await stream.more(SOME, worker.task)
            finally:
                for gate in (fetched, new.warm):
                    gate.open.set()
                stream.stop()
                watching.cancel()
            await asyncio.wait([watching])
            await sending
            await stream.more(len(stream.sent) - len(stream.seen), worker.task)
        reading.cancel()
        await asyncio.wait([reading])
        await stream.rest()
    assert_whole(stream, first, second)


def assert_whole(stream: Stream, first: str, second: str) -> None:
    """Each message has one event; in each partition the old version's come first, then the new."""
    assert sorted(each["message_id"] for each in stream.seen) == sorted(stream.sent)
    served = defaultdict(list)
    for event in stream.seen:
        served[event["source"]["partition"]].append(event)
    assert len(served) == PARTITIONS
    for events in served.values():
        offsets = [event["source"]["offset"] for event in events]
        assert offsets == sorted(offsets)
        versions = [event["model"]["version"] for event in events]
        old = versions.index(second)
        assert versions == [first] * old + [second] * (len(versions) - old)


async def test_a_record_on_the_models_topic_is_enough_for_a_running_worker(
    cluster: Cluster, tiny_model: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next look at the alias would be an hour away."""
    settings = cluster.settings()
    await cluster.create(settings, 1)
    first = publish(tiny_model, options, 1, None)
    spec = f"registry:{options.registry}#champion"
    listening = asyncio.Event()

    class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # untyped
        """Says when it hears what is published from now on."""

        async def seek_to_end(self, *partitions: Any) -> bool:  # noqa: ANN401
            sought = await super().seek_to_end(*partitions)
            listening.set()
            return bool(sought)

    monkeypatch.setattr(promotions, "AIOKafkaConsumer", Consumer)
    reading = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    async with (
        AIOKafkaConsumer(settings.emotion_topic, **cluster.connection, **reading) as consumer,
        cluster.worker(settings) as worker,
    ):
        await worker.ready()
        inference = worker.pipeline.inference
        load = loader(FakeEngine())
        inference.swap(load(registry.read_alias(spec)))
        watcher = Promotions(spec, load, inference.swap, worker.metrics, poll_seconds=HOUR)
        following = [
            asyncio.create_task(watcher.run(registry.read_alias(spec).sha256)),
            asyncio.create_task(watcher.listen(cluster.connection, settings.models_topic)),
        ]
        await asyncio.wait_for(listening.wait(), SECONDS)
        second = await asyncio.to_thread(publish, tiny_model, options, 2, first)
        promotion = registry.read_alias(spec)
        told = options.model_copy(update={"models_topic": settings.models_topic})
        versions = []
        for number, tell in enumerate((False, True)):
            if tell:
                await asyncio.to_thread(promote.announce, promotion, cluster.connection, told)
                await eventually(
                    lambda: inference.classifier.model.version == second, worker.task, SECONDS
                )
            await cluster.produce(settings.input_topic, [Input(harness.chat(number), b"k")])
            record = await asyncio.wait_for(consumer.getone(), SECONDS)
            versions.append(orjson.loads(record.value)["model"]["version"])
        for task in following:
            task.cancel()
        await asyncio.wait(following)
    assert versions == [first, second]


def serving(port: int) -> dict[str, str]:
    """What the admin port says of the model; nothing before there is one."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/model", timeout=2) as answer:
            found: dict[str, str] = orjson.loads(answer.read())
            return found
    except OSError:
        return {}


async def served(port: int, version: str, process: "subprocess.Popen[bytes]") -> dict[str, str]:
    """Wait until that version serves."""
    async with asyncio.timeout(SECONDS):
        while (found := await asyncio.to_thread(serving, port)).get("version") != version:
            assert process.poll() is None
            await asyncio.sleep(0.1)
    return found


async def test_the_command_serves_what_the_alias_of_its_registry_points_at(
    cluster: Cluster, tiny_model: Path, options: TrainerSettings
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    first = publish(tiny_model, options, 1, None)
    port = free_port()
    told = {
        "PYTHONPATH": str(ROOT),
        "WORKER_MODEL": f"registry:{options.registry}",  # of which the champion is meant
        "WORKER_MODEL_POLL_SECONDS": f"{HOUR:.0f}",
        "WORKER_PRECISION": "fp32",
        "WORKER_DEVICE": "cpu",
        "WORKER_THREADS": "1",
        "WORKER_ADMIN_PORT": str(port),
    }
    process = subprocess.Popen(  # noqa: ASYNC220  (it starts at once)
        [sys.executable, "-m", "worker", "run"],
        env=os.environ | cluster.environment(settings) | told,
        stderr=subprocess.DEVNULL,
    )
    try:
        before = await served(port, first, process)
        second = await asyncio.to_thread(publish, tiny_model, options, 2, first)
        promotion = Registry(options.registry, options.name).alias("champion")
        assert promotion is not None
        hearing = options.model_copy(update={"models_topic": settings.models_topic})

        async def announce() -> None:
            while True:  # it may not listen yet
                await asyncio.to_thread(promote.announce, promotion, cluster.connection, hearing)
                await asyncio.sleep(0.5)

        announcing = asyncio.create_task(announce())
        after = await served(port, second, process)
        announcing.cancel()
        assert after["since"] > before["since"]
        await cluster.produce(settings.input_topic, [Input(harness.chat(1), b"k")])
        reading = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
        async with AIOKafkaConsumer(
            settings.emotion_topic, **cluster.connection, **reading
        ) as consumer:
            record = await asyncio.wait_for(consumer.getone(), SECONDS)
        assert orjson.loads(record.value)["model"] == {"name": "maum", "version": second}
    finally:
        process.kill()
        process.wait()
