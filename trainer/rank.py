"""One process of a fit in several: `python -m trainer.rank FOLDER`, as `trainer.launch` starts."""

import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

from trainer import fit, launch, ranks


@record
def main(folder: Path) -> None:
    """Do the job in `folder` together with the other ranks."""
    launch.end_with_the_trainer(folder)
    fit.fit(ranks.read(folder), folder)


if __name__ == "__main__":
    sys.excepthook = lambda *_: None  # it is on record, and `trainer.launch` tells it
    main(Path(sys.argv[1]))
