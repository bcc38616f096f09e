"""The checkpoints of a fit: it goes on from the last that was written to its end."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from accelerate import PartialState  # type: ignore[import-untyped]
from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME

from trainer.job import FitError

FOLDER: Final = "checkpoints"
PREFIX: Final = "checkpoint-"  # as `Trainer` names them
WHOLE: Final = "whole"  # marks a checkpoint whose every file was written


class MarkWhole(TrainerCallback):
    """Marks each checkpoint after its last file, and only then removes what nobody needs any more.

    One that a kill cut short, in the making or while it was removed, is not gone on from.
    """

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002  (TrainerCallback's signature)
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Write the mark, once each process has written its part; keep this one and the best."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            folder = _checkpoints(args)
            (folder / f"{PREFIX}{state.global_step}" / WHOLE).touch()
            for step, each in _steps(folder).items():
                if step not in {state.global_step, state.best_global_step}:
                    (each / WHOLE).unlink(missing_ok=True)
                    shutil.rmtree(each)


def last_whole(checkpoints: Path) -> Path | None:
    """The newest checkpoint that was written to its end; those that were not are removed."""
    steps = _steps(checkpoints)
    for step, each in list(steps.items()):
        if not (each / WHOLE).exists():
            shutil.rmtree(steps.pop(step))
    return steps[max(steps)] if steps else None


def is_over(last: Path, patience: int) -> bool:
    """Whether the fit ended with `last`, early or not.

    `Trainer` would train on where it was to stop early; and where the folder was moved since, it
    would take the last weights for the best.
    """
    stated = json.loads((last / TRAINER_STATE_NAME).read_bytes())
    if stated["global_step"] >= stated["max_steps"]:
        return True
    stopping = stated["stateful_callbacks"][EarlyStoppingCallback.__name__]["attributes"]
    return bool(stopping["early_stopping_patience_counter"] >= patience)


def at(checkpoints: Path, step: int | None) -> Path:
    """The whole checkpoint of a step. Raises FitError."""
    found = checkpoints / f"{PREFIX}{step}"
    if not (found / WHOLE).exists():
        raise FitError(f"{found} is gone, and it is the best: remove {checkpoints} to fit anew")
    return found


def _steps(checkpoints: Path) -> dict[int, Path]:
    found = checkpoints.glob(f"{PREFIX}*")
    return {int(each.name.rpartition("-")[2]): each for each in found}


def _checkpoints(args: TrainingArguments) -> Path:
    if args.output_dir is None:
        raise FitError("a fit needs a folder for its checkpoints")
    return Path(args.output_dir)
