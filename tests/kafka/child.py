"""A worker with the fake engine in a process of its own, to be killed: settings as usual."""

import asyncio
from time import monotonic

from tests.kafka.harness import FakeEngine, classifier
from worker import kafka, parts
from worker.consumer import KafkaSource
from worker.metrics import Metrics
from worker.pipeline import Pipeline
from worker.publisher import TransactionalPublisher
from worker.settings import KafkaSettings, WorkerSettings


async def main() -> None:
    connection, settings = kafka.connection(KafkaSettings()), WorkerSettings()
    metrics = Metrics()
    source = KafkaSource(connection, settings)
    source._consumer._rebalance_timeout_ms = 1000  # as in the harness
    publisher = TransactionalPublisher(
        connection, settings.group_id, settings.transaction_timeout_ms
    )
    inference = parts.inference(settings, classifier(FakeEngine(seconds=0.002)), metrics)
    await Pipeline(source, publisher, inference, settings, metrics, wall_clock=monotonic).run()


if __name__ == "__main__":
    asyncio.run(main())
