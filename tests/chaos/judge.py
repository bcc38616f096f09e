"""What a cell came to: counted, and held against a run without faults."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple
from unittest import mock

from aiokafka.consumer.fetcher import PartitionRecords

from tests.chaos import reference
from tests.chaos.cells import Cell
from tests.chaos.feed import PARTITIONS
from tests.chaos.scene import Scene
from tests.chaos.watch import silence
from tests.kafka import verifier
from tests.kafka.harness import FakeEngine, Input, classifier
from tests.kafka.test_delivery import expect
from worker import parts
from worker.classifier import Classifier
from worker.settings import WorkerSettings

SHOWN: Final = 12  # problems


@dataclass(slots=True)
class Result:
    """What a cell came to."""

    cell: str
    messages: int = 0  # that the cluster has acknowledged
    results: int = 0
    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0
    aborted: int = 0  # transactions, at least: as many as one output partition has markers of
    again: int = 0  # messages that were processed once more
    in_vain: int = 0  # results written and aborted, or written again
    silence: float = 0.0  # seconds that the longest-waiting partition was without an event
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def caught(self) -> bool:
        """Whether the verifier saw a promise broken."""
        return self.lost + self.repeated + self.out_of_order > 0

    def line(self) -> str:
        """What was counted."""
        return (
            f"{self.cell}: {self.messages} messages, {self.results} results, {self.lost} lost, "
            f"{self.repeated} repeated, {self.out_of_order} out of order; {self.aborted} "
            f"transactions aborted, {self.again} messages processed again, {self.in_vain} results "
            f"written in vain; "
            f"{self.silence:.1f} s of silence; {self.seconds:.0f} s"
        )


async def judge(scene: Scene, cell: Cell, result: Result) -> None:
    """Read all outputs, and write into `result` what was found."""
    servers, settings = scene.brokers.bootstrap_servers, scene.settings
    aborts: set[Abort] = set()
    with _counting(aborts):
        seen = await _read(servers, settings)
    problems = scene.problems + await _unfinished(servers, settings)
    if len(scene.sender.sent) != scene.messages:
        problems.append(f"{len(scene.sender.sent)} messages were sent, not {scene.messages}")
    problems += unlike_sent(scene.sender.sent, seen.inputs, compacted=cell.input == "compacted")
    wanted = None if cell.input == "sentences" else expect
    report = verifier.judge(seen, settings, wanted, repeats=cell.at_least_once)
    problems += report.problems
    wanted_of = reference.published(
        seen.inputs, settings, _classifier(real=cell.input == "sentences")
    )
    problems += _unlike_reference(seen, settings, wanted_of)
    problems += _unused(scene, seen)
    problems += _seen_otherwise_during(scene, seen)
    since = scene.faults[0][1] if scene.faults else 0.0
    # Of a compacted topic all was there before the faults.
    last = scene.watcher.last if cell.input == "compacted" else scene.sender.last
    ends = [*(at for _, at in scene.faults[1:]), last]
    for (name, at), until in zip(scene.faults, ends, strict=False):
        found = silence(
            scene.watcher.arrivals, settings.emotion_topic, at, max(at, until), scene.sender.taken
        )
        result.faults.append(f"{name} at {at - since:.1f} s, {found:.1f} s of silence")
        result.silence = max(result.silence, found)
    # A small run shares its machine with whatever else CI does: it counts, and measures nothing.
    if not scene.short and cell.recovery is not None and result.silence > cell.recovery:
        problems.append(f"recovery took {result.silence:.1f} s, not {cell.recovery:.0f}")
    result.results = len(seen.events) + len(seen.letters)
    result.lost = report.counts["lost"]
    result.repeated = report.counts["repeated"]
    result.out_of_order = report.counts["out of order"]
    result.aborted = transactions(each for each in aborts if each.topic != settings.input_topic)
    result.again = sum(each.taken_in for each in scene.copiers) - wanted_of.messages
    result.in_vain = await _in_vain(servers, settings, seen)
    if cell.aborts and not result.aborted:
        problems.append("no transaction was aborted: nothing is proven")
    result.problems = _shortened(problems)


def _shortened(problems: list[str]) -> list[str]:
    rest = len(problems) - SHOWN
    return problems[:SHOWN] + ([f"… and {rest} more"] if rest > 0 else [])


async def _read(servers: str, settings: WorkerSettings) -> verifier.Seen:
    topics = (
        settings.input_topic,
        settings.emotion_topic,
        settings.review_topic,
        settings.dead_letter_topic,
    )
    inputs, events, reviews, letters = [await verifier.read(servers, topic) for topic in topics]
    return verifier.Seen(inputs, events, reviews, letters, PARTITIONS)


def unlike_sent(sent: Sequence[Input], inputs: Sequence[Any], *, compacted: bool) -> list[str]:
    """What was read as input, held against what was acknowledged: the worker reads as we do.

    By what the records are, as the offset in a late acknowledgement may be unknown. Of a compacted
    topic the last record of each key is left for sure.
    """
    last = {(each.partition, each.key): each for each in sent}
    known, read = Counter(map(_identity, sent)), Counter(map(_identity, inputs))
    due = Counter(map(_identity, last.values())) if compacted else known
    missing, unknown = (due - read).total(), (read - known).total()
    if not missing and not unknown:
        return []
    return [f"the input read is not the input sent: {missing} missing, {unknown} unknown"]


def _identity(record: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return record.partition, record.key, record.value, tuple(record.headers)


async def _unfinished(servers: str, settings: WorkerSettings) -> list[str]:
    ends = await verifier.ends(servers, settings.input_topic)
    reached = await verifier.committed(servers, settings.group_id, settings.input_topic)
    return [
        f"partition {number}: committed {reached.get(number)}, the log ends at {end}"
        for number, end in ends.items()
        if end and reached.get(number) != end
    ]


def _unlike_reference(
    seen: verifier.Seen, settings: WorkerSettings, expected: reference.Published
) -> list[str]:
    found = []
    for record in (*seen.events, *seen.reviews, *seen.letters):
        letter = record.topic == settings.dead_letter_topic
        place = verifier._letter_source(record) if letter else verifier._source(record)
        wanted = [each for each in expected.outputs.get(place, []) if each.topic == record.topic]
        if not wanted:
            found.append(f"{place}: a fault-free run publishes nothing to {record.topic}")
        elif difference := reference.difference(wanted[0], record):
            found.append(f"{place}: not as in a fault-free run: {difference}")
    return found


def _unused(scene: Scene, seen: verifier.Seen) -> list[str]:
    """Partitions that a fault made, and nothing came to."""
    unused = set(range(scene.partitions)) - {each.partition for each in seen.inputs}
    return [f"no message came to partitions {sorted(unused)}: nothing is proven"] if unused else []


def _seen_otherwise_during(scene: Scene, seen: verifier.Seen) -> list[str]:
    """Who read while the faults happened saw the same records in the same order."""
    after: dict[Any, list[int]] = {}
    for record in (*seen.events, *seen.reviews, *seen.letters):
        after.setdefault((record.topic, record.partition), []).append(record.offset)
    found = []
    for place, arrivals in scene.watcher.arrivals.items():
        during = [each.record.offset for each in arrivals]
        if during != after.get((place.topic, place.partition), []):
            found.append(f"{place}: seen otherwise while the faults happened")
    return found


async def _in_vain(servers: str, settings: WorkerSettings, seen: verifier.Seen) -> int:
    """Results that were written but did not count: aborted, or repeats."""
    written = 0
    for topic in (settings.emotion_topic, settings.dead_letter_topic):
        written += len(await verifier.read(servers, topic, isolation="read_uncommitted"))
    distinct = {verifier._source(each) for each in seen.events}
    distinct |= {verifier._letter_source(each) for each in seen.letters}
    return written - len(distinct)


class Abort(NamedTuple):
    """A marker of an aborted transaction in one partition."""

    topic: str
    partition: int
    offset: int
    producer: tuple[int, int]  # its id and epoch


def transactions(aborts: Iterable[Abort]) -> int:
    """How many were aborted, at least (pure).

    A transaction has a marker in each partition that it wrote to, and of one producer and epoch
    there can be several.
    """
    markers = Counter((each.producer, each.topic, each.partition) for each in aborts)
    most: Counter[tuple[int, int]] = Counter()
    for (producer, *_), count in markers.items():
        most[producer] = max(most[producer], count)
    return most.total()


def _counting(aborts: set[Abort]) -> Any:  # noqa: ANN401
    """Collect the abort markers that a reader meets."""
    found = PartitionRecords._contains_abort_marker

    def noted(self: Any, batch: Any) -> bool:  # noqa: ANN401
        aborted = bool(found(self, batch))
        if aborted:
            producer = batch.producer_id, batch.producer_epoch
            at = self._tp
            aborts.add(Abort(at.topic, at.partition, batch.base_offset, producer))
        return aborted

    return mock.patch.object(PartitionRecords, "_contains_abort_marker", noted)


@cache
def _classifier(*, real: bool) -> Classifier:
    if not real:
        return classifier(FakeEngine())
    return parts.classifier(WorkerSettings(threads=1, _env_file=None))  # as the workers have it
