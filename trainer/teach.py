"""Labelled data → a teacher."""

from pathlib import Path

import orjson

from trainer import leakage, ranks, select
from trainer.dataset import DataError, Labelled
from trainer.settings import TrainerSettings
from trainer.split import split
from trainer.stage import Numbers


def teach(
    labelled: list[Labelled], golden: list[Labelled], folder: Path, options: TrainerSettings
) -> Numbers:
    """Fit the teacher into `folder`/model. Raises LeakageError, DataError, FitError."""
    leakage.Firewall(golden).check(labelled)
    train, held_out = split(labelled, options.validation_share, options.seed)
    return fitted(
        options.teacher,
        select.human(train),
        select.human(held_out),
        folder,
        options,
        learning_rate=options.teacher_learning_rate,
    )


def fitted(  # noqa: PLR0913  (those of `fit`)
    spec: str,
    train: list[select.Example],
    validation: list[select.Example],
    folder: Path,
    options: TrainerSettings,
    *,
    learning_rate: float,
) -> Numbers:
    """Fit, and keep the curve beside the model. Raises DataError, FitError."""
    if not train or not validation:
        raise DataError(
            f"too little to fit {spec}: {len(train)} to train, {len(validation)} held out"
        )
    result = ranks.fit(spec, train, validation, folder, options, learning_rate=learning_rate)
    (folder / "curve.json").write_bytes(orjson.dumps(result.curve))
    return {
        "train": len(train),
        "held_out": len(validation),
        "steps": result.steps,
        "macro_f1": result.macro_f1,
    }
