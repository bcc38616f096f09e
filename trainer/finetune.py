"""The selected training set → a student."""

from pathlib import Path

from trainer import leakage, select
from trainer.dataset import Labelled
from trainer.job import Job
from trainer.select import Example
from trainer.settings import TrainerSettings
from trainer.split import split
from trainer.stage import Numbers
from trainer.teach import fitted


def finetune(  # noqa: PLR0913  (what is learned from, what is not, and how)
    student: str,
    selected: list[Example],
    labelled: list[Labelled],
    golden: list[Labelled],
    folder: Path,
    *,
    options: TrainerSettings,
) -> Numbers:
    """Fit the student into `folder`/model; it stops early by labels of people that it never saw.

    Raises LeakageError, DataError, FitError.
    """
    leakage.Firewall(golden).check(selected)
    _, held_out = split(labelled, options.validation_share, options.seed)
    rate = options.student_learning_rate
    return fitted(Job(student, selected, select.human(held_out), options, rate), folder)
