"""Models that only older runs used: gigabytes, which would fill the disk of a scheduled trainer.

What people wrote or said stays (snapshots, pseudo-labels, selections, labels), and so does what is
told of a run (its report). What a registry has is its own.
"""

import shutil
from itertools import groupby
from pathlib import Path
from typing import Final

from trainer import history, stage
from trainer.history import Run
from trainer.lineage import Say
from trainer.settings import TrainerSettings
from worker import hub

STAGES: Final = ("teach", "finetune", "publish")  # each leaves a model
REMOVED: Final = ".removed-"  # and the folder's name, while it is removed: a kill may leave it


def prune(options: TrainerSettings, say: Say) -> None:
    """Remove the models that none of the last TRAINER_KEEP_RUNS runs made or found made.

    What cannot be removed is told, and harms nothing. Raises DataError.
    """
    gone = []
    for folder in _old(options):
        try:
            shutil.rmtree(_aside(folder))
        except OSError as error:
            say(f"prune: {folder} cannot be removed: {error.strerror or error}")
        else:
            gone.append(folder.relative_to(options.work).as_posix())
    if gone:
        say(f"prune: only older runs used {', '.join(gone)}: removed (TRAINER_KEEP_RUNS)")


def _old(options: TrainerSettings) -> list[Path]:
    runs = _runs(options.work)
    recent = runs[-options.keep_runs :]
    if not 0 < options.keep_runs < len(runs) or not all(run.used for run in recent):
        return []  # runs of versions before this one did not state it
    used = {options.work / name for run in recent for name in run.used}
    starts = filter(None, map(hub.folder, (options.teacher, options.student)))
    held = {folder.resolve() for folder in starts}
    return [
        folder
        for name in STAGES
        for folder in sorted((options.work / name).glob("*"))
        if folder not in used and _is_ours(folder) and not _holds(folder, held)
    ]


def _runs(work: Path) -> list[Run]:
    """What `promote` said later of a run is no run of its own."""
    same = groupby(history.read(work), lambda run: (run.snapshots, run.selected, run.student))
    return [list(told)[-1] for _, told in same]


def _is_ours(folder: Path) -> bool:
    """A whole stage (a partial one may have its manifest already), or half of a removed one."""
    if folder.name.startswith("."):
        return folder.name.startswith(REMOVED)
    return (folder / stage.MANIFEST).is_file() and not folder.is_symlink()


def _holds(folder: Path, starts: set[Path]) -> bool:
    """A later run may start from what an earlier one made."""
    return any(start.is_relative_to(folder.resolve()) for start in starts)


def _aside(folder: Path) -> Path:
    """Half of a stage is none: it gets a name of its own before it is removed."""
    if folder.name.startswith(REMOVED):
        return folder
    return folder.rename(folder.with_name(f"{REMOVED}{folder.name}"))
