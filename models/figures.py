"""How good each arm is, on texts that nobody was fitted to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from models import teachers
from schemas.emotion import EMOTIONS
from trainer import calibrate, predict, scores
from trainer.dataset import Labelled
from trainer.scores import Floats
from trainer.settings import TrainerSettings
from trainer.stage import Numbers

TABLE: Final = "figures.md"
FACTS: Final = "figures.json"
BASELINE: Final = "TF-IDF"


def write(
    folder: Path,
    models: Mapping[str, Path],
    plain: Path,
    sets: Mapping[str, Sequence[Labelled]],
    options: TrainerSettings,
) -> Numbers:
    """Score every model and the TF-IDF baseline on every set; a table and the facts in `folder`.

    Raises ModelError, EngineError, InferenceError.
    """
    facts = {}
    for name, rows in sets.items():
        words = [row.text for row in rows]
        for arm, model in models.items():
            facts[f"{arm} on {name}"] = measure(predict.of(model, words, options), rows, options)
        facts[f"{BASELINE} on {name}"] = measure(teachers.say(plain, words), rows, options)
    (folder / FACTS).write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2))
    (folder / TABLE).write_text(table(facts) + "\n", encoding="utf-8")
    return {what: facts[what]["macro_f1"][0] for what in facts}


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
        wide = " | ".join(_interval(told[name]) for name in ("accuracy", "macro_f1"))
        each = " | ".join(f"{told[name][0]:.2f}" for name in EMOTIONS)
        lines.append(
            f"| {what} | {told['messages'][0]:.0f} | {wide} | {each} | {_interval(told['ece'])} |"
        )
    return "\n".join(lines)


def _interval(triple: tuple[float, float, float]) -> str:
    return f"{triple[0]:.3f} ({triple[1]:.3f}–{triple[2]:.3f})"
