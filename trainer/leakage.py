"""The firewall between the golden set and whatever trains: equal, near and contained texts.

A text is compared after NFKC, without spacing, punctuation, repeated letters and jamo that stand
alone (ㅋㅋ, ㅠㅠ). Near duplicates share half of their letter trigrams or more (Jaccard); a text
that holds nearly all trigrams of a golden one of some length repeats it, too.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import orjson
from tqdm import tqdm

NEAR: Final = 0.5  # Jaccard index of letter trigrams, at least
HELD: Final = 0.9  # of a golden text's trigrams: a letter changed in a text of thirty takes three
LONG: Final = 8  # trigrams, ten letters: what is shorter is said in passing, by everybody
SHOWN: Final = 20
BAR: Final[dict[str, Any]] = {"desc": "firewall", "unit": "text", "delay": 1.0}  # seconds

_REPEATED: Final = re.compile(r"(.)\1+", re.DOTALL)
_SYLLABLE: Final = re.compile("[가-힣]")
# Hangul letters that make no syllable: as typed (full and half width), and as Unicode joins them.
_JAMO: Final = re.compile("[\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\ud7b0-\ud7fb\uffa0-\uffdc]+")
_FILLER: Final = re.compile("[\u115f\u1160\u3164\uffa0]+")  # letters that nobody sees
_LAST: Final = re.compile("([가-힣])([\u1100-\u1121])")  # a syllable, and a consonant left over
# NFKC takes a lone consonant for the first of a syllable; the same as the last of one:
_CLOSING: Final = {
    unicodedata.normalize("NFKC", letter): chr(0x11A8 + place)
    for place, letter in enumerate("ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
}


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
    likeness: float  # 1.0: equal as compared; else the trigrams shared, of both or of the golden


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
    """What makes two texts the same: NFKC, lower case, letters and digits alone, each run as one.

    A text of nothing but signs and emoji keeps them. ㅋㅋ and ㅠㅠ stay: to who labels a message
    they are often all that tells what it expresses.
    """
    composed = unicodedata.normalize("NFKC", _FILLER.sub("", text)).casefold()
    letters = "".join(letter for letter in composed if letter.isalnum())
    return _REPEATED.sub(r"\1", letters or "".join(composed.split()))


def bare(text: str) -> str:
    """`text` as the firewall compares it: `normal`, without jamo that stand alone.

    A text that is typed apart altogether (ㄴㅔ) is joined first; one of nothing but jamo and signs
    keeps them.
    """
    whole = unicodedata.normalize("NFC", text)
    if not _SYLLABLE.search(whole):
        whole = _joined(whole)
    rest = _JAMO.sub("", whole)
    return normal(rest if any(map(str.isalnum, rest)) else whole)


def _joined(text: str) -> str:
    """Letters typed apart as syllables: ㅎㅏㄴㄱㅡㄹ → 한글."""
    open_ = unicodedata.normalize("NFKC", _FILLER.sub("", text))
    closed = _LAST.sub(lambda found: found[1] + _CLOSING.get(found[2], found[2]), open_)
    return unicodedata.normalize("NFC", closed)


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
        self._enough: dict[str, float] = {}  # shared trigrams from which a text holds a golden one
        self._holders: defaultdict[Gram, list[str]] = defaultdict(list)
        for each in golden:
            text = bare(each.text)
            self._exact.setdefault(text, each.id)
            grams = trigrams(text)
            self._sizes[each.id] = len(grams)
            self._enough[each.id] = HELD * len(grams) if len(grams) >= LONG else math.inf
            for gram in grams:
                self._holders[gram].append(each.id)

    def match(self, row: Written) -> Overlap | None:
        """The golden text that `row` repeats most, if it repeats any."""
        text = bare(row.text)
        if (same := self._exact.get(text)) is not None:
            return Overlap(row.id, same, 1.0)
        grams = trigrams(text)
        shared: Counter[str] = Counter()
        for gram in grams:
            shared.update(self._holders.get(gram, ()))
        best = max(
            ((self._likeness(name, count, len(grams)), name) for name, count in shared.items()),
            default=(0.0, ""),
        )
        return Overlap(row.id, best[1], best[0]) if best[0] >= self._near else None

    def _likeness(self, name: str, shared: int, size: int) -> float:
        """How much a text of `size` trigrams is like a golden one with which it shares some."""
        if shared >= self._enough[name]:
            return shared / self._sizes[name]  # never less than the Jaccard index
        return shared / (size + self._sizes[name] - shared)

    def overlaps(self, rows: Iterable[Written]) -> Iterator[Overlap]:
        """Every row that repeats a golden text."""
        return (found for row in tqdm(rows, **BAR) if (found := self.match(row)) is not None)

    def check(self, rows: Iterable[Written]) -> None:
        """Raise LeakageError where any row repeats a golden text; a pair is told of once."""
        found = list(dict.fromkeys(self.overlaps(rows)))
        if found:
            raise LeakageError(found)

    def without(self, rows: Iterable[W]) -> list[W]:
        """The rows that repeat none: for streams, where a short phrase is everybody's."""
        return [row for row in tqdm(rows, **BAR) if self.match(row) is None]
