"""The topics: created with sensible partitions and retention, and checked before a start."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import TopicAlreadyExistsError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from worker.kafka import KafkaProblemError
from worker.settings import WorkerSettings

DAY_MS: Final = 86_400_000
# A dead letter is the input's bytes and headers, a review sample its text and scores: both are
# larger than the record they come from, which may be as large as the broker takes.
ROOMY_BYTES: Final = 2_097_152
SAFE_REPLICATION: Final = 3
PARTITIONS: Final = 8
SPREAD_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be."""

    name: str
    partitions: int
    config: dict[str, str]


def wanted(settings: WorkerSettings, partitions: int) -> list[Topic]:
    """The five topics. Outputs have as many partitions as the input, so that keys stay together."""
    roomy = {"max.message.bytes": str(ROOMY_BYTES)}
    return [
        Topic(settings.input_topic, partitions, {"retention.ms": str(7 * DAY_MS)}),
        Topic(settings.emotion_topic, partitions, {"retention.ms": str(7 * DAY_MS)}),
        Topic(settings.review_topic, partitions, {"retention.ms": str(30 * DAY_MS), **roomy}),
        Topic(settings.dead_letter_topic, partitions, {"retention.ms": str(30 * DAY_MS), **roomy}),
        Topic(settings.models_topic, 1, {"cleanup.policy": "compact"}),
    ]


def absent(names: Collection[str]) -> str:
    """What to tell of topics that are missing."""
    return (
        f"no such topic (or no right to see it): {', '.join(names)}; "
        "`python -m worker topics` creates what is missing"
    )


async def partitions(connection: dict[str, Any], name: str) -> int | None:
    """How many partitions a topic has; None where it is not there. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**connection)
    await admin.start()
    try:
        described = await admin.describe_topics()  # of all: to ask for one by name might create it
    finally:
        await admin.close()
    return next((len(each["partitions"]) for each in described if each["topic"] == name), None)


async def create(
    connection: dict[str, Any], topics: list[Topic], replication: int
) -> list[tuple[str, bool]]:
    """Create what is missing; each name with whether it was made now.

    `replication` 0: three copies where there are three brokers, else as many as there are.
    Raises KafkaError, KafkaProblemError.
    """
    admin = AIOKafkaAdminClient(**connection)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        if not replication:
            cluster = await admin.describe_cluster()
            replication = min(3, len(cluster["brokers"]))
        # Else an output that its leader alone has seen counts as written, and goes with it.
        safe = {"min.insync.replicas": "2"} if replication >= SAFE_REPLICATION else {}
        missing = [
            NewTopic(each.name, each.partitions, replication, topic_configs=safe | each.config)
            for each in topics
            if each.name not in existing
        ]
        answers = (await admin.create_topics(missing)).topic_errors if missing else []
    finally:
        await admin.close()
    made = set()
    for name, code, *message in answers:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            detail = message[0] if message and message[0] else error.__name__
            raise KafkaProblemError(f"the topic {name} cannot be created: {detail}")
        if not code:
            made.add(name)
    if made:
        await _spread(connection, {topic.name for topic in topics})
    return [(topic.name, topic.name in made) for topic in topics]


async def _spread(connection: dict[str, Any], names: set[str]) -> None:
    """Wait until every broker knows the topics, and their leaders: creating returns before that.

    Raises KafkaProblemError after `SPREAD_SECONDS`.
    """
    client = AIOKafkaClient(**connection)
    await client.bootstrap()
    try:
        deadline = monotonic() + SPREAD_SECONDS
        for broker in client.cluster.brokers():
            while not await _knows(client, broker.nodeId, names):
                if monotonic() > deadline:
                    message = (
                        f"broker {broker.nodeId} did not hear of {', '.join(sorted(names))} in "
                        f"{SPREAD_SECONDS:g} s; is the cluster well?"
                    )
                    raise KafkaProblemError(message)
                await asyncio.sleep(0.05)
    finally:
        await client.close()


async def _knows(client: AIOKafkaClient, node: int, names: set[str]) -> bool:
    answer = await client.send(node, MetadataRequest(sorted(names)))
    known = {
        name
        for code, name, _, partitions in answer.topics
        if not code and all(not problem for problem, *_ in partitions)
    }
    return names <= known


async def missing(connection: dict[str, Any], names: list[str]) -> list[str]:
    """Which of `names` the cluster lacks (or hides from us). Creates none by asking."""
    admin = AIOKafkaAdminClient(**connection)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
    finally:
        await admin.close()
    return [name for name in names if name not in existing]
