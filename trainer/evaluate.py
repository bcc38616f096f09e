"""A model on the golden set: scores with intervals, slices, calibration; and what serves now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final

import numpy as np
import orjson

from schemas.emotion import EMOTIONS
from schemas.record import Record
from trainer import calibrate, dataset, drift, predict, scores, slices
from trainer.dataset import Labelled
from trainer.scores import Floats, Labels
from trainer.settings import TrainerSettings
from trainer.stage import Numbers

EVALUATION: Final = "evaluation.json"
PREDICTIONS: Final = "predictions.parquet"
TURNS: Final = 3  # at least
TIMED_SECONDS: Final = 3.0  # at least: a small model is over in a moment, and a moment is noise
TIMED_TEXTS: Final = 200
ENOUGH: Final = 30  # labelled samples, to estimate anything of production

Triple = tuple[float, float, float]


class Slice(Record):
    """A part of the golden set."""

    name: str
    value: str
    items: int
    accuracy: float
    macro_f1: float
    """Over the classes that occur in it."""


class Evaluation(Record):
    """Everything that was measured. Triples: value, and its 95 % interval."""

    items: int
    table: str
    """Markdown, per class."""
    intervals: dict[str, Triple]
    confusion: list[list[int]]
    """Rows: labels, columns: predictions, in the order of EMOTIONS."""
    ece: float
    brier: float
    bins: list[tuple[float, float, int]]
    """Confidence, accuracy and count of each bin of the reliability diagram."""
    slices: list[Slice]
    messages_a_second: float


class Production(Record):
    """What the review samples say of the model that serves, and of the messages."""

    samples: int
    prior: dict[str, float]
    """Share of each emotion among all messages, by the serving model."""
    text_drift_auc: float | None
    class_divergence: float
    labelled: int
    accuracy: Triple | None
    """Of the serving model, over all messages; None for fewer than ENOUGH human labels."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Labels (n,) and probabilities (n, 6) on the golden set."""

    labels: Labels
    probabilities: Floats


def evaluate(model: Path, golden: Path, folder: Path, options: TrainerSettings) -> Numbers:
    """Measure `model` on `golden`; write evaluation.json and predictions.parquet.

    Raises DataError, ModelError, EngineError, InferenceError.
    """
    rows = _golden_rows(golden)
    classifier, budget = predict.load(model, options.max_length, options.threads)
    texts = [row["text"] for row in rows]
    found = predict.predict(classifier, texts, budget, title="evaluate", quiet=False)
    labels = np.array([EMOTIONS.index(row["emotion"]) for row in rows], dtype=np.int64)
    measured = Measured(labels, found.probabilities)
    result = describe(measured, rows, found.messages_a_second, options)
    body = orjson.dumps(result.model_dump(), option=orjson.OPT_INDENT_2)
    (folder / EVALUATION).write_bytes(body)
    predictions = [
        {"id": row["id"], "emotion": row["emotion"], "scores": each.tolist()}
        for row, each in zip(rows, found.probabilities, strict=True)
    ]
    dataset.write_parquet(folder / PREDICTIONS, predictions)
    return {name: triple[0] for name, triple in result.intervals.items()} | {"ece": result.ece}


def describe(
    measured: Measured, rows: Sequence[Mapping[str, Any]], speed: float, options: TrainerSettings
) -> Evaluation:
    """All figures (pure)."""
    labels, predictions = measured.labels, measured.probabilities.argmax(axis=1)
    found = scores.intervals(labels, predictions, options.resamples, options.seed)
    calibration = calibrate.measure(measured.probabilities, labels)
    return Evaluation(
        items=len(labels),
        table=scores.score(labels, predictions).table(),
        intervals={name: (each.value, each.low, each.high) for name, each in found.items()},
        confusion=scores.confusion(labels, predictions).tolist(),
        ece=calibration.ece,
        brier=calibration.brier,
        bins=[(each.confidence, each.accuracy, each.count) for each in calibration.bins],
        slices=sliced(measured, rows),
        messages_a_second=speed,
    )


