"""Counts what came out against what went in: lost, repeated, out of order, altered.

Knows nothing of how the worker works, only the contract; a worker in another process, another
broker or a fault in between is all the same to it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import BrokerResponseError, KafkaError, for_code
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.protocol.commit import OffsetFetchRequest

from schemas.deadletter import Reason
from schemas.emotion import EmotionEvent
from schemas.review import ReviewSample
from worker.decision import sampled
from worker.settings import WorkerSettings

Place = tuple[int, int]  # partition and offset of an input record
Expect = Callable[[Any], Reason | None]
DLQ_HEADERS = ["dlq.reason", "dlq.error", "dlq.topic", "dlq.partition", "dlq.offset", "dlq.worker"]
READ_SECONDS = 60.0
COORDINATOR_SECONDS = 10.0
PASSING: Final = frozenset({14, 15, 16})  # loading, not available, not the coordinator
SETTLE_SECONDS = 5.0  # for the markers of what was just committed
LOST: Final = "lost: no event, no dead letter"


@dataclass(slots=True)
class Report:
    """What was found; `problems` is empty when the contract was kept.

    `counts`: of the input and what came of it; what was "lost", "repeated", "out of order".
    """

    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Seen:
    """All records of the four topics, as a read_committed consumer sees them."""

    inputs: list[Any]
    events: list[Any]
    reviews: list[Any]
    letters: list[Any]
    partitions: int  # of each output topic


async def places(servers: str, topic: str) -> list[TopicPartition]:
    """The partitions of `topic`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        described = await admin.describe_topics([topic])
    finally:
        await admin.close()
    return [TopicPartition(topic, each["partition"]) for each in described[0]["partitions"]]


async def read(servers: str, topic: str, isolation: str = "read_committed") -> list[Any]:
    """Every record of `topic`, each partition in order."""
    async with (
        asyncio.timeout(READ_SECONDS),
        AIOKafkaConsumer(
            bootstrap_servers=servers,
            isolation_level=isolation,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        ) as consumer,
    ):
        assigned = await places(servers, topic)
        consumer.assign(assigned)
        ends = await consumer.end_offsets(assigned)
        await consumer.seek_to_beginning(*assigned)
        found: list[Any] = []
        while True:
            behind = [place for place in assigned if await consumer.position(place) < ends[place]]
            if not behind:
                return found
            for records in (await consumer.getmany(*behind, timeout_ms=200)).values():
                found += records


async def ends(servers: str, topic: str, isolation: str = "read_uncommitted") -> dict[int, int]:
    """Where each partition of `topic` ends, markers included."""
    async with AIOKafkaConsumer(bootstrap_servers=servers, isolation_level=isolation) as consumer:
        found = await consumer.end_offsets(await places(servers, topic))
    return {place.partition: offset for place, offset in found.items()}


async def committed(servers: str, group: str, topic: str) -> dict[int, int]:
    """The group's committed offset of each partition of `topic`. Raises KafkaError.

    aiokafka's own `list_consumer_group_offsets` takes the answer of a node that is no coordinator
    (any more, or yet) for none committed.
    """
    deadline = monotonic() + COORDINATOR_SECONDS
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        while True:
            try:
                return await _offsets(admin, group, topic)
            except BrokerResponseError as error:
                if error.errno not in PASSING or monotonic() > deadline:
                    raise
            await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def _offsets(admin: AIOKafkaAdminClient, group: str, topic: str) -> dict[int, int]:
    node = await admin.find_coordinator(group)
    answer = await admin._send_request(OffsetFetchRequest(group, None), node)
    for code in (answer.error_code, *(code for _, rows in answer.topics for *_, code in rows)):
        if code:
            raise for_code(code)(f"the offsets of {group} cannot be read")
    return {
        partition: offset
        for name, rows in answer.topics
        if name == topic
        for partition, offset, *_ in rows
    }


async def settled(servers: str, settings: WorkerSettings, seconds: float = 30.0) -> None:
    """Wait until the group has committed all of the input, and all that came of it can be read.

    A commit is answered before the outputs carry its marker, so the one does not tell the other.
    Raises TimeoutError.
    """
    deadline = monotonic() + seconds
    expected = await ends(servers, settings.input_topic)
    expected = {partition: end for partition, end in expected.items() if end}
    while True:
        try:
            reached = await committed(servers, settings.group_id, settings.input_topic)
            behind = any(reached.get(partition, -1) < end for partition, end in expected.items())
            if not behind and not (hidden := await _hidden(servers, settings)):
                return
            missing = f"committed {reached}, the log ends at {expected}" if behind else str(hidden)
        except KafkaError as error:
            missing = str(error)
        if monotonic() > deadline:
            raise TimeoutError(missing)
        await asyncio.sleep(0.1)


