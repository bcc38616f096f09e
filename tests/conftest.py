"""`--apache`: on three brokers of Apache Kafka, the fault matrix as well."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import settings

from deploy import broker
from deploy.kafka import cluster
from deploy.kafka.cluster import Cluster

settings.register_profile("maum", deadline=None)  # how long an example takes is the machine's say
settings.load_profile("maum")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--apache", action="store_true", help="on Apache Kafka, from its jars")
    parser.addoption("--seed", default=None, help="of the fault matrix: the same faults again")


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command sets logging up for its process, which goes on here, with other tests."""
    configure = structlog.configure

    def for_a_while(**given: Any) -> None:  # noqa: ANN401  (structlog's own)
        configure(**given | {"cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", for_a_while)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def apache(request: pytest.FixtureRequest) -> Iterator[Cluster | None]:
    """The cluster, where it is asked for."""
    if not request.config.getoption("--apache"):
        yield None
        return
    with cluster.running() as running:
        yield running


@pytest.fixture
def brokers(apache: Cluster | None) -> Cluster:
    """The cluster, for what no other broker does."""
    assert apache is not None, "run it by `make test-kafka` or `make test-kafka-trainer`"
    return apache


@pytest.fixture(scope="session")
def servers(apache: Cluster | None) -> Iterator[str]:
    """One broker for all tests, or the cluster: each test has topics and a group of its own."""
    if apache is not None:
        yield apache.bootstrap_servers
        return
    with broker.running() as bootstrap_servers:
        yield bootstrap_servers
