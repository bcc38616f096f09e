"""Tables of texts and labels, checked as they are read.

Columns: `id` (unique; a hash of the text stands in), `text`, `emotion` (one of the six), and for
pseudo-labels `pred_emotion`, `pred_conf`, `pred_margin` and `scores` (six, as `EMOTIONS`).
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import Any, Final

from schemas.emotion import EMOTIONS
from trainer import tables
from trainer.leakage import normal
from trainer.tables import DataError

SHOWN: Final = 3  # examples named in a complaint
GOLDEN_A_CLASS: Final = 20


@dataclass(frozen=True, slots=True)
class Text:
    """A text without a label."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and what somebody says it expresses."""

    id: str
    text: str
    emotion: str


@dataclass(frozen=True, slots=True)
class Pseudo:
    """A text and what a model says: `scores` in the order of `EMOTIONS`, or empty if unknown."""

    id: str
    text: str
    pred_emotion: str
    pred_conf: float
    pred_margin: float
    scores: tuple[float, ...] = ()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Every row of a file, each with a `text` and an `id` of its own. Raises DataError."""
    rows = tables.read(path)
    if "text" not in rows[0]:
        raise DataError(f"{path} has no column text (it has {', '.join(map(str, rows[0]))})")
    for number, row in enumerate(rows, start=1):
        text = row["text"]
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{path}: row {number} has no text")
    _identify(path, rows)
    return rows


def read_texts(path: Path) -> list[Text]:
    """Texts; a label beside them is not looked at. Raises DataError."""
    return [Text(row["id"], row["text"]) for row in read_rows(path)]


def read_stream(path: Path) -> list[dict[str, Any]]:
    """Rows of what came in by itself: those without a text are left out. Raises DataError."""
    rows = tables.read(path)
    if "text" not in rows[0]:
        raise DataError(f"{path} has no column text (it has {', '.join(map(str, rows[0]))})")
    _identify(path, rows)
    return [row for row in rows if isinstance(row["text"], str) and row["text"].strip()]


def read_labelled(path: Path, *, at_least: int = 1) -> list[Labelled]:
    """Labelled texts, `at_least` so many of each of the six emotions. Raises DataError."""
    rows = read_rows(path)
    if "emotion" not in rows[0]:
        raise DataError(f"{path} has no column emotion (it has {', '.join(rows[0])})")
    labels = _require_known(path, [str(row["emotion"]) for row in rows])
    if len(labels) == 1:
        raise DataError(f"{path} has one class only: every row is {next(iter(labels))}")
    if few := [f"{name} {labels[name]}" for name in EMOTIONS if labels[name] < at_least]:
        wanted = f"at least {at_least} of each emotion"
        raise DataError(f"{path} is too small: {', '.join(few)}; {wanted} are needed")
    return [Labelled(row["id"], row["text"], row["emotion"]) for row in rows]


def read_golden(path: Path) -> list[Labelled]:
    """The evaluation set, large enough to say something. Raises DataError."""
    return read_labelled(path, at_least=GOLDEN_A_CLASS)


def read_pseudo(path: Path) -> list[Pseudo]:
    """What a model said of texts. Raises DataError."""
    rows = read_rows(path)
    wanted = ("pred_emotion", "pred_conf", "pred_margin")
    if lacking := [name for name in wanted if name not in rows[0]]:
        raise DataError(f"{path} has no column {', '.join(lacking)}")
    _require_known(path, [str(row["pred_emotion"]) for row in rows])
    return [_pseudo(path, number, row) for number, row in enumerate(rows, start=1)]


def _pseudo(path: Path, number: int, row: dict[str, Any]) -> Pseudo:
    try:
        confidence, margin = _finite([row["pred_conf"], row["pred_margin"]])
        scores = tuple(_scores(row.get("scores")))
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: the pseudo-label of row {number} is wrong: {error}") from None
    return Pseudo(row["id"], row["text"], row["pred_emotion"], confidence, margin, scores)


def apart(row: Text) -> str:
    """An id that no other text has, for one whose own id another text has as well."""
    return f"{row.id}~{_hash(row.text)}"


def merge(human: Iterable[Labelled], others: Iterable[Labelled]) -> list[Labelled]:
    """Both, and of the same text, however spelt, only the `human` label.

    Of two human ones the last counts where the texts are equal letter for letter: `네?` and `네!`
    may well express different things.
    """
    people = {each.text.strip(): each for each in human}
    said = {normal(text) for text in people}
    return [*people.values(), *(each for each in others if normal(each.text) not in said)]


def _identify(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Give each row an id of its own; rows without one have the same in every file and order."""
    turns: Counter[str] = Counter()
    for row in rows:
        given = row.get("id")
        if given is None or given == "":
            name = _hash(str(row["text"]))
            turns[name] += 1
            row["id"] = f"text-{name}" if turns[name] == 1 else f"text-{name}-{turns[name]}"
        else:
            row["id"] = str(given)
    repeated = [name for name, count in Counter(row["id"] for row in rows).items() if count > 1]
    if repeated:
        raise DataError(f"{path} has {len(repeated)} ids more than once: {_some(repeated)}")


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _scores(value: object) -> list[float]:
    found = json.loads(value) if isinstance(value, str) and value else value or []
    if not isinstance(found, list) or len(found) not in {0, len(EMOTIONS)}:
        raise ValueError("scores must be six numbers")
    return _finite(found)


def _finite(values: Iterable[Any]) -> list[float]:
    found = [float(each) for each in values]
    if not all(map(isfinite, found)):
        raise ValueError("NaN and infinity are no probabilities")
    return found


def _require_known(path: Path, labels: Iterable[str]) -> Counter[str]:
    """How often each label occurs. Raises DataError where one is not of the six."""
    counts = Counter(labels)
    if unknown := [label for label in counts if label not in EMOTIONS]:
        raise DataError(f"{path} has unknown labels: {_some(unknown)}; the six are {_six()}")
    return counts


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name) for name in names[:SHOWN]) + more


def _six() -> str:
    return ", ".join(EMOTIONS)
