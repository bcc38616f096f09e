"""The matrix is for Apache Kafka; its parts are tried on any broker."""

from tests.kafka.conftest import servers

__all__ = ["servers"]
