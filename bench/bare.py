"""The peer of `bench/overhead.py`: a bare consume → produce loop, as anybody would write it."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from worker import pacing


async def loop(servers: str, source: str, target: str, group: str, delivery: str) -> None:
    """Copy `source` to `target` until killed: exactly once, or at least once."""
    pacing.install()  # as the worker
    transactional = delivery == "exactly_once"
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        transactional_id=group if transactional else None,
        enable_idempotence=True,
        max_batch_size=262_144,
    )
    async with consumer, producer:
        while True:
            fetched = await consumer.getmany(timeout_ms=200, max_records=2000)
            offsets = {where: records[-1].offset + 1 for where, records in fetched.items()}
            if not offsets:
                continue
            if transactional:
                await producer.begin_transaction()
            for where, records in fetched.items():
                for record in records:
                    await producer.send(target, record.value, record.key, where.partition)
            if transactional:
                await producer.send_offsets_to_transaction(offsets, group)
                await producer.commit_transaction()
            else:
                await producer.flush()
                await consumer.commit(offsets)


if __name__ == "__main__":
    asyncio.run(loop(*sys.argv[1:6]))
