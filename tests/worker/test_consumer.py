"""Where the log ends, though a partition has no leader."""

import asyncio
from collections.abc import Collection

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from worker import consumer
from worker.consumer import KafkaSource
from worker.settings import WorkerSettings

ALL = [TopicPartition("chat.messages", number) for number in range(4)]


class Consumer:
    """Answers when each partition that it is asked for has a leader."""

    def __init__(self, *leaderless: TopicPartition, error: Exception | None = None) -> None:
        self.leaderless = set(leaderless)
        self.error = error
        self.asked: list[list[TopicPartition]] = []

    async def end_offsets(
        self, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, int]:
        self.asked.append(list(partitions))
        if self.leaderless & set(partitions):
            if self.error:
                raise self.error
            await asyncio.Event().wait()
        return dict.fromkeys(partitions, 9)


async def source(fake: Consumer) -> KafkaSource:
    made = KafkaSource({"bootstrap_servers": "localhost:1"}, WorkerSettings(_env_file=None))
    await made._consumer.stop()
    made._consumer = fake
    return made


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "ENDS_SECONDS", 0.01)


async def test_all_ends_come_by_one_question() -> None:
    fake = Consumer()
    assert await (await source(fake)).ends(ALL) == dict.fromkeys(ALL, 9)
    assert fake.asked == [ALL]


@pytest.mark.parametrize("error", [None, TopicAuthorizationFailedError()])
async def test_one_without_a_leader_does_not_keep_the_others_back(error: Exception | None) -> None:
    found = await (await source(Consumer(ALL[1], error=error))).ends(ALL)
    assert found == dict.fromkeys([ALL[0], *ALL[2:]], 9)


async def test_where_none_tells_that_is_told() -> None:
    with pytest.raises(TimeoutError):
        await (await source(Consumer(*ALL))).ends(ALL)
    with pytest.raises(TopicAuthorizationFailedError):
        await (await source(Consumer(*ALL, error=TopicAuthorizationFailedError()))).ends(ALL)
