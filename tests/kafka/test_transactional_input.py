"""Input that is itself written in transactions: aborted ones are not read, and leave gaps."""

from aiokafka import AIOKafkaProducer

from tests.kafka import verifier
from tests.kafka.harness import Cluster, Input, chat, send


async def transaction(producer: AIOKafkaProducer, topic: str, start: int, *, abort: bool) -> None:
    await producer.begin_transaction()
    inputs = [Input(chat(number), partition=number % 2) for number in range(start, start + 20)]
    await send(producer, topic, inputs)
    if abort:
        await producer.abort_transaction()
    else:
        await producer.commit_transaction()


async def test_the_commit_steps_over_aborted_records_and_markers_at_the_end(
    cluster: Cluster,
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 2)
    topic = settings.input_topic
    async with AIOKafkaProducer(
        bootstrap_servers=cluster.servers, transactional_id=f"{cluster.name}-platform"
    ) as producer:
        for number, abort in enumerate((False, True, False, False, True, True)):
            await transaction(producer, topic, 20 * number, abort=abort)
        async with cluster.worker(settings) as worker:
            await verifier.settled(cluster.servers, settings)
            await transaction(producer, topic, 200, abort=True)  # and while it runs
            await verifier.settled(cluster.servers, settings)
            # By another producer: the embedded broker lists aborted transactions that ended before
            # the fetched offset, and the client then hides what the same producer wrote later.
            await cluster.produce(topic, [Input(chat(n), partition=n % 2) for n in range(20)])
            await verifier.settled(cluster.servers, settings)
            assert worker.count("gap") >= 2
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["event"] == 80


async def test_a_partition_of_aborted_records_alone_is_committed_to_its_end(
    cluster: Cluster,
) -> None:
    settings = cluster.settings(delivery="at_least_once")
    await cluster.create(settings, 2)
    async with AIOKafkaProducer(
        bootstrap_servers=cluster.servers, transactional_id=f"{cluster.name}-platform"
    ) as producer:
        await transaction(producer, settings.input_topic, 0, abort=True)
    async with cluster.worker(settings):
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    assert report.counts["input"] == 0
