"""What readers said of public text, without the text: `data/read.tsv`.

Columns `text_sha256`, the first 16 hexadecimal digits of the SHA-256 of a text's UTF-8, and
`emotions`: one; two that fit about as well, the better first; or none.
"""

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from schemas.emotion import EMOTIONS
from trainer import tables
from trainer.dataset import Labelled, Text
from trainer.leakage import normal
from trainer.select import Example
from trainer.settings import DATA
from trainer.tables import DataError

FILE: Final = DATA / "read.tsv"
DIGITS: Final = 16
SECOND: Final = 0.35  # the share of the emotion that was named second

Target = tuple[float, ...]


def key(text: str) -> str:
    """How the file names a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def read(path: Path) -> dict[str, Target]:
    """The distribution over `EMOTIONS` of each text that readers found one in. Raises DataError."""
    found = {}
    for row in tables.read(path):
        named = [name for name in row["emotions"].split(",") if name]
        if unknown := set(named) - set(map(str, EMOTIONS)):
            raise DataError(f"{path}: {', '.join(sorted(unknown))}: not an emotion")
        if named:
            found[row["text_sha256"]] = _target(named)
    return found


def examples(path: Path, texts: Iterable[Text], labelled: Collection[str]) -> list[Example]:
    """Those of `texts` that readers gave an emotion, but for what is `labelled` by people.

    Raises DataError.
    """
    targets, known = read(path), {normal(text) for text in labelled}
    found = []
    for row in texts:
        target = targets.get(key(row.text))
        if target and normal(row.text) not in known:
            found.append(Example(row.id, row.text, target, "human"))
    return found


def first(rows: Iterable[Example]) -> list[Labelled]:
    """The same with the one emotion that has the larger share."""
    return [
        Labelled(row.id, row.text, str(EMOTIONS[row.target.index(max(row.target))])) for row in rows
    ]


def _target(named: list[str]) -> Target:
    shares = {named[-1]: SECOND, named[0]: 1 - SECOND} if len(named) > 1 else {named[0]: 1.0}
    return tuple(shares.get(str(emotion), 0.0) for emotion in EMOTIONS)
