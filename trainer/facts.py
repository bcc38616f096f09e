"""What is to be said of a run: gathered from its stages, and kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import Field, ValidationError

from schemas import manifest
from schemas.manifest import ModelManifest
from schemas.record import Record
from trainer import compare, evaluate, production, stage
from trainer.compare import Comparison
from trainer.evaluate import Evaluation, Triple
from trainer.gate import Gate, Outcome
from trainer.job import FitError, read_fitted
from trainer.lineage import Lineage, Selection
from trainer.production import Production, Served
from trainer.settings import TrainerSettings
from trainer.stage import Done, StageManifest
from trainer.tables import DataError
from worker import storage

FILE: Final = "facts.json"
ABLATION: Final[tuple[Selection, ...]] = ("none", "seed", "calibrated")


class Step(Record):
    """One stage of the lineage."""

    stage: str
    folder: str
    fingerprint: str
    parents: tuple[str, ...] = ()
    """What it was made from: stages' folders and files."""
    numbers: dict[str, float]
    offsets: dict[str, list[int]]


class Facts(Record):
    """All that the report says."""

    student: str
    """The student's folder, by name."""
    selection: str
    verdict: str
    version: str | None
    settings: dict[str, str | int | float | bool | None]
    steps: list[Step]
    policy: dict[str, Any]
    production: Production | None
    """Of the new review samples."""
    served: list[Served]
    """Of all review samples: the champion that the student met first."""
    curves: dict[str, list[dict[str, float]]]
    ablation: dict[str, Evaluation]
    gain: dict[str, Triple] = Field(default_factory=dict)
    """Macro-F1 of an arm minus that of labels of people alone (`none`), on the same items."""
    before: Evaluation | None
    after: Evaluation
    comparison: Comparison | None


def gather(gate: Gate, outcome: Outcome) -> Facts:
    """All that the report says of a run."""
    lineage = gate.lineage
    after = outcome.student.folder / "model"
    students = _arms(lineage) if lineage.options.ablation else {}
    made = [
        lineage.teacher,
        lineage.pseudo,
        lineage.selected,
        outcome.student,
        lineage.evaluated(after),
        *gate.made.values(),
    ]
    collected = [(each, stage.read(each)) for each in lineage.sources.snapshots]
    steps = [_step(folder, stated) for folder, stated in collected if stated]
    steps += [_step(each.folder, each.manifest) for each in made]
    samples = lineage.sources.samples()
    fits = {"teacher": lineage.teacher, "student": outcome.student}
    return Facts(
        student=outcome.student.folder.name,
        selection=lineage.options.selection,
        settings=_shown(lineage.options),
        steps=steps,
        policy=orjson.loads((lineage.selected.folder / "policy.json").read_bytes()),
        production=production.describe(samples, lineage.sources.labelled, lineage.options)
        if samples
        else None,
        curves={
            name: found.curve for name, each in fits.items() if (found := read_fitted(each.folder))
        },
        ablation={name: lineage.measured(each.folder / "model") for name, each in students.items()},
        gain=_gain(lineage, students),
        after=lineage.measured(after),
        **_decided(gate, outcome),
    )


def decided(kept: Facts, gate: Gate, outcome: Outcome) -> Facts:
    """`kept`, with what the gate said of that student since."""
    evaluated = gate.lineage.evaluated(outcome.student.folder / "model")
    made = [evaluated, *gate.made.values()]
    anew = {each.manifest.stage for each in made}
    steps = [each for each in kept.steps if each.stage not in anew]
    steps += [_step(each.folder, each.manifest) for each in made]
    told = {"steps": steps, "after": evaluate.read(evaluated.folder)[0], **_decided(gate, outcome)}
    if evaluated.folder.name not in {each.folder for each in kept.steps}:  # of another golden set
        told |= {"ablation": {}, "gain": {}}
    return kept.model_copy(update=told)


def _decided(gate: Gate, outcome: Outcome) -> dict[str, Any]:
    """What depends on the champion, and on what the gate said."""
    before = gate.champion
    return {
        "verdict": outcome.verdict,
        "version": outcome.promotion.version if outcome.promotion else None,
        "served": served(gate.lineage, before),
        "before": gate.lineage.measured(before) if before else None,
        "comparison": outcome.comparison,
    }


def _shown(options: TrainerSettings) -> dict[str, Any]:
    """The settings, without a registry's password."""
    shown = options.model_dump(mode="json")
    return shown | {"registry": storage.without_password(options.registry)}


def _step(folder: Path, stated: StageManifest) -> Step:
    return Step(
        stage=stated.stage,
        folder=folder.name,
        fingerprint=stated.fingerprint,
        parents=tuple(stated.parents),
        numbers=stated.numbers,
        offsets=stated.offsets,
    )


def _arms(lineage: Lineage) -> dict[Selection, Done]:
    """The students of the ablation; one that cannot be fitted is told of, and left out."""
    students: dict[Selection, Done] = {}
    for name in ABLATION:
        try:
            students[name] = lineage.student(name)
        except FitError as error:
            lineage.say(f"finetune ({name}): {error}; the report does without it")
    return students


def _gain(lineage: Lineage, students: Mapping[Selection, Done]) -> dict[str, Triple]:
    if "none" not in students:
        return {}
    measured = {
        name: evaluate.read(lineage.evaluated(each.folder / "model").folder)[1]
        for name, each in students.items()
    }
    said = {name: each.probabilities.argmax(axis=1) for name, each in measured.items()}
    labels, how = measured["none"].labels, lineage.options.model_dump(include={"resamples", "seed"})
    return {
        name: compare.macro_f1_difference(labels, said["none"], each, **how).triple
        for name, each in said.items()
        if name != "none"
    }


def served(lineage: Lineage, champion: Path | None) -> list[Served]:
    """What people say of what was answered in production. Raises DataError.

    A finished run used up its samples to train on, not to say how good their answers were.
    """
    version = None
    if champion:
        stated = (champion / manifest.FILE_NAME).read_bytes()
        version = ModelManifest.model_validate_json(stated).version
    sources = lineage.sources
    return production.served(sources.all_samples(), sources.reviewed, version, lineage.options)


def folder(work: Path, student: str) -> Path:
    """Where the facts of a student's run are kept, and its report."""
    return work / "reports" / student


def write(work: Path, facts: Facts) -> None:
    """Keep the facts of a run. Raises StageError."""
    kept = folder(work, facts.student)
    with stage.writing(kept):
        kept.mkdir(parents=True, exist_ok=True)
        body = orjson.dumps(facts.model_dump(), option=orjson.OPT_INDENT_2)
        stage.write_durably(kept / FILE, body)


def read(kept: Path) -> Facts:
    """What `write` kept. Raises DataError."""
    try:
        return Facts.model_validate_json((kept / FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{kept / FILE} cannot be read: {type(error).__name__}") from None
