"""Where outputs go, and a transaction that the cluster never takes."""

import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError, UnknownTopicOrPartitionError
from aiokafka.producer.message_accumulator import BatchBuilder

from worker import kafka, sending
from worker.codec import Output
from worker.publisher import TransactionalPublisher
from worker.sending import LONGEST_KEPT

from .fakes import SOURCE


def kept() -> int:
    return sending._kept_hash.cache_info().currsize


def test_hashes_of_long_keys_are_not_kept() -> None:
    sending._kept_hash.cache_clear()
    for length in (LONGEST_KEPT, LONGEST_KEPT + 1, 1_000_000):
        key = b"k" * length
        assert sending.target(SOURCE, key, 7) == sending._hash(key) % 7
    assert kept() == 1


class Forgetful:
    """A producer whose cluster knows nothing of the partition that it asks for."""

    def __init__(self) -> None:
        self.begun = 0

    async def begin_transaction(self) -> None:
        self.begun += 1

    async def send_offsets_to_transaction(self, *_: object) -> None:
        await asyncio.Event().wait()


class Shrunk(Forgetful):
    """A producer that hears of the topic's fewer partitions between two questions."""

    def __init__(self) -> None:
        super().__init__()
        self.partitions = {0, 1, 2}

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(1_000, 0, is_transactional=False)

    async def partitions_for(self, _: str) -> set[int]:
        return self.partitions

    async def send_batch(self, _: BatchBuilder, topic: str, partition: int) -> None:
        self.partitions = {0}
        assert partition in await self.partitions_for(topic), "Unrecognized partition"


async def test_a_topic_that_loses_partitions_while_results_are_sent_is_met_anew() -> None:
    made = TransactionalPublisher({}, "group", transaction_timeout_ms=10_000)
    made._producers[SOURCE] = Shrunk()
    with pytest.raises(UnknownTopicOrPartitionError, match="has no partition 2 any more") as caught:
        await made.publish(SOURCE, [Output("chat.emotions", None, b"...", [])], 7)
    assert not isinstance(caught.value, kafka.FATAL)  # the lane begins anew


async def test_a_transaction_is_given_up_when_the_cluster_would_give_it_up() -> None:
    made = TransactionalPublisher({}, "group", transaction_timeout_ms=1)
    producer = Forgetful()
    made._producers[SOURCE] = producer
    with pytest.raises(KafkaTimeoutError, match=r"was not taken in 0\.001 s"):
        await made.publish(SOURCE, [], 7)
    assert producer.begun == 1