def sliced(measured: Measured, rows: Sequence[Mapping[str, Any]]) -> list[Slice]:
    """Each slice's scores (pure)."""
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    ordered = np.sort(measured.probabilities, axis=1)
    for place, row in enumerate(rows):
        margin = float(ordered[place, -1] - ordered[place, -2])
        for name, value in slices.of_text(row).items():
            places[name, value].append(place)
        places["margin", slices.of_margin(margin)].append(place)
    found = []
    for (name, value), inside in sorted(places.items()):
        labels = measured.labels[inside]
        each = scores.score(labels, measured.probabilities[inside].argmax(axis=1))
        f1 = [one.f1 for one in each.classes if one.support]
        found.append(
            Slice(
                name=name,
                value=value,
                items=len(inside),
                accuracy=each.accuracy,
                macro_f1=sum(f1) / len(f1),
            )
        )
    return found


def read(folder: Path) -> tuple[Evaluation, Measured]:
    """What `evaluate` left in `folder`. Raises DataError."""
    try:
        stated = Evaluation.model_validate_json((folder / EVALUATION).read_bytes())
    except (OSError, ValueError) as error:
        raise dataset.DataError(f"{folder} holds no evaluation: {error}") from None
    rows = dataset.read_table(folder / PREDICTIONS)
    labels = np.array([EMOTIONS.index(row["emotion"]) for row in rows], dtype=np.int64)
    return stated, Measured(labels, np.array([row["scores"] for row in rows]))


def speeds(models: Sequence[Path], texts: Sequence[str], options: TrainerSettings) -> list[float]:
    """Messages a second of each, in turns; the best turn counts, as other work only slows.

    On a CPU they are seconds of this process, whatever else the machine does meanwhile.
    """
    loaded = [predict.load(each, options.max_length, options.threads) for each in models]
    best = [0.0] * len(models)
    turns, started = 0, perf_counter()
    while turns < TURNS or perf_counter() - started < TIMED_SECONDS:
        turns += 1
        for place, (classifier, budget) in enumerate(loaded):
            clock = process_time if classifier.engine.name.endswith("cpu") else perf_counter
            before = clock()
            predict.predict(classifier, texts[:TIMED_TEXTS], budget)
            best[place] = max(best[place], min(len(texts), TIMED_TEXTS) / (clock() - before))
    return best


def production(
    samples: Sequence[Mapping[str, Any]],
    people: Sequence[Labelled],
    trained: Sequence[Labelled],
    options: TrainerSettings,
) -> Production:
    """Unbiased estimates from the review samples, weighed by their inclusion probability.

    The labelled ones of each stratum stand for all of it: label the random stratum in its own
    order. Low-margin samples that people chose for their value make the estimate too low, if any.
    """
    emotions = [row["emotion"] for row in samples]
    inclusion = [float(row["inclusion_probability"]) for row in samples]
    now = drift.prior(emotions, inclusion)
    before: dict[str, float] = {
        name: sum(row.emotion == name for row in trained) / len(trained) for name in EMOTIONS
    }
    incoming = [row["text"] for row in samples if row["reason"] == "random"]
    auc = None
    if min(len(incoming), len(trained)) >= ENOUGH:
        auc = drift.text_auc([row.text for row in trained], incoming, options.seed)
    labels = {row.id: row.emotion for row in people}
    labelled = [row for row in samples if row["id"] in labels]
    accuracy = None
    if len(labelled) >= ENOUGH:
        right = np.array([labels[row["id"]] == row["emotion"] for row in labelled])
        chances = _chances(samples, labelled)
        found = scores.weighted_share(right, chances, options.resamples, options.seed)
        accuracy = (found.value, found.low, found.high)
    return Production(
        samples=len(samples),
        prior=now,
        text_drift_auc=auc,
        class_divergence=drift.class_divergence(before, now),
        labelled=len(labelled),
        accuracy=accuracy,
    )


def _chances(samples: Sequence[Mapping[str, Any]], labelled: Sequence[Mapping[str, Any]]) -> Floats:
    """Of each labelled sample: chosen by the worker, and then labelled within its stratum."""
    share = {
        reason: sum(row["reason"] == reason for row in labelled)
        / max(sum(row["reason"] == reason for row in samples), 1)
        for reason in ("low_margin", "random")
    }
    return np.array([float(r["inclusion_probability"]) * share[r["reason"]] for r in labelled])


def _golden_rows(golden: Path) -> list[dict[str, Any]]:
    dataset.read_golden(golden)  # checks labels and counts
    return dataset.read_rows(golden)
