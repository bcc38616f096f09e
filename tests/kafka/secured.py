"""The cluster's listeners that ask for a login, and rights for whoever comes by them."""

from collections.abc import Sequence
from typing import NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest

from deploy.kafka.cluster import Cluster as Brokers
from deploy.kafka.node import PASSWORD

TOPIC, GROUP, TRANSACTIONAL_ID = 2, 3, 5  # resource types of Kafka's protocol
READ, WRITE, DESCRIBE = 3, 4, 8  # operations
LITERAL, PREFIXED = 3, 4
ALLOW = 3
USER = "worker"


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
    finally:
        await client.close()


def secured(brokers: Brokers) -> dict[str, str]:
    """The user's way in, as environment variables."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": brokers.secured_servers,
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": PASSWORD,
    }
