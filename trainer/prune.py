"""What no recent run used: models of gigabytes, which would fill the disk of a scheduled trainer.

What people wrote or said stays (snapshots, pseudo-labels, selections, labels), and so does what is
told of a run (its report). What a registry has is its own.
"""

import shutil
from pathlib import Path
from typing import Final

from trainer import history, stage

STAGES: Final = ("teach", "finetune", "publish")  # each leaves a model


def prune(work: Path, keep: int) -> list[Path]:
    """Remove the models that none of the last `keep` runs used, and fits begun before and given up.

    A run uses what it makes and what it finds made; 0 keeps all. Raises DataError, OSError.
    """
    runs = history.read(work)
    if not 0 < keep < len(runs):
        return []
    kept = {work / run.student for run in runs[-keep:]}
    last = work / runs[-keep - 1].student  # of those that are not kept
    if last in kept or not (last / stage.MANIFEST).exists():
        return []
    until = stage.last_used(last)
    old = [
        folder
        for name in STAGES
        for folder in sorted((work / name).glob("*"))
        if folder not in kept and _is_stage(folder) and stage.last_used(folder) <= until
    ]
    for folder in old:
        shutil.rmtree(folder)
    return old


def _is_stage(folder: Path) -> bool:
    return folder.name.startswith(stage.PARTIAL) or (folder / stage.MANIFEST).exists()
