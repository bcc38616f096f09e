"""How good each arm is, on texts that nobody was fitted to."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from models import corpus, readers, teachers
from models.ground import Ground
from schemas.emotion import EMOTIONS
from trainer import calibrate, compare, dataset, predict, scores, wording
from trainer.dataset import Labelled
from trainer.evaluate import Triple
from trainer.scores import Floats
from trainer.settings import TrainerSettings
from trainer.stage import Numbers

TABLE: Final = "figures.md"
FACTS: Final = "figures.json"
ABLATION: Final = "ablation.md"
NONE: Final = "none"  # the arm without pseudo-labels
BELIEVING: Final = ("seed", "soft")  # those that differ from it by them alone
BASELINE: Final = "TF-IDF"


def sets(ground: Ground) -> dict[str, list[Labelled]]:
    """The texts that are held out, by where they come from. Raises DataError, and as stages do."""
    _, held_out = ground.people()
    read = readers.first(ground.read()[1])
    found = {
        "chat": [row for row in held_out if not row.id.startswith(corpus.COMMENT)],
        "comments": dataset.read_labelled(ground.labels().folder / "comments.parquet"),
        "questions": [row for row in read if row.id.startswith(corpus.QUESTION)],
        "reviews": [row for row in read if not row.id.startswith(corpus.QUESTION)],
    }
    return {name: rows for name, rows in found.items() if rows}


def write(
    folder: Path,
    models: Mapping[str, Path],
    baseline: Mapping[str, Floats],
    sets: Mapping[str, Sequence[Labelled]],
    options: TrainerSettings,
) -> Numbers:
    """Score every model and the TF-IDF baseline on every set; a table and the facts in `folder`.

    `baseline`: what TF-IDF says of each set. Also whether pseudo-labels helped, where there is an
    arm without. Raises ModelError, EngineError, InferenceError.
    """
    facts, lines = {}, []
    for name, rows in sets.items():
        words = [row.text for row in rows]
        said = {arm: predict.of(model, words, options) for arm, model in models.items()}
        for arm, probabilities in [*said.items(), (BASELINE, baseline[name])]:
            facts[f"{arm} on {name}"] = measure(probabilities, rows, options)
        lines += [
            wording.helped(f"{arm} on {name}", gain) for arm, gain in gains(said, rows, options)
        ]
    (folder / ABLATION).write_text("".join(f"- {line}\n" for line in lines), encoding="utf-8")
    (folder / FACTS).write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2))
    (folder / TABLE).write_text(table(facts) + "\n", encoding="utf-8")
    return {what: facts[what]["macro_f1"][0] for what in facts}


def gains(
    said: Mapping[str, Floats], rows: Sequence[Labelled], options: TrainerSettings
) -> Iterator[tuple[str, Triple]]:
    """The macro-F1 of `BELIEVING` minus that of `NONE`, on the same rows, where these are there.

    Of no other arm: those learn from more labels, or start from another base.
    """
    if NONE not in said:
        return
    labels, how = teachers.indices(rows), options.model_dump(include={"resamples", "seed"})
    answers = {arm: each.argmax(axis=1) for arm, each in said.items()}
    for arm in filter(answers.__contains__, BELIEVING):
        found = compare.macro_f1_difference(labels, answers[NONE], answers[arm], **how)
        yield arm, found.triple


def measure(
    probabilities: Floats, rows: Sequence[Labelled], options: TrainerSettings
) -> dict[str, tuple[float, float, float]]:
    """Accuracy, macro-F1, the F1 of each emotion and ECE, with 95 % intervals."""
    labels = teachers.indices(rows)
    found = scores.intervals(labels, probabilities.argmax(axis=1), options.resamples, options.seed)
    weights = scores.resample(labels, options.resamples, options.seed)
    found["ece"], _ = calibrate.intervals(probabilities, labels, weights)
    told = {name: (each.value, each.low, each.high) for name, each in found.items()}
    return told | {"messages": (len(rows), len(rows), len(rows))}


def table(facts: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> str:
    """Markdown, a row a model and set."""
    head = "| model and set | messages | accuracy | macro-F1 | " + " | ".join(EMOTIONS) + " | ECE |"
    lines = [head, "|---" * (5 + len(EMOTIONS)) + "|"]
    for what, told in facts.items():
        names = ("accuracy", "macro_f1", *EMOTIONS, "ece")
        each = " | ".join(_interval(told[name]) for name in names)
        lines.append(f"| {what} | {told['messages'][0]:.0f} | {each} |")
    return "\n".join(lines)


def _interval(triple: tuple[float, float, float]) -> str:
    return f"{triple[0]:.3f} ({triple[1]:.3f}–{triple[2]:.3f})"
