"""The cluster's listeners that ask for a login, and rights for whoever comes by them."""

import asyncio
from collections.abc import Sequence
from itertools import product
from typing import Final, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from deploy.kafka.cluster import Cluster as Brokers
from deploy.kafka.node import PASSWORD

TOPIC, GROUP, TRANSACTIONAL_ID = 2, 3, 5  # resource types of Kafka's protocol
READ, WRITE, DESCRIBE = 3, 4, 8  # operations
LITERAL, PREFIXED = 3, 4
ALLOW = 3
USER = "worker"
SPREAD_SECONDS: Final = 10.0


class Right(NamedTuple):
    """What the user may do, and to what."""

    kind: int
    name: str
    pattern: int
    operation: int


async def allow(servers: str, rights: Sequence[Right]) -> None:
    """Give the user `rights`, by listeners that are open to all."""
    client = AIOKafkaClient(bootstrap_servers=servers)
    await client.bootstrap()
    try:
        for right in rights:
            request = CreateAclsRequest(
                right.kind, right.name, right.pattern, f"User:{USER}", "*", right.operation, ALLOW
            )
            answer = await client.send(client.get_random_node(), request)
            assert not answer.creation_responses[0][0], answer
        for right, broker in product(rights, client.cluster.brokers()):
            async with asyncio.timeout(SPREAD_SECONDS):
                while not await _knows(client, broker.nodeId, right):  # noqa: ASYNC110  (brokers hear of it one by one)
                    await asyncio.sleep(0.05)
    finally:
        await client.close()


async def _knows(client: AIOKafkaClient, node: int, right: Right) -> bool:
    asked = DescribeAclsRequest(
        right.kind, right.name, right.pattern, f"User:{USER}", "*", right.operation, ALLOW
    )
    answer = await client.send(node, asked)
    assert not answer.error_code, answer
    return bool(answer.resources)


def secured(brokers: Brokers) -> dict[str, str]:
    """The user's way in, as environment variables."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": brokers.secured_servers,
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": PASSWORD,
    }
