"""Labelled data → a teacher."""

from pathlib import Path

import numpy as np

from schemas.emotion import EMOTIONS
from trainer import leakage, ranks, select
from trainer.dataset import Labelled
from trainer.job import Job
from trainer.settings import TrainerSettings
from trainer.split import split
from trainer.stage import Numbers
from trainer.tables import DataError


def teach(
    labelled: list[Labelled],
    golden: list[Labelled],
    folder: Path,
    options: TrainerSettings,
    commit: str | None = None,
) -> Numbers:
    """Fit the teacher, a hub's at `commit`, into `folder`/model.

    Raises LeakageError, DataError, FitError.
    """
    leakage.Firewall(golden).check(labelled)
    train, held_out = split(labelled, options.validation_share, options.seed)
    rate = options.teacher_learning_rate
    people = select.human(train), select.human(held_out)
    return fitted(Job(options.teacher, *people, options, rate, commit=commit), folder)


def fitted(job: Job, folder: Path) -> Numbers:
    """Fit what there is enough of. Raises DataError, FitError."""
    train, held_out = len(job.train), len(job.validation)
    if not train or not held_out:
        raise DataError(f"too little to fit {job.spec}: {train} to train, {held_out} held out")
    certain = {EMOTIONS[int(np.argmax(each.target))] for each in job.train}
    if len(certain) == 1:
        raise DataError(f"each of the {train} texts to fit {job.spec} to is {certain.pop()}")
    result = ranks.fit(job, folder)
    return {
        "train": train,
        "held_out": held_out,
        "steps": result.steps,
        "macro_f1": result.macro_f1,
    }