async def _hidden(servers: str, settings: WorkerSettings) -> list[str]:
    """What a read_committed consumer is not shown yet, a transaction being open."""
    found = []
    for topic in (settings.emotion_topic, settings.review_topic, settings.dead_letter_topic):
        last = await ends(servers, topic)
        shown = await ends(servers, topic, "read_committed")
        found += [
            f"{topic} {partition}: shown up to {shown[partition]} of {end}"
            for partition, end in last.items()
            if shown[partition] < end
        ]
    return found


async def verify(
    servers: str, settings: WorkerSettings, expect: Expect | None = None, *, repeats: bool = False
) -> Report:
    """Read everything and count. `repeats`: more than one result of a message is allowed."""
    hidden: list[str] = []
    try:
        await settled(servers, settings, SETTLE_SECONDS)
    except TimeoutError:  # the report says what is missing
        hidden = await _hidden(servers, settings)
    inputs, events, reviews, letters = await asyncio.gather(
        *(
            read(servers, topic)
            for topic in (
                settings.input_topic,
                settings.emotion_topic,
                settings.review_topic,
                settings.dead_letter_topic,
            )
        )
    )
    log_ends = await ends(servers, settings.input_topic)
    reached = await committed(servers, settings.group_id, settings.input_topic)
    count = len(await ends(servers, settings.emotion_topic))
    report = judge(Seen(inputs, events, reviews, letters, count), settings, expect, repeats=repeats)
    report.problems += hidden
    for partition, end in log_ends.items():
        if end and reached.get(partition) != end:
            report.problems.append(
                f"partition {partition}: committed {reached.get(partition)}, the log ends at {end}"
            )
    return report


def judge(
    seen: Seen, settings: WorkerSettings, expect: Expect | None = None, *, repeats: bool = False
) -> Report:
    """Hold `seen` against the contract. `expect` says which reason a record is refused for."""
    report = Report()
    inputs = {(each.partition, each.offset): each for each in seen.inputs}
    events = _by_place(seen.events, _source)
    reviews = _by_place(seen.reviews, _source)
    letters = _by_place(seen.letters, _letter_source)
    for name, found in (("event", events), ("review sample", reviews), ("dead letter", letters)):
        report.counts[name] = sum(map(len, found.values()))
        report.problems += [
            f"{name} of {place}, which nobody sent" for place in found if place not in inputs
        ]
        again = {place: len(records) for place, records in found.items() if len(records) > 1}
        if not repeats:
            report.counts["repeated"] += sum(again.values()) - len(again)
            report.problems += [
                f"repeated: {times} times a {name} of {place}" for place, times in again.items()
            ]
    for place, record in inputs.items():
        made = Made(events.get(place, []), reviews.get(place, []), letters.get(place, []))
        found_wrong = _check_one(record, made, settings, expect)
        found_wrong += _misplaced(record, made, seen.partitions)
        report.counts["lost"] += found_wrong.count(LOST)
        report.problems += [f"{place}: {problem}" for problem in found_wrong]
    for records, source_of in (
        (seen.events, _source),
        (seen.reviews, _source),
        (seen.letters, _letter_source),
    ):
        disordered = _out_of_order(records, source_of, repeats=repeats)
        report.counts["out of order"] += len(disordered)
        report.problems += disordered
    report.counts["input"] = len(inputs)
    return report


class Made(NamedTuple):
    """All that one input record led to."""

    events: Sequence[Any]
    reviews: Sequence[Any]
    letters: Sequence[Any]


def _check_one(
    record: Any,  # noqa: ANN401
    made: Made,
    settings: WorkerSettings,
    expect: Expect | None,
) -> list[str]:
    if record.value is None:
        return ["a tombstone has results"] if any(made) else []
    problems = [] if expect is None else _unexpected(expect(record), made.letters)
    if made.letters:
        if made.events or made.reviews:
            problems.append("a dead letter and an event")
        return problems + [each for letter in made.letters for each in _altered(record, letter)]
    withheld = settings.low_margin_events == "withhold" and made.reviews
    if not made.events and not withheld:
        return [*problems, LOST]
    return problems + _check_classified(record, made, settings)


