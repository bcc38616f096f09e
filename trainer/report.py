"""What a run did and why, as one HTML file that needs nothing else, and as Markdown."""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, Final

import orjson
from pydantic import ValidationError

from schemas.emotion import EMOTIONS
from schemas.record import Record
from trainer import compare, history, stage
from trainer.compare import Comparison
from trainer.dataset import DataError
from trainer.evaluate import Evaluation, Production

FACTS, HTML, MARKDOWN = "facts.json", "report.html", "report.md"

Triple = tuple[float, float, float]

PAGE: Final = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
$font
body { font: 15px/1.55 Maum, system-ui, sans-serif; color: #1f2933;
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid #e4e7eb; }
.verdict { padding: .7rem 1rem; border-left: .3rem solid; background: #f5f7fa; }
.promote { border-color: #15803d; } .reject { border-color: #b91c1c; }
.insufficient { border-color: #b45309; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } .plots svg { max-width: 100%; height: auto; }
code { font-size: .85em; } ul { padding-left: 1.2rem; }
</style></head><body>
$body
</body></html>
"""
)


class Step(Record):
    """One stage of the lineage."""

    stage: str
    folder: str
    fingerprint: str
    numbers: dict[str, float]
    offsets: dict[str, list[int]]


class Facts(Record):
    """All that a report says."""

    student: str
    """The student's folder, by name."""
    selection: str
    verdict: str
    version: str | None
    settings: dict[str, str | int | float | bool | None]
    steps: list[Step]
    policy: dict[str, Any]
    production: Production | None
    curves: dict[str, list[dict[str, float]]]
    ablation: dict[str, Evaluation]
    before: Evaluation | None
    after: Evaluation
    comparison: Comparison | None


def write(work: Path, facts: Facts) -> None:
    """Keep the facts of a run. Raises StageError."""
    folder = work / "reports" / facts.student
    with stage.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        body = orjson.dumps(facts.model_dump(), option=orjson.OPT_INDENT_2)
        stage.write_durably(folder / FACTS, body)


def render_last(work: Path) -> Path:
    """Write HTML and Markdown of the last finished run; their folder.

    Raises DataError, StageError.
    """
    runs = history.read(work)
    if not runs:
        raise DataError(f"no run has finished in {work} yet: nothing to report")
    folder = work / "reports" / Path(runs[-1].student).name
    try:
        facts = Facts.model_validate_json((folder / FACTS).read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{folder / FACTS} cannot be read: {type(error).__name__}") from None
    with stage.writing(folder):
        (folder / HTML).write_text(page(facts), encoding="utf-8")
        (folder / MARKDOWN).write_text(markdown(facts), encoding="utf-8")
    return folder


def page(facts: Facts) -> str:
    """The HTML. Raises FontError."""
    from trainer import plots  # noqa: PLC0415  (lazy: matplotlib takes a second)

    plots.use_korean_font()
    before = {"champion": facts.before} if facts.before else {}
    both = before | {"student": facts.after}
    classes: dict[str, dict[str, Triple]] = {
        name: {each: one.intervals[each] for each in EMOTIONS} for name, one in both.items()
    }
    tried = {
        name: {shown(each): one.intervals[each] for each in ("macro_f1", "accuracy")}
        for name, one in facts.ablation.items()
    }
    drawn = [plots.confusion(one.confusion, name) for name, one in both.items()]
    parts = [
        f"<h1>{_title(facts)}</h1>",
        _verdict(facts),
        "<h2>What was collected, kept and why</h2>",
        _list(kept(facts)),
        _table(["", *EMOTIONS], _policy_rows(facts)),
        "<h2>Scores on the evaluation set</h2>",
        _table(["", *both], _score_rows(both)),
        _plots([plots.bars(classes, "F1 by emotion, with 95 % intervals")]),
        _plots(drawn),
        "<h2>Calibration and fits</h2>",
        _plots(
            [
                plots.reliability({name: one.bins for name, one in both.items()}),
                plots.curves(facts.curves),
            ]
        ),
        *(
            [
                "<h2>Ablation: did pseudo-labels help?</h2>",
                _table(["", *facts.ablation], _score_rows(facts.ablation)),
                _plots([plots.bars(tried, "Ablation, with 95 % intervals")]),
            ]
            if facts.ablation
            else []
        ),
        "<h2>Slices (student)</h2>",
        _table(["slice", "", "items", "accuracy", "macro-F1"], _slice_rows(facts.after)),
        "<h2>Production</h2>",
        _list(production(facts)),
        "<h2>Lineage</h2>",
        _table(["stage", "folder", "numbers"], _step_rows(facts)),
        _table(["setting", "value"], [[key, str(each)] for key, each in facts.settings.items()]),
    ]
    body = "\n".join(parts)
    return PAGE.substitute(title=_title(facts), font=plots.font_face(body), body=body)


def markdown(facts: Facts) -> str:
    """The same for a model card, without the plots."""
    both = ({"champion": facts.before} if facts.before else {}) | {"student": facts.after}
    parts = [
        f"# {_title(facts)}",
        "\n".join(_reasons(facts)),
        "## What was collected, kept and why",
        "\n".join(f"- {line}" for line in kept(facts)),
        "## Scores on the evaluation set",
        facts.after.table,
        _rows(["", *both], _score_rows(both)),
    ]
    if facts.ablation:
        parts += ["## Ablation", _rows(["", *facts.ablation], _score_rows(facts.ablation))]
    parts += [
        "## Slices",
        _rows(["slice", "", "items", "accuracy", "macro-F1"], _slice_rows(facts.after)),
        "## Production",
        "\n".join(f"- {line}" for line in production(facts)),
        "## Lineage",
        _rows(["stage", "folder", "numbers"], _step_rows(facts)),
    ]
    return "\n\n".join(parts) + "\n"


def kept(facts: Facts) -> list[str]:
    """What came in, and what of it was believed."""
    lines = []
    for step in facts.steps:
        numbers = {key: int(value) for key, value in step.numbers.items() if value == int(value)}
        if step.stage == "collect":
            spans = ", ".join(f"{part}: {a} to {b - 1}" for part, (a, b) in step.offsets.items())
            lines.append(
                f"collected {numbers['samples']} samples ({numbers['low_margin']} of low margin), "
                f"{numbers['repeats']} repeats and {numbers['quarantined']} malformed left out; "
                f"offsets {spans}"
            )
        if step.stage == "select":
            lines.append(
                f"of {numbers['offered']} pseudo-labels the seed's filter accepts "
                f"{numbers['seed_accepted']}, the calibrated one {numbers['calibrated_accepted']}; "
                f"the student was fitted to {numbers[f'{facts.selection}_rows']} rows "
                f"({facts.selection})"
            )
    return [*lines, f"the teacher's temperature is {facts.policy['temperature']:.2f}"]


def production(facts: Facts) -> list[str]:
    """What the review samples say of production."""
    found = facts.production
    if found is None:
        return ["no review samples in this run"]
    shares = ", ".join(
        f"{name} {share:.1%} ({low:.1%} to {high:.1%})"
        for name, (share, low, high) in found.prior.items()
    )
    auc = "too few texts" if found.text_drift_auc is None else _triple(found.text_drift_auc)
    accuracy = (
        f"too few human labels ({found.labelled})"
        if found.accuracy is None
        else f"{_triple(found.accuracy)} from {found.labelled} human labels"
    )
    return [
        f"accuracy of the serving model over all messages: {accuracy}",
        f"emotions of all messages, by the serving model: {shares}",
        f"text drift (a domain classifier's AUC; 0.5 is none): {auc}",
        f"divergence of classes from the labelled data (0 to 1): {_triple(found.class_divergence)}",
    ]


def _title(facts: Facts) -> str:
    return f"Maum: retraining {facts.student}"


def _reasons(facts: Facts) -> list[str]:
    if facts.comparison is None:
        told = "there was no champion" if facts.version else "the gate was not asked"
        return [f"verdict: {facts.verdict} ({told})"]
    return compare.describe(facts.comparison).splitlines()


def _verdict(facts: Facts) -> str:
    first, *others = _reasons(facts)
    version = f" · version {html.escape(facts.version)}" if facts.version else ""
    kind = facts.verdict.split()[0]
    head = f"<strong>{html.escape(first)}</strong>{version}"
    return f'<div class="verdict {kind}">{head}{_list(line.strip() for line in others)}</div>'


def shown(name: str) -> str:
    """A figure's name as people write it."""
    return name.replace("_f1", "-F1")


def _score_rows(models: Mapping[str, Evaluation]) -> list[list[str]]:
    names = ["macro_f1", "weighted_f1", "accuracy", *EMOTIONS]
    rows = [
        [shown(name), *(_triple(one.intervals[name]) for one in models.values())] for name in names
    ]
    return [
        *rows,
        ["calibration error (ECE)", *(_triple(one.ece) for one in models.values())],
        ["Brier score (0 to 2)", *(_triple(one.brier) for one in models.values())],
        ["items", *(str(one.items) for one in models.values())],
    ]


def _policy_rows(facts: Facts) -> list[list[str]]:
    accepted = facts.policy["accepted"]
    thresholds = facts.policy["thresholds"]
    reached = [f"{thresholds[name]:.2f}" if thresholds[name] <= 1 else "never" for name in EMOTIONS]
    rows = [["calibrated threshold", *reached]]
    for name in ("seed", "calibrated"):
        counts = [str(accepted[name].get(each, 0)) for each in EMOTIONS]
        rows.append([f"accepted, {name}", *counts])
    return rows


def _slice_rows(one: Evaluation) -> list[list[str]]:
    return [
        [each.name, each.value, str(each.items), _triple(each.accuracy), _triple(each.macro_f1)]
        for each in one.slices
    ]


def _step_rows(facts: Facts) -> list[list[str]]:
    return [
        [
            step.stage,
            step.folder,
            ", ".join(f"{key} {value:.4g}" for key, value in step.numbers.items()),
        ]
        for step in facts.steps
    ]


def _triple(value: Sequence[float]) -> str:
    return f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [
        "<tr>" + "".join(f"<{cell}>{html.escape(each)}</{cell}>" for each in row) + "</tr>"
        for cell, row in [("th", head), *(("td", row) for row in rows)]
    ]
    return f"<table>{''.join(lines)}</table>"


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _plots(drawn: Iterable[str]) -> str:
    return f'<div class="plots">{"".join(drawn)}</div>'


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)
