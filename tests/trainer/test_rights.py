"""On a cluster with ACLs: the rights of docs/operations.md are enough; a missing one is a line."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from deploy.kafka.cluster import Cluster as Brokers
from tests.kafka.secured import GROUP, LITERAL, READ, TOPIC, WRITE, Right, allow, secured
from trainer import collect, promote
from trainer.broker import CollectError
from trainer.settings import TrainerSettings
from worker import kafka
from worker.metrics import Metrics
from worker.promotions import Promotions
from worker.settings import KafkaSettings

from .test_collect import a_promotion
from .topic import Topic, ids, sample

pytestmark = pytest.mark.apache

HOUR = 3600.0
SECONDS = 60.0


def rights(options: TrainerSettings) -> list[Right]:
    return [
        Right(TOPIC, options.review_topic, LITERAL, READ),
        Right(GROUP, options.group_id, LITERAL, READ),
        Right(TOPIC, options.models_topic, LITERAL, WRITE),
    ]


@pytest.fixture
def by_login(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, value in secured(brokers).items():
        monkeypatch.setenv(name, value)
    return kafka.connection(KafkaSettings())


def test_the_trainers_rights_of_the_docs_are_enough(topic: Topic, by_login: dict[str, Any]) -> None:
    topic.send([sample(number) for number in range(10)])
    asyncio.run(allow(topic.connection["bootstrap_servers"], rights(topic.options)))
    topic.connection = by_login
    assert len(ids(topic.snapshot())) == 10
    promote.announce(a_promotion(), by_login, topic.options)


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        (TOPIC, r"no such topic \(or no right to see it\)"),
        (GROUP, "consumer group .* TRAINER_GROUP_ID"),
    ],
)
def test_a_right_that_is_missing_is_one_line_and_nothing_is_consumed(
    topic: Topic, by_login: dict[str, Any], missing: int, line: str
) -> None:
    topic.send([sample(number) for number in range(10)])
    given = [right for right in rights(topic.options) if right.kind != missing]
    servers = topic.connection["bootstrap_servers"]
    asyncio.run(allow(servers, given))
    with pytest.raises(CollectError, match=line) as caught:
        collect.collect(by_login, topic.options, ())
    assert "\n" not in str(caught.value)
    asyncio.run(allow(servers, rights(topic.options)))
    assert len(ids(topic.snapshot())) == 10


def test_a_worker_hears_of_a_promotion_by_the_right_to_read_of_it(
    topic: Topic, by_login: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = topic.options.models_topic
    servers = topic.connection["bootstrap_servers"]
    heard = asyncio.Event()

    async def look(_: Promotions, serving: str) -> str:
        heard.set()
        return serving

    def nothing(_: object) -> Any:  # noqa: ANN401
        raise AssertionError

    monkeypatch.setattr(Promotions, "_look", look)

    async def work() -> None:
        watcher = Promotions("registry:none", nothing, nothing, Metrics(), poll_seconds=HOUR)
        async with (
            AIOKafkaProducer(bootstrap_servers=servers) as producer,
            asyncio.timeout(SECONDS),
        ):
            tasks = [
                asyncio.create_task(watcher.run("")),
                asyncio.create_task(watcher.listen(by_login, models)),
            ]
            while not heard.is_set():  # it listens from some moment on
                await producer.send_and_wait(models, b"{}")
                await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    asyncio.run(allow(servers, [Right(TOPIC, models, LITERAL, READ)]))
    asyncio.run(work())
