"""Traces by OpenTelemetry, for whoever asks for them; the others pay next to nothing.

A span a transaction, and one a message that comes with a sampled trace: a span for every message
would cost more than the message. Without traces it is a call a transaction, and a call a poll.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

import structlog
from aiokafka import TopicPartition

from worker.codec import Record
from worker.engines import Tokens
from worker.inference import Job
from worker.settings import SettingsError

log = structlog.get_logger(__name__)

# Any of these asks for traces; the SDK reads them, and all others of its own, by itself.
ASKING: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
)
EXPORTERS: Final = ("otlp", "console")
PROTOCOLS: Final = ("grpc", "http/protobuf")


class Named(Protocol):
    """A chat message, as far as traces may know it: never its text."""

    @property
    def message_id(self) -> str:
        """The platform's."""


class Message(Job, Protocol):
    """A job that came of a record."""

    @property
    def record(self) -> Record:
        """Where it came from, with its headers."""

    @property
    def chat(self) -> Named:
        """What it says of itself."""


class Traces(Protocol):
    """What the worker tells of itself."""

    def classify(self, jobs: Sequence[tuple[Message, Tokens]]) -> Sequence[tuple[Job, Tokens]]:
        """The jobs, each with a span until its verdict where its record has a sampled trace."""

    def transaction(
        self, source: TopicPartition, first: int, next_offset: int, records: int
    ) -> AbstractContextManager[None]:
        """A span around the publishing of `records` records from offset `first` on."""

    async def stop(self) -> None:
        """Send what is left, within seconds."""


class NoTraces:
    """Nobody asked."""

    _nothing: Final = nullcontext()

    def classify(self, jobs: Sequence[tuple[Message, Tokens]]) -> Sequence[tuple[Job, Tokens]]:
        """The jobs as they are."""
        return jobs

    def transaction(
        self,
        source: TopicPartition,  # noqa: ARG002
        first: int,  # noqa: ARG002
        next_offset: int,  # noqa: ARG002
        records: int,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Nothing."""
        return self._nothing

    async def stop(self) -> None:
        """Nothing is left."""


OFF: Final = NoTraces()


def start(environment: Mapping[str, str]) -> Traces:
    """Traces as the standard OTEL variables ask for them, or `OFF`. Raises SettingsError."""
    given = {name: value for name, value in environment.items() if value}
    name = given.get("OTEL_TRACES_EXPORTER", "otlp")
    if (
        not any(asking in given for asking in ASKING)
        or name == "none"
        or given.get("OTEL_SDK_DISABLED", "").lower() == "true"
    ):
        return OFF
    protocol = given.get(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", given.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    )
    mistakes = [
        f"{variable}: {value} is not known; use {' or '.join(known)}"
        for variable, value, known in (
            ("OTEL_TRACES_EXPORTER", name, (*EXPORTERS, "none")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol, PROTOCOLS),
        )
        if value not in known
    ]
    if mistakes:
        raise SettingsError(mistakes)
    try:
        from worker import spans  # noqa: PLC0415  (an extra)
    except ImportError:
        log.warning("traces are asked for, but not installed: pip install 'maum[tracing]'")
        return OFF
    log.info("traces are sent", exporter=name)
    return spans.Spans(spans.provider(spans.exporter(name, protocol)))
