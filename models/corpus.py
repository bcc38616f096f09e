"""Public Korean text, as the recipe of the bundled model reads it from a folder.

`reviews.txt.xz`: film reviews of e9t/nsmc (CC0), one a line. `chatbot.tsv`: songys/Chatbot_data
(MIT), columns question and answer. `kote_44.tsv`: comments of searle-j/KOTE (MIT) with the numbers
of KOTE's 44 labels that raters gave, columns text and labels. `kote_6.tsv`: those of them that fall
into one of the six emotions, columns emotion and text. None of it is part of this project.
"""

import hashlib
import lzma
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from schemas.emotion import EMOTIONS
from trainer import dataset, tables
from trainer.dataset import Labelled, Text
from trainer.leakage import Firewall
from trainer.select import Example
from trainer.tables import DataError

FILES: Final = ("reviews.txt.xz", "chatbot.tsv", "kote_6.tsv", "kote_44.tsv")
COMMENT: Final = "kote-"  # so begin the ids of comments
QUESTION: Final = "chatbot-question-"  # and those of questions to a chatbot
REVIEW: Final = "review-"
UNDECIDED: Final = f"{COMMENT}44-"  # and those of comments between emotions
HELD_OUT: Final = 0.2  # share of the comments that only score
# Which of KOTE's 44 labels, in its own order, are an emotion of ours beyond doubt.
CORE: Final = {
    "분노": {6, 22, 31},  # 화남/분노, 짜증, 증오/혐오
    "불안": {18, 41},  # 공포/무서움, 불안/걱정
    "슬픔": {5, 19, 36},  # 슬픔, 절망, 서러움
    "평온": {14, 43},  # 편안/쾌적, 안심/신뢰
    "당황": {33, 34},  # 당황/난처, 경악
    "기쁨": {28, 40, 42},  # 즐거움/신남, 행복, 기쁨
}


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts by what they may be used for; nothing of `held_out` or golden is in the others."""

    reviews: list[Text]
    questions: list[Text]
    answers: list[Text]
    comments: list[Labelled]
    undecided: list[Example]  # comments between emotions
    held_out: list[Labelled]


def read(folder: Path, golden: Path) -> Corpus:
    """Read the folder; what repeats a golden text or a held-out comment is left out.

    Raises DataError.
    """
    comments, held_out = read_comments(folder)
    firewall = Firewall([*dataset.read_golden(golden), *held_out])
    dialogues = tables.read(folder / "chatbot.tsv")
    sides = {
        side: [Text(f"chatbot-{side}-{n}", row[side]) for n, row in enumerate(dialogues)]
        for side in ("question", "answer")
    }
    return Corpus(
        firewall.without(_reviews(folder / "reviews.txt.xz")),
        firewall.without(sides["question"]),
        firewall.without(sides["answer"]),
        firewall.without(comments),
        firewall.without(read_undecided(folder, {row.text for row in [*comments, *held_out]})),
        held_out,
    )


def read_comments(folder: Path) -> tuple[list[Labelled], list[Labelled]]:
    """(to learn from, held out): a text decides by itself on which side it is.

    Their ids begin as `COMMENT`. Raises DataError.
    """
    found = dataset.read_labelled(folder / "kote_6.tsv")
    rows = [replace(row, id=f"{COMMENT}{row.id}") for row in found]
    held_out = [_draw(row.text) < HELD_OUT for row in rows]
    kept = [row for row, held in zip(rows, held_out, strict=True) if not held]
    return kept, [row for row, held in zip(rows, held_out, strict=True) if held]


def read_undecided(folder: Path, decided: Collection[str]) -> list[Example]:
    """Comments whose raters named several emotions: each has an equal share of every label.

    Not those that are `decided`, nor those without a label of `CORE`. Raises DataError.
    """
    found = []
    for number, row in enumerate(tables.read(folder / "kote_44.tsv")):
        if row["text"].strip() in decided:
            continue
        given = {int(label) for label in row["labels"].split(",") if label}
        counts = [len(given & CORE[str(emotion)]) for emotion in EMOTIONS]
        if total := sum(counts):
            target = tuple(count / total for count in counts)
            found.append(Example(f"{UNDECIDED}{number}", row["text"], target, "human"))
    return found


def _reviews(path: Path) -> list[Text]:
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            return [
                Text(f"{REVIEW}{n}", line.strip()) for n, line in enumerate(file) if line.strip()
            ]
    except (OSError, lzma.LZMAError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _draw(text: str) -> float:
    """A number in [0, 1) that a text always has."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
