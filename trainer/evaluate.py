"""A model on the golden set: scores with intervals, slices, calibration; and what serves now."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
    accuracy: Triple
    macro_f1: Triple
    """Over the classes that occur in it."""


class Evaluation(Record):
    """Everything that was measured. Triples: value, and its 95 % interval."""

    items: int
    table: str
    """Markdown, per class."""
    intervals: dict[str, Triple]
    confusion: list[list[int]]
    """Rows: labels, columns: predictions, in the order of EMOTIONS."""
    ece: Triple
    brier: Triple
    bins: list[tuple[float, float, int]]
    """Confidence, accuracy and count of each bin of the reliability diagram."""
    slices: list[Slice]
    messages_a_second: float


class Production(Record):
    """What the review samples say of the model that serves, and of the messages.

    Triples as in Evaluation.
    """

    samples: int
    prior: dict[str, Triple]
    """Share of each emotion among all messages, by the serving model."""
    text_drift_auc: Triple | None
    class_divergence: Triple
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
    labels = _indices(row["emotion"] for row in rows)
    measured = Measured(labels, found.probabilities)
    result = describe(measured, rows, found.messages_a_second, options)
    body = orjson.dumps(result.model_dump(), option=orjson.OPT_INDENT_2)
    (folder / EVALUATION).write_bytes(body)
    predictions = [
        {"id": row["id"], "emotion": row["emotion"], "scores": each.tolist()}
        for row, each in zip(rows, found.probabilities, strict=True)
    ]
    dataset.write_parquet(folder / PREDICTIONS, predictions)
    return {name: each[0] for name, each in result.intervals.items()} | {"ece": result.ece[0]}


def describe(
    measured: Measured, rows: Sequence[Mapping[str, Any]], speed: float, options: TrainerSettings
) -> Evaluation:
    """All figures (pure)."""
    labels, predictions = measured.labels, measured.probabilities.argmax(axis=1)
    weights = scores.resample(labels, options.resamples, options.seed)
    found = scores.intervals(labels, predictions, options.resamples, options.seed)
    ece, brier = calibrate.intervals(measured.probabilities, labels, weights)
    return Evaluation(
        items=len(labels),
        table=scores.score(labels, predictions).table(),
        intervals={name: each.triple for name, each in found.items()},
        confusion=scores.confusion(labels, predictions).tolist(),
        ece=ece.triple,
        brier=brier.triple,
        bins=[
            (each.confidence, each.accuracy, each.count)
            for each in calibrate.measure(measured.probabilities, labels).bins
        ],
        slices=sliced(measured, rows, weights),
        messages_a_second=speed,
    )


def sliced(measured: Measured, rows: Sequence[Mapping[str, Any]], weights: Floats) -> list[Slice]:
    """Each slice's scores; `weights` (resamples, n) as of `scores.resample` (pure)."""
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    ordered = np.sort(measured.probabilities, axis=1)
    for place, row in enumerate(rows):
        margin = float(ordered[place, -1] - ordered[place, -2])
        for name, value in slices.of_text(row).items():
            places[name, value].append(place)
        places["margin", slices.of_margin(margin)].append(place)
    found = []
    for (name, value), inside in sorted(places.items()):
        predictions = measured.probabilities[inside].argmax(axis=1)
        accuracy, macro_f1 = scores.part(measured.labels[inside], predictions, weights[:, inside])
        found.append(
            Slice(
                name=name,
                value=value,
                items=len(inside),
                accuracy=accuracy.triple,
                macro_f1=macro_f1.triple,
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
    labels = _indices(row["emotion"] for row in rows)
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
    incoming = [row["text"] for row in samples if row["reason"] == "random"]
    auc = None
    if min(len(incoming), len(trained)) >= ENOUGH:
        texts = [row.text for row in trained]
        auc = drift.text_auc(texts, incoming, options.resamples, options.seed)
    labels = {row.id: row.emotion for row in people}
    labelled = [row for row in samples if row["id"] in labels]
    accuracy = None
    if len(labelled) >= ENOUGH:
        right = np.array([labels[row["id"]] == row["emotion"] for row in labelled])
        chances = _chances(samples, labelled)
        found = scores.weighted_share(right, chances, options.resamples, options.seed)
        accuracy = found.triple
    prior, divergence = _classes(samples, trained, options)
    return Production(
        samples=len(samples),
        prior={name: each.triple for name, each in zip(EMOTIONS, prior, strict=True)},
        text_drift_auc=auc.triple if auc else None,
        class_divergence=divergence.triple,
        labelled=len(labelled),
        accuracy=accuracy,
    )


def _classes(
    samples: Sequence[Mapping[str, Any]], trained: Sequence[Labelled], options: TrainerSettings
) -> tuple[list[scores.Interval], scores.Interval]:
    """The share of each emotion now, and how far the shares are from the labelled data's."""
    emotions = [row["emotion"] for row in samples]
    inclusion = [float(row["inclusion_probability"]) for row in samples]
    now = np.array(list(drift.prior(emotions, inclusion).values()))
    counts = np.bincount(_indices(row.emotion for row in trained), minlength=len(EMOTIONS))
    before: Floats = counts / len(trained)
    resamples, seed = options.resamples, options.seed
    shares = scores.weighted_shares(_indices(emotions), np.array(inclusion), resamples, seed)
    draws = np.random.default_rng(seed + 1)  # apart from those of the shares
    labelled = draws.multinomial(len(trained), before, size=resamples) / len(trained)
    divergence = scores.distance(
        float(drift.class_divergence(before, now)), drift.class_divergence(labelled, shares)
    )
    prior = [scores.interval(float(now[k]), shares[:, k]) for k in range(len(EMOTIONS))]
    return prior, divergence


def _indices(emotions: Iterable[str]) -> Labels:
    return np.array([EMOTIONS.index(each) for each in emotions], dtype=np.int64)


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
