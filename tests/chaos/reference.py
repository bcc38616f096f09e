"""What a run without faults publishes, by the worker's own pure parts and without Kafka."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from schemas.deadletter import Reason
from worker import codec
from worker.classifier import Classifier
from worker.codec import DecodeError, Output
from worker.decision import Decision, decide
from worker.engines import InferenceError, Tokens
from worker.outcome import Router
from worker.settings import WorkerSettings

Place = tuple[int, int]
TOLERANCE: Final = 1e-4  # of scores: the rows of a batch round differently in other company
BATCH: Final = 32


class Published(NamedTuple):
    """What comes of the input."""

    outputs: dict[Place, list[Output]]  # of each record, by partition and offset
    messages: int  # that can be read, and so are tokenised


def published(
    records: Sequence[Any], settings: WorkerSettings, classifier: Classifier
) -> Published:
    """The outputs of each input record."""
    router = Router(settings)
    made: dict[Place, list[Output]] = {}
    waiting = []
    for record in records:
        place = record.partition, record.offset
        if record.value is None:
            made[place] = []
            continue
        try:
            chat = codec.decode(record.value, settings.max_message_bytes, codec.size(record))
        except DecodeError as error:
            made[place] = list(router.refuse(record, error.reason, str(error), 0).outputs)
            continue
        waiting.append((place, record, chat))
    encoded = classifier.tokenize([chat.text for _, _, chat in waiting])
    decisions = _decisions(classifier, [each.tokens for each in encoded], settings)
    for (place, record, chat), each in zip(waiting, encoded, strict=True):
        verdict = decisions[each.tokens]
        if isinstance(verdict, InferenceError):
            outcome = router.refuse(record, Reason.UNCLASSIFIABLE, str(verdict), 0)
        else:
            outcome = router.route(record, chat, verdict, classifier.model, each.truncated, 0)
        made[place] = list(outcome.outputs)
    return Published(made, len(waiting))


def _decisions(
    classifier: Classifier, rows: Sequence[Tokens], settings: WorkerSettings
) -> dict[Tokens, Decision | InferenceError]:
    found: dict[Tokens, Decision | InferenceError] = {}
    distinct = sorted(set(rows), key=len)
    for start in range(0, len(distinct), BATCH):
        batch = distinct[start : start + BATCH]
        try:
            probabilities = classifier.run(classifier.prepare(batch))
        except InferenceError:
            found |= {row: _alone(classifier, row, settings) for row in batch}
            continue
        decided = decide(probabilities, settings.margin_threshold)
        found |= dict(zip(batch, decided, strict=True))
    return found


def _alone(classifier: Classifier, row: Tokens, settings: WorkerSettings) -> Any:  # noqa: ANN401
    try:
        probabilities = classifier.run(classifier.prepare([row]))
    except InferenceError as error:
        return error
    return decide(probabilities, settings.margin_threshold)[0]


def difference(expected: Output, record: Any) -> str:  # noqa: ANN401
    """What differs between a record and what was expected, apart from when it was classified."""
    if (expected.key, list(expected.headers)) != (record.key, list(record.headers)):
        return f"key or headers {record.key!r} {record.headers}"
    if expected.value == record.value:
        return ""
    if any(name == "dlq.reason" for name, _ in record.headers):
        return "other bytes in the dead letter"
    wanted, seen = orjson.loads(expected.value or b""), orjson.loads(record.value)
    names = [
        name
        for name in wanted.keys() | seen.keys()
        if name != "classified_at" and not _same(wanted.get(name), seen.get(name))
    ]
    return f"other {', '.join(sorted(names))}" if names else ""


def _same(wanted: Any, seen: Any) -> bool:  # noqa: ANN401
    if isinstance(wanted, dict) and isinstance(seen, dict):
        return wanted.keys() == seen.keys() and all(_same(wanted[k], seen[k]) for k in wanted)
    if isinstance(wanted, float) and isinstance(seen, float | int):
        return abs(wanted - seen) <= TOLERANCE
    return bool(wanted == seen)
