"""The checkpoints of a fit: it goes on from the last that was written to its end."""

import shutil
from pathlib import Path
from typing import Any, Final

from accelerate import PartialState  # type: ignore[import-untyped]
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainer.job import FitError

FOLDER: Final = "checkpoints"
WHOLE: Final = "whole"  # marks a checkpoint whose every file was written


class MarkWhole(TrainerCallback):
    """Marks each checkpoint after its last file: one that a kill cut short is not gone on from."""

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002  (TrainerCallback's signature)
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Write the mark, once each process has written its part."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            (_checkpoints(args) / f"checkpoint-{state.global_step}" / WHOLE).touch()


def last_whole(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end; others are removed."""
    steps = {}
    for each in checkpoints.glob("checkpoint-*"):
        if (each / WHOLE).exists():
            steps[int(each.name.rpartition("-")[2])] = each
        else:
            shutil.rmtree(each)
    return str(steps[max(steps)]) if steps else None


def _checkpoints(args: TrainingArguments) -> Path:
    if args.output_dir is None:
        raise FitError("a fit needs a folder for its checkpoints")
    return Path(args.output_dir)
