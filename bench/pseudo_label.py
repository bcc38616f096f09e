"""How fast the trainer labels texts, beside `worker classify`: one model, the same texts, in turn.

Both from texts to what is written: events there, pseudo.parquet here.
`python -m bench.pseudo_label`.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from time import process_time
from typing import Final

import numpy as np

from bench import texts
from bench.classify import Row, Side, alternate, classify_with, ratio
from bench.tables import machine, table
from trainer import labeller, predict, pseudo_label, tables
from trainer.dataset import Text
from worker.settings import BUNDLED_MODEL, WorkerSettings

TEXTS: Final = 4096
ROUNDS: Final = 5
MAX_LENGTH: Final = 256
OURS, THEIRS = "pseudo-label", "classify"


def run(given: list[str], rounds: int) -> list[Row]:
    """One row: the bundled model as both would load it."""
    options = WorkerSettings(model=str(BUNDLED_MODEL), max_length=MAX_LENGTH, cache_entries=0)
    classifier, budget = predict.load(BUNDLED_MODEL, MAX_LENGTH, 0)
    rows = [Text(str(place), text) for place, text in enumerate(given)]
    with tempfile.TemporaryDirectory() as folder:

        def labelling() -> None:
            parts = labeller.label(given, classifier, budget, int)
            scores = np.concatenate([part for _, part in parts])
            labelled = pseudo_label.rows(rows, scores)
            tables.write(Path(folder) / pseudo_label.FILE, labelled)

        events = classify_with(options, classifier, given)
        sides: dict[str, Side] = {OURS: labelling, THEIRS: events}
        # Other work on the machine slows both, but not alike: CPU seconds tell what each costs.
        spent: dict[str, list[float]] = {THEIRS: [], OURS: []}
        timed = {name: timing(side, spent[name]) for name, side in sides.items()}
        rates = alternate(timed, len(given), rounds)
    return [
        {
            "model": f"bundled model, {classifier.engine.precision}",
            "pseudo-label, texts/s": median(rates[OURS]),
            "classify, texts/s": median(rates[THEIRS]),
            "pseudo-label over classify": ratio(rates, OURS, THEIRS),
            "the same by CPU seconds": median(a / b for a, b in zip(*spent.values(), strict=True)),
        }
    ]


def timing(side: Side, spent: list[float]) -> Side:
    """`side`, which adds the CPU seconds of this process."""

    def timed() -> None:
        before = process_time()
        side()
        spent.append(process_time() - before)

    return timed


def main() -> int:
    """Print the table."""
    rows = run(texts.compose(TEXTS), ROUNDS)
    print(f"{machine()}; {TEXTS} texts of bench/texts.py; medians of {ROUNDS} alternating runs\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
