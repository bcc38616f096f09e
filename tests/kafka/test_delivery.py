"""Everything that goes in comes out once, in order, or as a dead letter."""

import asyncio
import random
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from schemas.deadletter import Reason
from tests import rawnames
from tests.kafka import verifier
from tests.kafka.harness import TRACEPARENT, Cluster, FakeEngine, Input, chat, eventually
from worker.codec import size

MESSAGES = 2000
LIMIT = 3000
POISON = (
    (b"\xff\xfe not utf-8", Reason.UNDECODABLE),
    (b"{half", Reason.UNDECODABLE),
    (b"", Reason.UNDECODABLE),
    (b"[1, 2]", Reason.UNDECODABLE),
    (b'{"text": "e1"}', Reason.INVALID),
    (b'{"message_id": "a", "text": "e1", "text": "e2"}', Reason.INVALID),
    (chat(1, "e1 " * LIMIT), Reason.TOO_LARGE),
    (chat(2, "e1 bad"), Reason.UNCLASSIFIABLE),
)
REASONS = dict(POISON)


def mixture() -> list[Input]:
    """2,000 records: poison of each kind, tombstones, low margins, keys and headers."""
    made: list[Input] = []
    for number in range(MESSAGES):
        key = f"room{number % 50}".encode() if number % 3 else None
        headers = [("traceparent", TRACEPARENT), ("x-app", b"\x00\xff")] if number % 4 == 0 else []
        partition = number % 4 if number % 5 == 0 else None
        value: bytes | None = chat(number, room_id=f"room{number % 50}", sent_at=number)
        if number % 11 == 0:
            value = POISON[number // 11 % len(POISON)][0]
        elif number % 13 == 0:
            value, key = None, key or b"gone"
        elif number % 7 == 0:
            value = chat(number, f"e{number % 6} low n{number}")
        made.append(Input(value, key, headers, partition))
    return made


def expect(record: Any) -> Reason | None:  # noqa: ANN401
    return REASONS.get(record.value)


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("low_margin_events", ["publish", "withhold"])
async def test_every_input_has_exactly_one_result_in_order(
    cluster: Cluster, delivery: str, low_margin_events: str
) -> None:
    settings = cluster.settings(
        delivery=delivery,
        low_margin_events=low_margin_events,
        max_message_bytes=LIMIT,
        review_sample_rate=0.1,
    )
    await cluster.create(settings, 4)
    inputs = mixture()
    async with cluster.worker(settings) as worker:
        await cluster.produce(settings.input_topic, inputs)
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings, expect)
    assert report.problems == []
    tombstones = sum(each.value is None for each in inputs)
    letters = sum(each.value in REASONS for each in inputs)
    low = sum(b" low " in (each.value or b"") for each in inputs)
    assert report.counts["input"] == MESSAGES
    assert report.counts["dead letter"] == letters
    withheld = low if low_margin_events == "withhold" else 0
    assert report.counts["event"] == MESSAGES - letters - tombstones - withheld
    assert report.counts["review sample"] > low
    assert worker.count("tombstone") == tombstones
    assert worker.count("dead_letter") == letters


async def test_an_aged_backlog_is_worked_off_under_a_small_queue(cluster: Cluster) -> None:
    """Backpressure: queued tokens stay bounded, all arrive, and the member stays in the group."""
    settings = cluster.settings(
        max_queue_tokens=200, max_batch_tokens=40, commit_interval_ms=5, max_poll_interval_ms=3000
    )
    await cluster.create(settings, 4)
    inputs = [Input(chat(number), partition=number % 4) for number in range(600)]
    await cluster.produce(settings.input_topic, inputs)
    engine = FakeEngine()
    engine.go_on.clear()
    most = 0
    async with cluster.worker(settings, engine) as worker:

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, worker.pipeline.queued_tokens)
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(watch())
        await eventually(lambda: worker.pipeline.queued_tokens > 0, worker.task)
        await asyncio.sleep(1.5)  # longer than the patience: partitions pause
        engine.seconds = 0.002
        engine.go_on.set()
        await verifier.settled(cluster.servers, settings)
        watching.cancel()
    report = await verifier.verify(cluster.servers, settings, expect)
    assert report.problems == []
    assert report.counts["event"] == 600
    assert most <= 200 + 2 * 1000  # the limit, and what one poll brings