def _unexpected(reason: Reason | None, letters: Sequence[Any]) -> list[str]:
    if reason is None or not letters:
        missing = (reason is None) != (not letters)
        return [f"expected {reason}, {len(letters)} dead letters"] if missing else []
    said = {_header(letter, "dlq.reason") for letter in letters}
    return [] if said == {reason.value.encode()} else [f"expected {reason}, refused for {said}"]


def _check_classified(record: Any, made: Made, settings: WorkerSettings) -> list[str]:  # noqa: ANN401
    events = [orjson.loads(each.value) for each in made.events]
    samples = [orjson.loads(each.value) for each in made.reviews]
    for each in made.events:
        EmotionEvent.model_validate_json(each.value)
    for each in made.reviews:
        ReviewSample.model_validate_json(each.value)
    given = orjson.loads(record.value)
    name = f"{record.topic}-{record.partition}-{record.offset}"
    low = (events or samples)[0]["low_margin"]
    due = low or sampled(name, settings.review_sample_rate)
    trace = [header for header in record.headers if header[0] in {"traceparent", "tracestate"}]
    wrong = {
        "an event withheld, or not": settings.low_margin_events == "withhold"
        and low == bool(events),
        f"{len(samples)} review samples, low margin {low}": due != bool(samples),
        "another event_id": any(each["event_id"] != name for each in events + samples),
        "another margin": any(each["low_margin"] != low for each in events + samples),
        "another message": any(
            each["message_id"] != given["message_id"] for each in events + samples
        ),
        "an event carries text": any("text" in each for each in events),
        "another text": any(each["text"] != given["text"] for each in samples),
        "another reason": any((each["reason"] == "low_margin") != low for each in samples),
        "another inclusion probability": any(
            each["inclusion_probability"] != (1.0 if low else settings.review_sample_rate)
            for each in samples
        ),
        "other trace headers": any(
            list(each.headers) != trace for each in (*made.events, *made.reviews)
        ),
    }
    return [problem for problem, is_so in wrong.items() if is_so]


def _misplaced(record: Any, made: Made, partitions: int) -> list[str]:  # noqa: ANN401
    """Outputs with another key, or not where Kafka's default partitioner would put them.

    Without a key they belong where the input was.
    """
    place = record.partition % partitions
    if record.key is not None:
        place = DefaultPartitioner()(record.key, range(partitions), [])
    return [
        f"key {output.key!r}, partition {output.partition} of {output.topic}"
        for records in made
        for output in records
        if (output.key, output.partition) != (record.key, place)
    ]


def _altered(record: Any, letter: Any) -> list[str]:  # noqa: ANN401
    own = list(record.headers)
    problems = []
    if letter.value != record.value:
        problems.append("the dead letter's bytes were touched")
    if list(letter.headers[: len(own)]) != own:
        problems.append("the dead letter's own headers were touched")
    if [name for name, _ in letter.headers[len(own) :]] != DLQ_HEADERS:
        problems.append(f"dead letter headers {letter.headers[len(own) :]}")
    return problems


def _header(record: Any, name: str) -> bytes:  # noqa: ANN401
    return next(bytes(value) for key, value in reversed(record.headers) if key == name)


def _source(record: Any) -> Place:  # noqa: ANN401
    source: Mapping[str, int] = orjson.loads(record.value)["source"]
    return source["partition"], source["offset"]


def _letter_source(record: Any) -> Place:  # noqa: ANN401
    return int(_header(record, "dlq.partition")), int(_header(record, "dlq.offset"))


def _by_place(
    records: Sequence[Any], source_of: Callable[[Any], Place]
) -> defaultdict[Place, list[Any]]:
    found: defaultdict[Place, list[Any]] = defaultdict(list)
    for record in records:
        found[source_of(record)].append(record)
    return found


def _out_of_order(
    records: Sequence[Any], source_of: Callable[[Any], Place], *, repeats: bool
) -> list[str]:
    """Within one output partition, the results of one input partition follow its offsets."""
    last: dict[tuple[int, int], int] = {}
    known: set[Place] = set()
    problems = []
    for record in records:
        partition, offset = source_of(record)
        if repeats and (partition, offset) in known:
            continue  # a repeat may come late; a first result may not
        known.add((partition, offset))
        lane = (record.partition, partition)
        if offset < last.get(lane, -1):
            problems.append(f"out of order: {offset} of partition {partition} in {record.topic}")
        last[lane] = max(offset, last.get(lane, -1))
    return problems
