"""Texts as long as chat and comments are: median 10 tokens, 95th percentile 50, at most 143.

Made of the project's own sentences, cut and joined to length: they need not make sense to be timed.
"""

import sys
from bisect import bisect_right
from contextlib import suppress
from itertools import cycle
from math import exp, log
from pathlib import Path
from random import Random
from typing import Final

from worker import classify
from worker.classify import Line
from worker.codec import DecodeError
from worker.settings import BUNDLED_MODEL, WorkerSettings
from worker.tokenizer import load_tokenizer

SENTENCES: Final = Path(__file__).parent.parent / "data" / "train.tsv"
COUNT: Final = 1024
MOST: Final = 4096  # of a file: the pipeline takes them one by one, five times
SPECIAL: Final = 2  # tokens around every text
QUANTILES: Final = ((0.0, 4), (0.5, 10), (0.95, 50), (1.0, 143))  # share of texts, tokens


class TextsError(Exception):
    """The file has no texts to measure with; the message is one line."""


def read(path: Path | None) -> list[str]:
    """The lines of `path` that can be timed; by default the set of this project.

    Equal lines count once, as `classify` would infer them once and a peer each time; of more than
    `MOST`, as many are taken, from all parts of the file. Raises TextsError.
    """
    if path is None:
        return compose()
    texts = [line for line in decoded(path).splitlines() if line.strip()]
    max_bytes = WorkerSettings().max_message_bytes
    found = [text for text in texts if plain(text, max_bytes)]
    if not found:
        raise TextsError(f"{path} has no texts")
    distinct = list(dict.fromkeys(found))
    step = max(1.0, len(distinct) / MOST)
    taken = [distinct[int(place * step)] for place in range(min(MOST, len(distinct)))]
    for count, why in (
        (len(texts) - len(found), "what `classify` would read as JSON, or refuse, is left out"),
        (len(found) - len(distinct), "equal lines count once"),
        (len(distinct) - len(taken), f"{MOST} texts are enough, the rest is left out"),
    ):
        if count:
            print(f"{path}: {why}: {count} of {len(texts)} lines", file=sys.stderr)
    return taken


def decoded(path: Path) -> str:
    """The text of `path`, in UTF-8 or in CP949, as Korean Windows writes. Raises TextsError."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise TextsError(f"{path} cannot be read ({error.strerror})") from error
    for encoding in ("utf-8-sig", "cp949"):
        with suppress(UnicodeDecodeError):
            return body.decode(encoding)
    raise TextsError(f"{path} is text neither in UTF-8 nor in CP949")


def plain(text: str, max_bytes: int) -> bool:
    """Whether `classify` makes an event of `text`, and of nothing that is within it."""
    if text.lstrip().startswith("{"):  # JSON, if it goes on so
        return False
    try:
        classify.read(Line(0, text.encode(), 0), max_bytes)
    except DecodeError:  # U+0000, or too long
        return False
    return True


def compose(count: int = COUNT) -> list[str]:
    """`count` distinct texts, in random order, the same at each call."""
    random = Random(7)  # noqa: S311  (no secret)
    rows = SENTENCES.read_text(encoding="utf-8").splitlines()[1:]
    sentences = [row.partition("\t")[2] for row in rows]
    random.shuffle(sentences)
    tokenizer = load_tokenizer(BUNDLED_MODEL)
    words = cycle(
        (word, len(tokenizer.encode(word, add_special_tokens=False).ids))
        for sentence in sentences
        for word in sentence.split()
    )
    found: dict[str, None] = {}
    while len(found) < count:
        wanted = tokens_at(len(found) / (count - 1)) - SPECIAL
        text, tokens = "", 0
        while tokens < wanted:
            word, size = next(words)
            if tokens + size <= wanted:
                text, tokens = f"{text} {word}", tokens + size
        found[text.strip()] = None
    texts = list(found)
    random.shuffle(texts)
    return texts


def tokens_at(share: float) -> int:
    """The length that `share` of the texts stay under: a straight line of logarithms."""
    place = min(bisect_right(QUANTILES, (share, 0)), len(QUANTILES) - 1)
    (left, low), (right, high) = QUANTILES[place - 1], QUANTILES[place]
    return round(exp(log(low) + (log(high) - log(low)) * (share - left) / (right - left)))
