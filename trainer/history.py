"""What earlier runs used and gave: `history.json`, the snapshots, and the teacher's opinions."""

from pathlib import Path
from typing import Final

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from schemas.record import Record
from trainer import dataset, stage
from trainer.pseudo_label import FILE as PSEUDO
from trainer.snapshot import SAMPLES
from trainer.tables import DataError

FILE: Final = "history.json"


class Run(Record):
    """A finished run. Paths are relative to the folder of the stages."""

    snapshots: list[str]
    selected: str
    student: str
    verdict: str
    version: str | None
    """What was promoted, if anything."""
    used: list[str] = Field(default_factory=list)
    """The folders of its stages, made or found made; older runs did not state them."""


_RUNS: Final = TypeAdapter(list[Run])


def read(work: Path) -> list[Run]:
    """The finished runs, oldest first. Raises DataError."""
    try:
        return _RUNS.validate_json((work / FILE).read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        raise DataError(f"{work / FILE} cannot be read: {type(error).__name__}") from None


def add(work: Path, run: Run) -> None:
    """Remember a finished run; once, however often its end is repeated after a kill.

    Raises DataError, StageError.
    """
    runs = read(work)
    if not runs or runs[-1] != run:
        body = orjson.dumps([each.model_dump() for each in [*runs, run]])
        with stage.writing(work / FILE):
            stage.write_durably(work / FILE, body)


def snapshots(work: Path) -> list[Path]:
    """The finished snapshots of the review topic that hold samples, oldest first.

    Raises DataError for one that was changed: its samples are nowhere else.
    """
    found = []
    for folder in (work / "collect").glob("[!.]*"):
        if (folder / SAMPLES).exists():
            manifest = stage.read(folder)
            if manifest is None:
                raise DataError(
                    f"{folder} was changed since it was collected (see its {stage.MANIFEST}): "
                    "restore its files, or move it away and do without its samples"
                )
            found.append((manifest.started_at, folder))
    return [folder for _, folder in sorted(found)]


def opinions(work: Path) -> dict[str, str]:
    """What the newest teacher said of the samples: id → emotion; empty before there is one.

    Raises DataError.
    """
    done = [
        (manifest.finished_at, folder)
        for folder in (work / "pseudo-label").glob("[!.]*")
        if (manifest := stage.read(folder)) and "texts" not in manifest.inputs  # of another file
    ]
    if not done:
        return {}
    rows = dataset.read_pseudo(max(done)[1] / PSEUDO)
    return {row.id: row.pred_emotion for row in rows}
