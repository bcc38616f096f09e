"""Every test here needs a broker, and has topics and a group of its own on it."""

import os

import pytest

from tests.kafka.harness import Cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "kafka":
            item.add_marker(pytest.mark.kafka)


@pytest.fixture
def cluster(servers: str, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Random names on the broker; no settings from outside."""
    for name in list(os.environ):
        if name.startswith(("WORKER_", "KAFKA_")):
            monkeypatch.delenv(name)
    return Cluster(servers)
