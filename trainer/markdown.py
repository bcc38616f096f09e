"""A report as Markdown, for a model card."""

from collections.abc import Iterable, Sequence

from trainer import wording
from trainer.facts import Facts


def markdown(facts: Facts) -> str:
    """The same for a model card, without the plots."""
    both = ({"champion": facts.before} if facts.before else {}) | {"student": facts.after}
    parts = [
        f"# {wording.title(facts)}",
        "\n".join(wording.reasons(facts)),
        "## What was collected, kept and why",
        "\n".join(f"- {line}" for line in wording.kept(facts)),
        "## Scores on the evaluation set",
        _table(["", *both], wording.score_rows(both)),
        *(
            f"### Each emotion: {name}\n\n{_table(wording.CLASS_HEAD, wording.class_rows(one))}"
            for name, one in both.items()
        ),
    ]
    if facts.ablation:
        parts += ["## Ablation: did pseudo-labels help?"]
        parts += ["\n".join(f"- {line}" for line in wording.ablation(facts))]
        parts += [_table(["", *facts.ablation], wording.score_rows(facts.ablation))]
    parts += [
        "## Slices",
        _table(["slice", "", "items", "accuracy", "macro-F1"], wording.slice_rows(facts.after)),
        "## Production",
        "\n".join(f"- {line}" for line in wording.production(facts)),
        "## Lineage",
        _table(wording.STEP_HEAD, wording.step_rows(facts)),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)
