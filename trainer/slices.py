"""Which slices of the evaluation set a text falls into (pure)."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

SHORT: Final = 8  # letters, at most
LONG: Final = 60  # letters, at least
SURE: Final = 0.5  # margin
UNSURE: Final = 0.2

_JAMO: Final = re.compile(r"[ㄱ-ㅎㅏ-ㅣ]{2,}")  # ㅋㅋ, ㅠㅠ, ㅇㅈ


def of_text(row: Mapping[str, Any]) -> dict[str, str]:
    """Slice → value for a row with `text`, and maybe `register` and `tags`."""
    text = row["text"]
    found = {"length": _length(text), "jamo": "yes" if _JAMO.search(text) else "no"}
    found["emoji"] = "yes" if any(unicodedata.category(each) == "So" for each in text) else "no"
    if row.get("register"):
        found["register"] = str(row["register"])
    tags = [tag for tag in str(row.get("tags") or "").split(",") if tag]
    found |= {f"tag {tag}": "yes" for tag in tags}
    return found


def of_margin(margin: float) -> str:
    """The band of a margin."""
    if margin < UNSURE:
        return f"under {UNSURE}"
    return f"{UNSURE} to {SURE}" if margin < SURE else f"{SURE} and more"


def _length(text: str) -> str:
    letters = len(text)
    if letters <= SHORT:
        return f"short (to {SHORT})"
    return f"long ({LONG} and more)" if letters >= LONG else "middle"
