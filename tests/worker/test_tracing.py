"""What traces tell of, and what not."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from aiokafka import TopicPartition
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from schemas.chat import ChatMessage
from worker import tracing
from worker.classifier import ModelId
from worker.decision import Decision
from worker.engines import InferenceError
from worker.inference import Verdict
from worker.settings import SettingsError
from worker.spans import Spans

from .fakes import MODEL, FakeRecord

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = ("traceparent", f"00-{TRACE}-{PARENT}-01".encode())
TEXT = "오늘 발표 잘 끝났어!"
DECISION = Decision("기쁨", 0.9, 0.8, False, (0.0, 0.0, 0.0, 0.1, 0.0, 0.9))  # noqa: FBT003
SOURCE = TopicPartition("chat.messages", 2)


@dataclass
class Message:
    """A job that keeps its verdict."""

    record: FakeRecord
    chat: ChatMessage
    owned: bool = True
    verdict: Verdict | None = None

    def wanted(self) -> bool:
        return self.owned

    def resolve(self, verdict: Verdict, model: ModelId) -> None:  # noqa: ARG002
        self.verdict = verdict


def message(*headers: tuple[str, bytes]) -> Message:
    return Message(FakeRecord(headers=headers), ChatMessage(message_id="m-1", text=TEXT))


@pytest.fixture
def seen() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(seen: InMemorySpanExporter) -> Spans:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(seen))
    return Spans(provider)


def told(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_a_sampled_message_has_a_span_beneath_its_own_trace(
    spans: Spans, seen: InMemorySpanExporter
) -> None:
    given = message(SAMPLED)
    ((job, tokens),) = spans.classify([(given, (1, 2, 3))])
    assert (job.wanted(), tokens, seen.get_finished_spans()) == (True, (1, 2, 3), ())
    job.resolve(DECISION, MODEL)
    (span,) = seen.get_finished_spans()
    assert span.context is not None
    assert span.parent is not None
    assert (span.name, given.verdict) == ("classify", DECISION)
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert told(span) == {
        "messaging.system": "kafka",
        "messaging.destination.name": "chat.messages",
        "messaging.destination.partition.id": "2",
        "messaging.kafka.offset": 41,
        "maum.event_id": "chat.messages-2-41",
        "maum.message_id": "m-1",
        "maum.tokens": 3,
        "maum.model": "fake 1",
        "maum.outcome": "decided",
    }


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("tenant", b"a")],
        [("traceparent", f"00-{TRACE}-{PARENT}-00".encode())],
        [("traceparent", b"00-1"), ("tracestate", b"a=b")],
        [("traceparent", b"\xff\x00")],
        [("traceparent", b"")],
        [("traceparent", f"00-{'0' * 32}-{PARENT}-01".encode())],
    ],
    ids=["none", "others", "not sampled", "broken", "not text", "empty", "of no trace"],
)
def test_any_other_message_stays_as_it_is(
    headers: list[tuple[str, bytes]], spans: Spans, seen: InMemorySpanExporter
) -> None:
    given = message(*headers)
    ((job, _),) = spans.classify([(given, (1,))])
    assert job is given
    assert seen.get_finished_spans() == ()


def test_a_message_that_the_model_fails_on_is_an_error_without_its_words(
    spans: Spans, seen: InMemorySpanExporter
) -> None:
    ((job, _),) = spans.classify([(message(SAMPLED), (1,))])
    job.resolve(InferenceError(f"NotFinite: {TEXT}"), MODEL)
    (span,) = seen.get_finished_spans()
    assert not span.status.is_ok
    assert told(span)["error.type"] == "NotFinite"
    assert told(span)["maum.outcome"] == "unclassifiable"
    assert TEXT not in span.to_json()


def test_a_message_that_nobody_waits_for_any_more_is_told_of_once(
    spans: Spans, seen: InMemorySpanExporter
) -> None:
    given = message(SAMPLED)
    ((job, _),) = spans.classify([(given, (1,))])
    given.owned = False
    assert not job.wanted()
    job.resolve(DECISION, MODEL)
    (span,) = seen.get_finished_spans()
    assert told(span)["maum.outcome"] == "dropped"


def test_a_transaction_tells_its_partition_its_records_and_its_offsets(
    spans: Spans, seen: InMemorySpanExporter
) -> None:
    with spans.transaction(SOURCE, 41, 50, 7):
        assert seen.get_finished_spans() == ()
    (span,) = seen.get_finished_spans()
    assert (span.name, span.parent, span.status.is_ok) == ("publish", None, True)
    assert told(span) == {
        "messaging.system": "kafka",
        "messaging.destination.name": "chat.messages",
        "messaging.destination.partition.id": "2",
        "messaging.kafka.offset": 41,
        "messaging.batch.message_count": 7,
        "maum.next_offset": 50,
        "maum.outcome": "committed",
    }


def test_a_transaction_that_fails_says_so_and_its_error_goes_its_way(
    spans: Spans, seen: InMemorySpanExporter
) -> None:
    with pytest.raises(OSError, match="gone"), spans.transaction(SOURCE, 41, 50, 7):
        raise OSError("gone")
    (span,) = seen.get_finished_spans()
    assert told(span)["maum.outcome"] == "aborted"
    assert told(span)["error.type"] == "OSError"
    assert not span.status.is_ok


async def test_what_was_told_before_the_end_is_sent(
    spans: Spans, seen: InMemorySpanExporter
) -> None:
    with spans.transaction(SOURCE, 0, 1, 1):
        pass
    await spans.stop()
    assert len(seen.get_finished_spans()) == 1


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "maum"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"},
    ],
    ids=["nothing", "a name", "an empty endpoint", "none", "disabled"],
)
def test_nobody_is_traced_who_did_not_ask(environment: Mapping[str, str]) -> None:
    assert tracing.start(environment) is tracing.OFF


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_EXPORTER": "console"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
    ],
    ids=["console", "an endpoint", "by http"],
)
async def test_whoever_asks_is_traced(environment: Mapping[str, str]) -> None:
    traces = tracing.start(environment)
    assert isinstance(traces, Spans)
    await traces.stop()


def test_an_exporter_or_a_protocol_that_is_not_known_is_a_mistake_with_the_known_ones() -> None:
    given = {"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}
    with pytest.raises(SettingsError) as caught:
        tracing.start(given)
    assert caught.value.mistakes == [
        "OTEL_TRACES_EXPORTER: zipkin is not known; use otlp or console or none",
        "OTEL_EXPORTER_OTLP_PROTOCOL: http/json is not known; use grpc or http/protobuf",
    ]


def test_without_the_extra_one_line_says_so_and_the_worker_goes_on() -> None:
    program = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from worker import tracing\n"
        "assert tracing.start({'OTEL_TRACES_EXPORTER': 'otlp'}) is tracing.OFF"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("pip install 'maum[tracing]'") == 1


def test_where_nobody_is_traced_jobs_are_not_even_looked_at() -> None:
    jobs = [(message(SAMPLED), (1,))]
    assert tracing.OFF.classify(jobs) is jobs
