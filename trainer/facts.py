"""What the report says of a run, gathered from its stages."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from trainer import evaluate, history, stage
from trainer.report import Facts, Step

if TYPE_CHECKING:
    from trainer.recipe import Outcome, Recipe, Selection

ABLATION: Final[tuple["Selection", ...]] = ("none", "seed", "calibrated")


def gather(recipe: "Recipe", outcome: "Outcome", before: Path | None) -> Facts:
    """All that the report says of a run; `before` is the champion it met."""
    after = outcome.student.folder / "model"
    tried = ABLATION if recipe.options.ablation else ()
    students = {name: recipe.student(name) for name in tried}
    made = [
        recipe.teacher,
        recipe.pseudo,
        recipe.selected,
        outcome.student,
        recipe.evaluated(after),
    ]
    collected = [(each, stage.read(each)) for each in recipe.sources.snapshots]
    steps = [(folder, stated) for folder, stated in collected if stated]
    steps += [(each.folder, each.manifest) for each in made]
    samples = recipe.sources.samples()
    fits = {"teacher": recipe.teacher, "student": outcome.student}
    return Facts(
        student=outcome.student.folder.name,
        selection=recipe.selection,
        verdict=outcome.verdict,
        version=outcome.promotion.version if outcome.promotion else None,
        settings=recipe.options.model_dump(mode="json"),
        steps=[
            Step(
                stage=stated.stage,
                folder=folder.name,
                fingerprint=stated.fingerprint,
                numbers=stated.numbers,
                offsets=stated.offsets,
            )
            for folder, stated in steps
        ],
        policy=orjson.loads((recipe.selected.folder / "policy.json").read_bytes()),
        production=evaluate.production(
            samples, history.labels(recipe.options.work), recipe.sources.labelled, recipe.options
        )
        if samples
        else None,
        curves={
            name: orjson.loads((each.folder / "curve.json").read_bytes())
            for name, each in fits.items()
        },
        ablation={name: recipe.measured(each.folder / "model") for name, each in students.items()},
        before=recipe.measured(before) if before else None,
        after=recipe.measured(after),
        comparison=outcome.comparison,
    )
