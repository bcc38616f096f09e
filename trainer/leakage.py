"""The firewall between the golden set and whatever trains: exact and near-duplicate texts.

A text is compared after NFKC, without spacing, punctuation and repeated letters; near duplicates
share more than half of their letter trigrams (Jaccard).
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import orjson
from tqdm import tqdm

NEAR: Final = 0.5  # Jaccard index of letter trigrams
SHOWN: Final = 20
BAR: Final[dict[str, Any]] = {"desc": "firewall", "unit": "text", "delay": 1.0}  # seconds

_REPEATED: Final = re.compile(r"(.)\1+", re.DOTALL)


class Written(Protocol):
    """Something with a text and an id."""

    @property
    def id(self) -> str:
        """Unique within its file."""

    @property
    def text(self) -> str:
        """What was written."""


W = TypeVar("W", bound=Written)


@dataclass(frozen=True, slots=True)
class Overlap:
    """A text that trains and a golden one that it repeats."""

    trained: str  # id
    golden: str  # id
    likeness: float  # 1.0: equal after normalising


class LeakageError(Exception):
    """Golden texts are among what trains: the run stops. The message has the first pairs by id."""

    def __init__(self, overlaps: Sequence[Overlap]) -> None:
        pairs = [f"  {each.trained} ~ {each.golden} ({each.likeness:.2f})" for each in overlaps]
        more = [f"  and {len(pairs) - SHOWN} more"] if len(pairs) > SHOWN else []
        head = f"{len(pairs)} texts that would train repeat golden ones; take them out:"
        super().__init__("\n".join([head, *pairs[:SHOWN], *more]))
        self.overlaps = tuple(overlaps)

    def listed(self) -> bytes:
        """Every pair, as JSON Lines."""
        return b"".join(orjson.dumps(each) + b"\n" for each in self.overlaps)


def normal(text: str) -> str:
    """`text` as it is compared: NFKC, lower case, letters and digits alone, each run as one.

    A text of nothing but signs and emoji keeps them.
    """
    composed = unicodedata.normalize("NFKC", text).casefold()
    letters = "".join(letter for letter in composed if letter.isalnum())
    return _REPEATED.sub(r"\1", letters or "".join(composed.split()))


Gram = tuple[str, int]


def trigrams(normalised: str) -> frozenset[Gram]:
    """The letter trigrams of a normalised text, each with its turn; of a shorter one, itself.

    With their turns, or a text that goes round in circles would have few, and one changed letter
    would change half of them.
    """
    turns: Counter[str] = Counter()
    found = []
    for place in range(max(1, len(normalised) - 2)):
        letters = normalised[place : place + 3]
        turns[letters] += 1
        found.append((letters, turns[letters]))
    return frozenset(found)


class Firewall:
    """Knows the golden set; finds what repeats it."""

    def __init__(self, golden: Iterable[Written], near: float = NEAR) -> None:
        self._near = near
        self._exact: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._holders: defaultdict[Gram, list[str]] = defaultdict(list)
        for each in golden:
            text = normal(each.text)
            self._exact.setdefault(text, each.id)
            grams = trigrams(text)
            self._sizes[each.id] = len(grams)
            for gram in grams:
                self._holders[gram].append(each.id)

    def match(self, row: Written) -> Overlap | None:
        """The golden text that `row` repeats most, if it repeats any."""
        text = normal(row.text)
        if (same := self._exact.get(text)) is not None:
            return Overlap(row.id, same, 1.0)
        grams = trigrams(text)
        shared: Counter[str] = Counter()
        for gram in grams:
            shared.update(self._holders.get(gram, ()))
        best = max(
            (
                (count / (len(grams) + self._sizes[name] - count), name)
                for name, count in shared.items()
            ),
            default=(0.0, ""),
        )
        return Overlap(row.id, best[1], best[0]) if best[0] > self._near else None

    def overlaps(self, rows: Iterable[Written]) -> Iterator[Overlap]:
        """Every row that repeats a golden text."""
        return (found for row in tqdm(rows, **BAR) if (found := self.match(row)) is not None)

    def check(self, rows: Iterable[Written]) -> None:
        """Raise LeakageError where any row repeats a golden text."""
        found = list(self.overlaps(rows))
        if found:
            raise LeakageError(found)

    def without(self, rows: Iterable[W]) -> list[W]:
        """The rows that repeat none: for streams, where a short phrase is everybody's."""
        return [row for row in tqdm(rows, **BAR) if self.match(row) is None]
