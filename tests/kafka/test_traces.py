"""What a trace backend is told of a worker that is traced."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.kafka import verifier
from tests.kafka.harness import TRACEPARENT, Cluster, Input, chat
from worker.spans import Spans


async def test_sampled_messages_and_transactions_are_told_of_and_headers_pass_unchanged(
    cluster: Cluster,
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 2)
    headers = [("traceparent", TRACEPARENT)]
    inputs = [
        Input(chat(number), headers=() if number % 3 else headers, partition=number % 2)
        for number in range(30)
    ]
    await cluster.produce(settings.input_topic, inputs)
    seen = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(seen))
    async with cluster.worker(settings, traces=Spans(provider)):
        await verifier.settled(cluster.servers, settings, 20)
    events = await verifier.read(cluster.servers, settings.emotion_topic)
    assert sorted(event.headers for event in events) == [()] * 20 + [tuple(headers)] * 10
    spans = seen.get_finished_spans()
    messages = [span for span in spans if span.name == "classify"]
    assert {span.parent and f"{span.parent.span_id:016x}" for span in messages} == {
        TRACEPARENT.decode().split("-")[2]
    }
    assert {str(told(span, "maum.message_id")) for span in messages} == {
        f"m{number}" for number in range(0, 30, 3)
    }
    published: dict[str, int] = {}
    for span in spans:
        if span.name == "publish":
            assert told(span, "maum.outcome") == "committed"
            partition = str(told(span, "messaging.destination.partition.id"))
            # Each begins where the one before it in its partition ended.
            assert told(span, "messaging.kafka.offset") == published.get(partition, 0)
            published[partition] = int(str(told(span, "maum.next_offset")))
    assert published == {"0": 15, "1": 15}


def told(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {})[name]
