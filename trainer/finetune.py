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


def finetune(  # noqa: PLR0913, PLR0917  (what is learned from, what is not, and how)
    selected: list[Example],
    labelled: list[Labelled],
    golden: list[Labelled],
    folder: Path,
    options: TrainerSettings,
    commit: str | None = None,
) -> Numbers:
    """Fit the student, a hub's at `commit`, into `folder`/model.

    It stops early by labels of people that it never saw. A training set of other
    making may hold some of those, however spelt: they are left out of it.
    Golden texts may be neither in what is learned from nor among the labels that stop the fit.

    Raises LeakageError, DataError, FitError.
    """
    leakage.Firewall(golden).check([*selected, *labelled])
    _, held_out = split(labelled, options.validation_share, options.seed)
    unseen = {leakage.normal(row.text) for row in held_out}
    train = [each for each in selected if leakage.normal(each.text) not in unseen]
    job = Job(
        options.student,
        train,
        select.human(held_out),
        options,
        options.student_learning_rate,
        settled=options.settle_weights,
        commit=commit,
    )
    return fitted(job, folder) | {"held_out_left_out": len(selected) - len(train)}
