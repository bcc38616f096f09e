"""A model on the golden set: scores with intervals, slices, calibration, and its speed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final

import numpy as np
import orjson

from schemas.record import Record
from trainer import calibrate, dataset, predict, scores, slices, tables
from trainer.scores import Floats, Labels
from trainer.settings import TrainerSettings
from trainer.stage import Numbers

EVALUATION: Final = "evaluation.json"
PREDICTIONS: Final = "predictions.parquet"
TURNS: Final = 3  # at least
TIMED_SECONDS: Final = 3.0  # at least: a small model is over in a moment, and a moment is noise
TIMED_TEXTS: Final = 200
TIMED_BAR: Final = "{l_bar}{bar}| {elapsed}<{remaining}"

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
    classes: dict[str, dict[str, Triple]]
    """`precision` and `recall` of each class."""
    confusion: list[list[int]]
    """Rows: labels, columns: predictions, in the order of EMOTIONS."""
    ece: Triple
    brier: Triple
    bins: list[tuple[float, float, int]]
    """Confidence, accuracy and count of each bin of the reliability diagram."""
    slices: list[Slice]
    messages_a_second: float


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
    labels = scores.indices(row["emotion"] for row in rows)
    measured = Measured(labels, found.probabilities)
    result = describe(measured, rows, found.messages_a_second, options)
    body = orjson.dumps(result.model_dump(), option=orjson.OPT_INDENT_2)
    (folder / EVALUATION).write_bytes(body)
    predictions = [
        {"id": row["id"], "emotion": row["emotion"], "scores": each.tolist()}
        for row, each in zip(rows, found.probabilities, strict=True)
    ]
    tables.write(folder / PREDICTIONS, predictions)
    return {name: each[0] for name, each in result.intervals.items()} | {"ece": result.ece[0]}


def describe(
    measured: Measured, rows: Sequence[Mapping[str, Any]], speed: float, options: TrainerSettings
) -> Evaluation:
    """All figures (pure)."""
    labels, predictions = measured.labels, measured.probabilities.argmax(axis=1)
    weights = scores.resample(labels, options.resamples, options.seed)
    found = scores.intervals(labels, predictions, options.resamples, options.seed)
    classes = scores.class_intervals(labels, predictions, weights)
    ece, brier = calibrate.intervals(measured.probabilities, labels, weights)
    return Evaluation(
        items=len(labels),
        table=scores.score(labels, predictions).table(),
        intervals={name: each.triple for name, each in found.items()},
        classes={
            what: {name: each.triple for name, each in of.items()} for what, of in classes.items()
        },
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
        told = " ".join(str(error).split())[:200]
        message = f"{folder} holds no evaluation of this version of Maum; delete it ({told})"
        raise tables.DataError(message) from None
    rows = tables.read(folder / PREDICTIONS)
    labels = scores.indices(row["emotion"] for row in rows)
    return stated, Measured(labels, np.array([row["scores"] for row in rows]))


def speeds(models: Sequence[Path], texts: Sequence[str], options: TrainerSettings) -> list[float]:
    """Messages a second of each, in turns; the best turn counts, as other work only slows.

    On a CPU they are seconds of this process, whatever else the machine does meanwhile. A bar
    shows how much of the turns and of the time that it takes at least is over.
    """
    from tqdm import tqdm  # noqa: PLC0415  (lazy)

    loaded = [predict.load(each, options.max_length, options.threads) for each in models]
    best = [0.0] * len(models)
    turns, started, over = 0, perf_counter(), 0.0
    with tqdm(total=1.0, desc="compare", bar_format=TIMED_BAR) as bar:
        while over < 1:
            turns += 1
            for place, (classifier, budget) in enumerate(loaded):
                clock = process_time if classifier.engine.name.endswith("cpu") else perf_counter
                before = clock()
                predict.predict(classifier, texts[:TIMED_TEXTS], budget)
                best[place] = max(best[place], min(len(texts), TIMED_TEXTS) / (clock() - before))
            timed = (perf_counter() - started) / max(TIMED_SECONDS, 1e-9)
            over = min(1.0, turns / TURNS, timed)
            bar.update(over - bar.n)
    return best


def _golden_rows(golden: Path) -> list[dict[str, Any]]:
    dataset.read_golden(golden)  # checks labels and counts
    return dataset.read_rows(golden)
