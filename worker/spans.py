"""The spans themselves. Imported only where traces are asked for: it needs the `tracing` extra."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from aiokafka import TopicPartition
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker import __version__, codec
from worker.classifier import ModelId
from worker.codec import Headers
from worker.engines import InferenceError, Tokens
from worker.inference import Job, Verdict
from worker.tracing import Message

STOP_SECONDS: Final = 2.0
W3C: Final = TraceContextTextMapPropagator()
FLAGS: Final = 54  # where their last digit is
ODD: Final = frozenset({b"1", b"3", b"5", b"7", b"9", b"b", b"d", b"f"})


class Spans:
    """Tells `provider`'s exporter of transactions and sampled messages."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("maum.worker", __version__)

    def classify(self, jobs: Sequence[tuple[Message, Tokens]]) -> Sequence[tuple[Job, Tokens]]:
        """The jobs, each with a span until its verdict where its record has a sampled trace."""
        return [
            (job, tokens)
            if (parent := sampled(job.record.headers)) is None
            else (self._begin(job, tokens, parent), tokens)
            for job, tokens in jobs
        ]

    def _begin(self, job: Message, tokens: Tokens, parent: Context) -> "Classified":
        record = job.record
        span = self._tracer.start_span(
            "classify",
            parent,
            SpanKind.CONSUMER,
            {
                **_place(record.topic, record.partition, record.offset),
                "maum.event_id": codec.event_id(record),
                "maum.message_id": job.chat.message_id,
                "maum.tokens": len(tokens),
            },
        )
        return Classified(job, span)

    @contextmanager
    def transaction(
        self, source: TopicPartition, first: int, next_offset: int, records: int
    ) -> Iterator[None]:
        """A span of a trace of its own: a transaction has the messages of many traces in it."""
        span = self._tracer.start_span(
            "publish",
            Context(),
            SpanKind.PRODUCER,
            {
                **_place(source.topic, source.partition, first),
                "messaging.batch.message_count": records,
                "maum.next_offset": next_offset,
            },
        )
        try:
            yield
            span.set_attribute("maum.outcome", "committed")
        except BaseException as error:
            span.set_attribute("maum.outcome", "aborted")
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()

    async def stop(self) -> None:
        """Send what is left; a collector that does not answer is not waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.to_thread(self._provider.shutdown)


class Classified:
    """A message with a span around it; to the inference stage a job like any other."""

    def __init__(self, job: Job, span: Span) -> None:
        self._job = job
        self._span = span

    def wanted(self) -> bool:
        """Whether its lane still waits for it; if not, it is worked on again, with a new span."""
        wanted = self._job.wanted()
        if not wanted:
            self._end("dropped")
        return wanted

    def resolve(self, verdict: Verdict, model: ModelId) -> None:
        """Hand the verdict on, and end the span."""
        if self.wanted():
            self._span.set_attribute("maum.model", f"{model.name} {model.version}")
            if isinstance(verdict, InferenceError):
                # What stands before the colon names the error; what follows might quote anything.
                self._span.set_attribute("error.type", str(verdict).partition(":")[0])
                self._span.set_status(StatusCode.ERROR)
                self._end("unclassifiable")
            else:
                self._end("decided")
        self._job.resolve(verdict, model)

    def _end(self, outcome: str) -> None:
        if self._span.is_recording():
            self._span.set_attribute("maum.outcome", outcome)
            self._span.end()


def sampled(headers: Headers) -> Context | None:
    """The trace that a record belongs to, if whoever began it wants to see it."""
    traced = codec.trace_headers(headers)
    # Reading a trace costs as much as a message, so those that ask for nothing are not read.
    if not any(name == "traceparent" and _asks(value) for name, value in traced):
        return None
    carrier = {name: value.decode("latin-1") for name, value in traced if value}
    context = W3C.extract(carrier, Context())
    found = get_current_span(context).get_span_context()
    return context if found.is_valid and found.trace_flags.sampled else None


def _asks(traceparent: bytes | None) -> bool:
    """Whether its flags, in hexadecimal, are odd: `00-{trace}-{span}-{flags}`."""
    return (traceparent or b"")[FLAGS : FLAGS + 1] in ODD


def provider(exporter: SpanExporter) -> TracerProvider:
    """Batches spans for `exporter` on a thread of its own; the rest is the OTEL variables' say."""
    named = Resource.create({"service.name": "maum-worker", "service.version": __version__})
    made = TracerProvider(
        resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
    )
    made.add_span_processor(BatchSpanProcessor(exporter))
    return made


def exporter(name: str, protocol: str) -> SpanExporter:
    """`otlp` by `protocol`, or `console`: standard error."""
    if name == "console":
        return ConsoleSpanExporter(out=sys.stderr)
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc  # noqa: PLC0415

        return grpc.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http  # noqa: PLC0415

    return http.OTLPSpanExporter()


def _place(topic: str, partition: int, offset: int) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": offset,
    }
