"""A report as one HTML file that needs nothing else."""

import html
from collections.abc import Iterable, Sequence
from string import Template
from typing import Final

from schemas.emotion import EMOTIONS
from trainer import wording
from trainer.facts import Facts

Triple = tuple[float, float, float]

PAGE: Final = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
$font
body { font: 15px/1.55 Maum, system-ui, sans-serif; color: #1f2933;
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid #e4e7eb; }
.verdict { padding: .7rem 1rem; border-left: .3rem solid; background: #f5f7fa; }
.promote { border-color: #15803d; } .reject { border-color: #b91c1c; }
.insufficient, .withdrawn { border-color: #b45309; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } .plots svg { max-width: 100%; height: auto; }
code { font-size: .85em; } ul { padding-left: 1.2rem; }
</style></head><body>
$body
</body></html>
"""
)


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
        name: {wording.shown(each): one.intervals[each] for each in ("macro_f1", "accuracy")}
        for name, one in facts.ablation.items()
    }
    drawn = [plots.confusion(one.confusion, name) for name, one in both.items()]
    parts = [
        f"<h1>{wording.title(facts)}</h1>",
        _verdict(facts),
        "<h2>What was collected, kept and why</h2>",
        _list(wording.kept(facts)),
        _table(["", *EMOTIONS], wording.policy_rows(facts)),
        "<h2>Scores on the evaluation set</h2>",
        _table(["", *both], wording.score_rows(both)),
        *(
            f"<h3>Each emotion: {name}</h3>{_table(wording.CLASS_HEAD, wording.class_rows(one))}"
            for name, one in both.items()
        ),
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
                _list(wording.ablation(facts)),
                _table(["", *facts.ablation], wording.score_rows(facts.ablation)),
                _plots([plots.bars(tried, "Ablation, with 95 % intervals")]),
            ]
            if facts.ablation
            else []
        ),
        "<h2>Slices (student)</h2>",
        _table(["slice", "", "items", "accuracy", "macro-F1"], wording.slice_rows(facts.after)),
        "<h2>Production</h2>",
        _list(wording.production(facts)),
        "<h2>Lineage</h2>",
        _table(wording.STEP_HEAD, wording.step_rows(facts)),
        _table(["setting", "value"], [[key, str(each)] for key, each in facts.settings.items()]),
    ]
    body = "\n".join(parts)
    return PAGE.substitute(title=wording.title(facts), font=plots.font_face(body), body=body)


def _verdict(facts: Facts) -> str:
    first, *others = wording.reasons(facts)
    version = f" · version {html.escape(facts.version)}" if facts.version else ""
    kind = facts.verdict.split()[0]
    head = f"<strong>{html.escape(first)}</strong>{version}"
    return f'<div class="verdict {kind}">{head}{_list(line.strip() for line in others)}</div>'


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
