"""The bundled model, from public text and `data/train.tsv`: `python -m models DATA`.

public text → words → labels → bases → teachers → opinions → selection → students → figures → the
model's folder. Each is a stage as the trainer's are: skipped when its inputs are unchanged, and
gone on with after a kill.
"""

import argparse
import sys
from pathlib import Path

import torch

from models import corpus, figures
from models.ground import Ground
from models.scale import SCALES
from models.story import ARMS, Story
from trainer import problems, stage
from trainer.settings import DATA, TrainerSettings


def main() -> int:
    """Make the model; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with " + ", ".join(corpus.FILES))
    parser.add_argument("--work", type=Path, default=Path("runs/bundled"), help="of the stages")
    parser.add_argument("--out", type=Path, help="where the model goes; without it, figures only")
    parser.add_argument(
        "--arm",
        action="append",
        choices=ARMS,
        help="of the ablation; all by default, an hour or so each, `cut` several",
    )
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="gpu" if torch.cuda.is_available() else "cpu",
        help="gpu: a larger teacher, more pretraining and texts; by default as the machine is",
    )
    given = parser.parse_args()
    options = TrainerSettings(
        _env_file=None,
        labelled=DATA / "train.tsv",
        golden=DATA / "golden.tsv",
        group_by_length=True,
        validation_share=0.1,
    )
    ground = Ground(given.data, given.work, options, SCALES[given.scale], _say)
    story = Story(ground, given.arm or ARMS)
    try:
        with stage.alone(given.work):
            found = story.figures()
            _say((found.folder / figures.TABLE).read_text(encoding="utf-8"))
            if given.out:
                story.ship(given.out)
                _say(f"the model is in {given.out}")
    except problems.expected() as error:
        print(f"models: {error}", file=sys.stderr)
        return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
