"""The verifier itself: workers that break the promise on purpose must be caught."""

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from tests.chaos.copier import unstable
from tests.kafka import verifier
from tests.kafka.harness import Cluster, Input, chat, eventually
from worker.codec import Output
from worker.committed import StableOffsetFetch
from worker.consumer import KafkaSource
from worker.publisher import Publisher, TransactionalPublisher


class Stall:
    """Holds a publisher up at its worst moment, as a long pause of the process would."""

    def __init__(self) -> None:
        self.on = False
        self.reached = asyncio.Event()
        self.over = asyncio.Event()
        self.running: list[asyncio.Task[None]] = []

    async def here(self) -> None:
        if self.on:
            self.reached.set()
            await self.over.wait()

    async def unheeding(self, task: "asyncio.Task[None]") -> None:
        """A paused process notices no cancellation."""
        self.running.append(task)
        await asyncio.shield(task)


class CommitFirst:
    """Broken: commits before it sends."""

    def __init__(self, cluster: Cluster, source: KafkaSource, stall: Stall) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=cluster.servers)
        self._source, self._stall = source, stall

    async def open(self, source: TopicPartition) -> None:  # noqa: ARG002
        await self._producer.start()

    async def publish(
        self, source: TopicPartition, outputs: Sequence[Output], next_offset: int
    ) -> None:
        await self._source.commit(source, next_offset)
        await self._stall.here()
        for output in outputs:
            await self._producer.send(
                output.topic, output.value, output.key, source.partition, headers=output.headers
            )
        await self._producer.flush()

    async def close(self, source: TopicPartition) -> None: ...

    async def stop(self) -> None:
        await self._producer.stop()


class Shared(CommitFirst):
    """Broken: one transactional producer for the whole worker, which nobody fences."""

    def __init__(self, cluster: Cluster, group: str, name: str, stall: Stall) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=cluster.servers, transactional_id=f"{cluster.name}-{name}"
        )
        self._group, self._stall = group, stall

    async def publish(
        self, source: TopicPartition, outputs: Sequence[Output], next_offset: int
    ) -> None:
        await self._stall.unheeding(
            asyncio.create_task(self._publish(source, outputs, next_offset))
        )

    async def _publish(
        self, source: TopicPartition, outputs: Sequence[Output], next_offset: int
    ) -> None:
        await self._producer.begin_transaction()
        for output in outputs:
            await self._producer.send(
                output.topic, output.value, output.key, source.partition, headers=output.headers
            )
        await self._producer.send_offsets_to_transaction(
            {source: OffsetAndMetadata(next_offset, "")}, self._group
        )
        await self._stall.here()
        await self._producer.commit_transaction()

    async def stop(self) -> None:
        if not self._stall.on:
            await self._producer.stop()

    async def end(self) -> None:
        await self._producer.stop()


class Stalled(TransactionalPublisher):
    """The real one, held up between its last word and its commit."""

    def __init__(self, cluster: Cluster, group: str, stall: Stall) -> None:
        super().__init__(cluster.connection, group, 30_000)
        self._stall = stall

    async def open(self, source: TopicPartition) -> None:
        await super().open(source)
        producer = self._producers[source]
        commit = producer.commit_transaction

        async def commit_late() -> None:
            await self._stall.here()
            await commit()

        producer.commit_transaction = commit_late

    async def publish(
        self, source: TopicPartition, outputs: Sequence[Output], next_offset: int
    ) -> None:
        await self._stall.unheeding(
            asyncio.create_task(super().publish(source, outputs, next_offset))
        )

    async def close(self, source: TopicPartition) -> None:
        if not self._stall.on:
            await super().close(source)

    async def end(self) -> None:
        self._stall.on = False
        await self.stop()


async def test_a_commit_before_the_results_is_caught_as_a_loss(cluster: Cluster) -> None:
    settings = cluster.settings(delivery="at_least_once")
    await cluster.create(settings, 1)
    stall = Stall()
    stall.on = True
    await cluster.produce(settings.input_topic, [Input(chat(number)) for number in range(20)])
    async with cluster.worker(
        settings, publisher=lambda source: CommitFirst(cluster, source, stall)
    ) as worker:
        await stall.reached.wait()
        await worker.crash()
    async with cluster.worker(settings):
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings)
    assert report.counts["lost"] > 0
    assert any("lost" in problem for problem in report.problems)


@pytest.mark.parametrize("sound", [False, True])
async def test_a_zombie_that_wakes_up_is_caught_unless_it_was_fenced(
    cluster: Cluster,
    sound: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not sound:  # nor waits for what is pending, which would hide the fault
        monkeypatch.setattr(StableOffsetFetch, "prepare", unstable)
    settings = cluster.settings()
    await cluster.create(settings, 1)
    stall = Stall()
    zombie: Stalled | Shared = (
        Stalled(cluster, settings.group_id, stall)
        if sound
        else Shared(cluster, settings.group_id, "one", stall)
    )

    def successor(source: KafkaSource) -> Publisher:
        if sound:
            return cluster.publisher(settings, source)
        return Shared(cluster, settings.group_id, "two", Stall())

    try:
        async with cluster.worker(settings, publisher=lambda _: zombie) as worker:
            await worker.ready()
            stall.on = True
            await cluster.produce(
                settings.input_topic, [Input(chat(number)) for number in range(20)]
            )
            await eventually(stall.reached.is_set, worker.task)
            await worker.crash()
        async with cluster.worker(settings, publisher=successor) as next_worker:
            await eventually(lambda: next_worker.count("event") == 20, next_worker.task)
            stall.over.set()
            results = await asyncio.gather(*stall.running, return_exceptions=True)
    finally:
        await zombie.end()
    await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings)
    if sound:
        assert any(isinstance(result, Exception) for result in results)
        assert report.problems == []
    else:
        assert report.counts["repeated"] > 0
        assert any("repeated" in problem for problem in report.problems)


async def test_settled_waits_for_the_outputs_that_a_reader_cannot_see_yet(cluster: Cluster) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    await cluster.produce(settings.input_topic, [Input(chat(0))])
    source = TopicPartition(settings.input_topic, 0)
    async with (
        AIOKafkaConsumer(
            bootstrap_servers=cluster.servers, group_id=settings.group_id, enable_auto_commit=False
        ) as consumer,
        AIOKafkaProducer(bootstrap_servers=cluster.servers, transactional_id=cluster.name) as late,
    ):
        consumer.assign([source])
        await consumer.commit({source: 1})
        await late.begin_transaction()
        await late.send_and_wait(settings.dead_letter_topic, b"late")
        with pytest.raises(TimeoutError, match=settings.dead_letter_topic):
            await verifier.settled(cluster.servers, settings, 1)
        await late.commit_transaction()
        await verifier.settled(cluster.servers, settings)
    assert len(await verifier.read(cluster.servers, settings.dead_letter_topic)) == 1


async def test_what_an_open_transaction_hides_is_a_problem(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "SETTLE_SECONDS", 0.1)
    settings = cluster.settings()
    await cluster.create(settings, 1)
    await cluster.produce(settings.input_topic, [Input(chat(0))])
    async with cluster.worker(settings):
        await verifier.settled(cluster.servers, settings)
    async with AIOKafkaProducer(
        bootstrap_servers=cluster.servers, transactional_id=cluster.name
    ) as late:
        await late.begin_transaction()
        await late.send_and_wait(settings.dead_letter_topic, b"late")
        report = await verifier.verify(cluster.servers, settings)
        await late.abort_transaction()
    assert report.problems == [f"{settings.dead_letter_topic} 0: shown up to 0 of 1"]
