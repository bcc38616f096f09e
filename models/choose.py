"""The teachers' opinion → a training set by each policy: hard labels of the seed, or soft ones."""

from collections.abc import Sequence
from pathlib import Path

from models.teachers import Together
from trainer import choose as trainers
from trainer import select
from trainer.select import Example
from trainer.settings import TrainerSettings
from trainer.stage import Numbers


def choose(
    together: Together, human: Sequence[Example], folder: Path, options: TrainerSettings
) -> Numbers:
    """Write none.parquet, seed.parquet and soft.parquet into `folder`. Raises DataError."""
    believed = select.seed_filter(together.rows, options.min_confidence, options.min_margin)
    sets = {
        "none": list(human),
        "seed": [*human, *select.pseudo(believed, "new", soft=False)],
        "soft": select.mix(
            human,
            [],
            select.pseudo(together.rows, "new", soft=True),
            human_share=options.human_share,
            replay_share=0.0,
            seed=options.seed,
        ),
    }
    for name, rows in sets.items():
        trainers.write_examples(folder / f"{name}.parquet", rows)
    return {
        "offered": len(together.rows),
        "plain_weight": together.plain_weight,
        "seed_accepted": len(believed),
        **together.numbers,
    }
