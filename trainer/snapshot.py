"""The files of a snapshot: the samples, and beside them what is malformed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson

from trainer import samples, tables
from trainer.samples import Sifted

SAMPLES: Final = "samples.parquet"
QUARANTINE: Final = "quarantine.jsonl"


def contents(folders: Iterable[Path]) -> dict[str, str]:
    """Of each sample that snapshots hold: `id` → what tells its message. Raises DataError."""
    return {
        row["id"]: samples.content(row)
        for folder in folders
        if (folder / SAMPLES).exists()
        for row in tables.read(folder / SAMPLES)
    }


def write(folder: Path, sifted: Sifted) -> None:
    """Fill the folder of a snapshot; no file of samples where there are none. Raises DataError."""
    if sifted.samples:
        tables.write(folder / SAMPLES, sifted.samples)
    lines = [orjson.dumps(each) + b"\n" for each in sifted.quarantine]
    (folder / QUARANTINE).write_bytes(b"".join(lines))