async def test_a_message_longer_than_the_model_takes_is_marked_truncated(cluster: Cluster) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    await cluster.produce(settings.input_topic, [Input(chat(1, "e1 " * 65)), Input(chat(2))])
    async with cluster.worker(settings):
        await verifier.settled(cluster.servers, settings)
    events = await verifier.read(cluster.servers, settings.emotion_topic)
    assert [orjson.loads(event.value)["truncated"] for event in events] == [True, False]


async def test_a_header_name_that_is_not_utf_8_stops_nothing(cluster: Cluster) -> None:
    """As a C client may write it; it comes out with U+FFFD, which is how Java's client reads it."""
    settings = cluster.settings()
    await cluster.create(settings, 1)
    batch = rawnames.batch()
    values = [chat(0), chat(1), b"no JSON", chat(3), b"{half"]
    for place, value in enumerate(values):
        name = rawnames.Name(b"caf\xe9" if place in {1, 2} else b"cafe")
        headers = [(name, b"1"), ("traceparent", TRACEPARENT), ("empty", None)]
        batch.append(timestamp=None, key=b"room", value=value, headers=headers)
    async with AIOKafkaProducer(bootstrap_servers=cluster.servers, acks="all") as producer:
        await (await producer.send_batch(batch, settings.input_topic, partition=0))
    await cluster.produce(settings.input_topic, [Input(chat(5))])
    async with cluster.worker(settings):
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(cluster.servers, settings)
    assert report.problems == []
    letters = await verifier.read(cluster.servers, settings.dead_letter_topic)
    assert [letter.value for letter in letters] == [b"no JSON", b"{half"]
    assert [letter.headers[0] for letter in letters] == [("caf\ufffd", b"1"), ("cafe", b"1")]
    assert all(("empty", None) in letter.headers for letter in letters)
    events = await verifier.read(cluster.servers, settings.emotion_topic)
    assert [orjson.loads(event.value)["message_id"] for event in events] == ["m0", "m1", "m3", "m5"]
    assert [event.headers for event in events] == [(("traceparent", TRACEPARENT),)] * 3 + [()]


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_a_record_as_large_as_the_broker_takes_becomes_a_dead_letter(
    cluster: Cluster, delivery: str
) -> None:
    """Those that just fit as they are, and those that fit because they were compressed."""
    settings = cluster.settings(delivery=delivery)
    await cluster.create(settings, 1)
    plain, packed = random.Random(7).randbytes(1_048_000), chat(1, "ㅋㅋ" * 1_000_000)  # noqa: S311
    # What one replica alone has is no input yet: the log's end, which is waited for, leaves it out.
    large: dict[str, Any] = {
        "bootstrap_servers": cluster.servers,
        "max_request_size": 9_000_000,
        "acks": "all",
    }
    async with (
        AIOKafkaProducer(**large) as producer,
        AIOKafkaProducer(**large, compression_type="gzip") as packing,
    ):
        await producer.send_and_wait(settings.input_topic, chat(0))
        await producer.send_and_wait(settings.input_topic, plain)
        await packing.send_and_wait(settings.input_topic, packed)
        await producer.send_and_wait(settings.input_topic, chat(2), key=plain)
        await packing.send_and_wait(settings.input_topic, chat(3), key=b"k" * 3_000_000)
        marks = [("mark", b"m" * 3_000_000)]
        await packing.send_and_wait(settings.input_topic, chat(4), headers=marks)
        await producer.send_and_wait(settings.input_topic, chat(5))
    async with cluster.worker(settings):
        await verifier.settled(cluster.servers, settings)
    report = await verifier.verify(
        cluster.servers, settings, lambda each: Reason.TOO_LARGE if size(each) > 1000 else None
    )
    assert report.problems == []
    letters = await verifier.read(cluster.servers, settings.dead_letter_topic)
    assert [len(letter.value) for letter in letters[:2]] == [len(plain), len(packed)]
    assert sorted(size(letter) > 1_000_000 for letter in letters) == [True] * 5
    assert report.counts["event"] == 2
