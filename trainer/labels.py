"""What reviewers said, kept in `labels.jsonl`: a line each time, and the last word counts."""

from pathlib import Path
from typing import Any, Final

import orjson

from trainer import stage, tables
from trainer.dataset import Labelled

FILE: Final = "labels.jsonl"
WITHDRAWN: Final = ""  # in place of an emotion: the reviewer took the label back


def add(work: Path, *rows: Labelled) -> None:
    """Keep labels, at once and for good, all or none; a later one of the same id counts instead.

    Raises StageError.
    """
    path = work / FILE
    lines = [
        orjson.dumps({"id": row.id, "text": row.text, "emotion": row.emotion}) + b"\n"
        for row in rows
    ]
    with stage.writing(path):
        work.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.exists() else b""
        stage.write_durably(path, before + b"".join(lines))  # half a line would spoil the file


def read(work: Path) -> list[Labelled]:
    """What reviewers said, the last word of each. Raises DataError."""
    path = work / FILE
    if not path.exists() or not path.stat().st_size:
        return []
    rows: dict[str, dict[str, Any]] = {}
    for row in tables.read(path):
        rows.pop(row["id"], None)  # the last word is last, also among samples of the same text
        rows[row["id"]] = row
    return [
        Labelled(row["id"], row["text"], row["emotion"])
        for row in rows.values()
        if row["emotion"] != WITHDRAWN
    ]
