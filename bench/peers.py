"""The plot of throughput beside the peers, from the results of `classify` and `infinity`."""

import json
from pathlib import Path
from typing import Final

from bench import plots

MODELS: Final = {"bundled model": "기본 모델", "RoBERTa-base shape": "RoBERTa-base 크기 모델"}


def drawn(folder: Path) -> list[Path]:
    """The plots that are there already."""
    return sorted(folder.glob("throughput-*.svg"))


def draw(results: Path, folder: Path) -> list[Path]:
    """One plot a model; nothing unless both were measured, on one day and machine."""
    try:
        both = [
            json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("classify", "infinity")
        ]
    except FileNotFoundError:
        return []
    heads = {each["machine"].partition(";")[0] for each in both}
    if len(heads) > 1:
        return []
    day = heads.pop().partition(",")[0]
    ours, theirs = (each["rows"] for each in both)
    made = []
    for place, (name, korean) in enumerate(MODELS.items()):
        rows = {row["model"]: row for row in [*ours, *theirs]}
        fp32, int8, infinity = rows[f"{name}, fp32"], rows[f"{name}, int8"], rows[name]
        bars = {
            "허깅페이스 파이프라인": fp32["pipeline one by one, fp32, msg/s"],
            "인피니티 float32": infinity["Infinity float32, msg/s"],
            "인피니티 int8": infinity["Infinity int8, msg/s"],
            "마음 fp32": fp32["classify, msg/s"],
            # Of the same run as the peer it is held against, where that has it.
            "마음 int8": infinity.get("classify, int8, msg/s", int8["classify, msg/s"]),
            "순수 추론 int8 (상한)": int8["bare forward, msg/s"],
        }
        title = f"처리량: {korean} ({day})"
        made.append(plots.throughput(bars, title, folder / f"throughput-{place}.svg"))
    return made
