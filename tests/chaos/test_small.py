"""The matrix's own parts, in small, on whatever broker the other tests have."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from aiokafka import TopicPartition

from tests.chaos import feed, reference, table
from tests.chaos.cells import CELLS, CONTROLS, EXACTLY_ONCE, SHORT_TWINS, Cell, nothing, rescale
from tests.chaos.judge import Abort, Result, transactions, unlike_sent
from tests.chaos.play import _feed, play
from tests.chaos.scene import Scene
from tests.chaos.watch import Arrival, longest_gap, silence, stalls
from tests.kafka import verifier
from tests.kafka.harness import FakeEngine, Input, chat, classifier
from worker import sending
from worker.codec import Output
from worker.settings import WorkerSettings


@pytest.mark.kafka
@pytest.mark.parametrize(
    "cell",
    [Cell("no fault", nothing, seconds=1), Cell("rescale", rescale, workers=1, seconds=8)],
    ids=lambda cell: cell.name,
)
async def test_nothing_is_lost_repeated_or_out_of_order(cell: Cell, servers: str) -> None:
    brokers = cast("Any", SimpleNamespace(bootstrap_servers=servers))
    result = await play(brokers, cell, 2000, "small", short=True)
    assert result.problems == []
    assert result.results > 1900


async def test_what_a_worker_logs_is_not_what_the_verifier_saw(servers: str) -> None:
    logged = "w1 ended with 1:\nnothing is lost\nrepeated: 3 times\nout of order"

    async def rumour(scene: Scene) -> None:
        scene.problems.append(logged)

    brokers = cast("Any", SimpleNamespace(bootstrap_servers=servers))
    result = await play(
        brokers, Cell("rumour", rumour, workers=1, seconds=1), 500, "small", short=True
    )
    assert (result.problems, result.caught) == ([logged], False)


async def test_a_feed_that_ends_early_or_differs_from_the_log_is_a_problem(
    servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = feed.mixed

    def few(count: int, poison: float) -> Iterator[Input]:
        return islice(mixed(count, poison), 400)

    async def forget(scene: Scene) -> None:
        await scene.until(lambda: len(scene.sender.sent) == 400, "not all are sent")
        scene.sender.sent[7:9] = [Input(b"never read", partition=0)]

    monkeypatch.setattr(feed, "mixed", few)
    brokers = cast("Any", SimpleNamespace(bootstrap_servers=servers))
    result = await play(
        brokers, Cell("few", forget, workers=1, seconds=1), 590, "small", short=True
    )
    assert result.messages == 399
    assert result.problems == [
        "399 messages were sent, not 500",
        "the input read is not the input sent: 1 missing, 2 unknown",
    ]


async def test_of_the_platforms_transactions_the_committed_ones_are_the_input(servers: str) -> None:
    cell = Cell("transactional", nothing, input="transactional")
    scene = Scene(cast("Any", SimpleNamespace(bootstrap_servers=servers)), "small", {})
    try:
        await scene.begin()
        await _feed(scene, cell, 500, 1.0)
        inputs = await verifier.read(servers, scene.settings.input_topic)
    finally:
        await scene.close(keep=False)
    assert len(scene.sender.sent) == 500
    assert unlike_sent(scene.sender.sent, inputs, compacted=False) == []


SENT = (
    Input(b"1", b"a", [("trace", b"x")], 0),
    Input(b"2", b"a", (), 0),
    Input(b"1", b"a", (), 1),
    Input(None, b"b", (), 1),
    Input(None, b"b", (), 1),
)


def read(*inputs: Input) -> list[Any]:
    return [
        SimpleNamespace(**{**each._asdict(), "headers": tuple(each.headers)}) for each in inputs
    ]


@pytest.mark.parametrize(
    ("inputs", "compacted", "missing", "unknown"),
    [
        (SENT, False, 0, 0),
        (SENT[::-1], False, 0, 0),  # partitions are read in any order
        (SENT[:-1], False, 1, 0),  # of two that are alike
        (SENT[1:], False, 1, 0),
        ((*SENT, SENT[0]), False, 0, 1),
        ((SENT[0]._replace(headers=()), *SENT[1:]), False, 1, 1),
        ((SENT[0]._replace(partition=2), *SENT[1:]), False, 1, 1),
        (SENT, True, 0, 0),
        (SENT[1:4], True, 0, 0),
        (SENT[:3], True, 1, 0),  # a key's last word
        ((SENT[0], *SENT[2:]), True, 1, 0),
        ((*SENT, SENT[1]), True, 0, 1),
    ],
)
def test_the_input_read_is_held_against_the_input_sent(
    inputs: Sequence[Input],
    compacted: bool,  # noqa: FBT001
    missing: int,
    unknown: int,
) -> None:
    said = f"the input read is not the input sent: {missing} missing, {unknown} unknown"
    problems = [said] if missing or unknown else []
    assert unlike_sent(SENT, read(*inputs), compacted=compacted) == problems


def record(value: bytes, **changes: Any) -> Any:  # noqa: ANN401
    given = {"topic": "in", "partition": 0, "offset": 7, "timestamp": 1, "key": b"room"}
    return SimpleNamespace(**{**given, "value": value, "headers": (), **changes})


def settings() -> WorkerSettings:
    return WorkerSettings(_env_file=None)


def expected() -> Output:
    made = reference.published([record(chat(1, "e3 n1"))], settings(), classifier(FakeEngine()))
    return made.outputs[0, 7][0]


def altered(**changes: Any) -> Any:  # noqa: ANN401
    wanted = expected()
    value = orjson.dumps({**orjson.loads(wanted.value or b""), **changes})
    return record(value, key=wanted.key, headers=tuple(wanted.headers))


def test_another_time_of_classification_is_no_difference() -> None:
    assert reference.difference(expected(), altered(classified_at="2026-01-01T00:00:00Z")) == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [("emotion", "분노"), ("confidence", 0.5), ("message_id", "other"), ("low_margin", True)],
)
def test_any_other_field_is_a_difference(field: str, value: object) -> None:
    assert field in reference.difference(expected(), altered(**{field: value}))


def test_another_key_is_a_difference() -> None:
    changed = altered()
    changed.key = b"other"
    assert "key" in reference.difference(expected(), changed)


def test_a_wrong_hash_of_the_worker_is_not_judged_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "_kept_hash", len)
    wrong = sending.target(TopicPartition("in", 0), b"room", 9)
    events = [record(expected().value or b"", topic="out", partition=wrong)]
    seen = verifier.Seen([record(chat(1, "e3 n1"))], events, [], [], 9)
    problems = verifier.judge(seen, settings()).problems
    assert problems == [f"(0, 7): key b'room', partition {wrong} of out"]


def test_a_bad_row_alone_is_refused_and_its_neighbours_are_not() -> None:
    rows = [record(chat(1, "e1 bad"), offset=1), record(chat(2, "e1 n1"), offset=2)]
    made = reference.published(rows, settings(), classifier(FakeEngine())).outputs
    assert [made[0, 1][0].topic, made[0, 2][0].topic] == ["chat.messages.dlq", "chat.emotions"]


def test_the_table_sums_rounds_and_names_what_was_caught() -> None:
    broken = next(cell.name for cell in CELLS if cell.broken)
    rows = table.rows(
        [
            Result("no fault", messages=10, silence=1.0),
            Result("no fault", messages=10, silence=2.0, lost=1, problems=["lost"]),
            Result(broken, messages=5, repeated=3, problems=["repeated"]),
        ]
    )
    assert rows[0].startswith("| no fault | 2 | 20 | 1 | 0 | 0 | 0 | 0 | 0 | 2.0 | 1 of 2 clean")
    assert rows[1].endswith("| 1 of 1 caught |")


@pytest.mark.parametrize(
    ("times", "longest"),
    [
        ([1, 2, 3, 9.5], 6.5),  # silent over the end of the window
        ([], 5),  # never heard of again
        ([1, 2], 3),
        ([4, 4.5, 5, 5.5, 30], 4),  # what begins after the window is another fault's
        ([-3, 0.5, 5.5], 5),
    ],
)
def test_a_silence_counts_until_it_is_broken(times: list[float], longest: float) -> None:
    assert longest_gap(times, 0, 5) == longest


def test_while_the_cluster_takes_no_messages_silence_is_not_the_workers() -> None:
    assert longest_gap([9], 0, 5, [(1, 4)]) == 6
    assert longest_gap([9], 0, 5, [(1, 4), (8, 12)]) == 5
    assert longest_gap([2, 9], 0, 5, [(3, 9)]) == 2


def test_after_a_partitions_last_message_nothing_more_is_to_be_heard_of_it() -> None:
    """One message at 0.5 and no other: its event came at 0.7, long before the last fault."""
    record = SimpleNamespace(value=orjson.dumps({"source": {"partition": 0, "offset": 0}}))
    arrivals = {TopicPartition("out", 0): [Arrival(0.7, record)]}
    assert silence(arrivals, "out", 5.0, 20.0, {0: [0.5]}) == 0.0
    assert silence(arrivals, "out", 0.0, 20.0, {0: [0.5]}) == 0.7
    arrivals[TopicPartition("out", 0)].append(Arrival(9.0, record))
    assert silence(arrivals, "out", 5.0, 20.0, {0: [0.5, 5.5]}) == pytest.approx(3.5)


def test_every_cell_has_a_name_of_its_own() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)


def test_every_fault_outside_of_transactions_is_played_at_least_once_too() -> None:
    faults = {cell.faults for cell in CELLS if not cell.at_least_once and not cell.broken}
    assert {cell.faults for cell in CELLS if cell.at_least_once} == faults


def test_no_cell_at_least_once_waits_for_a_point_that_only_a_transaction_has() -> None:
    assert all(cell.sabotage.get("at") != "after_send" for cell in CELLS if cell.at_least_once)


def test_those_named_are_played_at_least_once_where_time_is_short() -> None:
    assert {cell.name for cell in EXACTLY_ONCE} >= SHORT_TWINS
    assert sum(cell.at_least_once and not cell.long for cell in CELLS) == len(SHORT_TWINS)


def test_each_fault_of_a_control_is_one_that_the_worker_withstands_where_it_is_whole() -> None:
    withstood = {cell.faults for cell in EXACTLY_ONCE}
    assert all(cell.faults in withstood for cell in CONTROLS)


def test_a_transaction_counts_once_however_many_partitions_it_wrote_to() -> None:
    first, second = (7, 0), (7, 1)
    aborts = [Abort("out", partition, 5, first) for partition in range(3)]
    assert transactions(aborts) == 1
    assert transactions([*aborts, Abort("out", 1, 9, first)]) == 2
    assert transactions([*aborts, Abort("out", 1, 9, second)]) == 2


def test_silence_of_a_partition_that_nothing_was_sent_to_is_not_the_workers() -> None:
    assert stalls([1, 1.5, 4, 5]) == [(1.5, 4)]


async def test_while_faults_are_to_come_messages_do_not_run_out(servers: str) -> None:
    scene = Scene(cast("Any", SimpleNamespace(bootstrap_servers=servers)), "small", {})
    await scene.begin()
    try:
        streaming = asyncio.create_task(scene.sender.stream(feed.mixed(300), 300, 0.5))
        await scene.until(lambda: len(scene.sender.sent) > 240, "the first four fifths")
        await scene.until(lambda: len(scene.sender.sent) > 245, "more, slowly")
        assert not streaming.done()
        scene.sender.waiting = False
        await streaming
        assert len(scene.sender.sent) == 300
    finally:
        await scene.close(keep=False)
