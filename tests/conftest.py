"""`--apache`: on three brokers of Apache Kafka, the fault matrix as well."""

import asyncio
from collections.abc import Iterator

import pytest

from deploy.kafka.cluster import Cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--apache", action="store_true", help="on Apache Kafka, from its jars")
    parser.addoption("--seed", default=None, help="of the fault matrix: the same faults again")


@pytest.fixture(scope="session")
def apache(request: pytest.FixtureRequest) -> Iterator[Cluster | None]:
    """The cluster, where it is asked for."""
    if not request.config.getoption("--apache"):
        yield None
        return
    cluster = Cluster()
    try:
        asyncio.run(cluster.start())
        yield cluster
    finally:
        cluster.stop()
