"""What only scores is in nothing that is learned from."""

from pathlib import Path

import pytest

from models import corpus
from schemas.emotion import EMOTIONS
from trainer.leakage import normal
from trainer.tables import DataError


def test_golden_texts_and_held_out_comments_are_learned_from_nowhere(folder: Path) -> None:
    found = corpus.read(folder, folder / "golden.tsv")
    parts = (found.reviews, found.questions, found.answers, found.comments, found.undecided)
    learned = {normal(row.text) for part in parts for row in part}
    assert len(found.reviews) == 30
    assert found.held_out
    assert not learned & {normal(row.text) for row in found.held_out}


def test_comments_are_held_out_by_their_own_text(folder: Path) -> None:
    kept, held_out = corpus.read_comments(folder)
    assert 0.1 < len(held_out) / (len(kept) + len(held_out)) < 0.3
    assert {row.emotion for row in held_out} <= set(EMOTIONS)
    assert corpus.read_comments(folder)[1] == held_out


def test_a_file_that_is_not_there_is_one_line(folder: Path) -> None:
    (folder / "reviews.txt.xz").unlink()
    with pytest.raises(DataError, match=r"reviews\.txt\.xz cannot be read"):
        corpus.read(folder, folder / "golden.tsv")


def test_a_comment_between_emotions_has_a_share_of_each_label_that_raters_gave(
    folder: Path,
) -> None:
    found = corpus.read(folder, folder / "golden.tsv").undecided
    shares = [dict(zip(map(str, EMOTIONS), each.target, strict=True)) for each in found]
    assert [{name: share for name, share in each.items() if share} for each in shares] == [
        {"불안": 0.5, "기쁨": 0.5}
    ]


def test_a_comment_that_is_decided_or_held_out_is_not_taken_for_an_undecided_one(
    folder: Path,
) -> None:
    comments, held_out = corpus.read_comments(folder)
    decided = {normal(row.text) for row in [*comments, *held_out]}
    found = corpus.read(folder, folder / "golden.tsv").undecided
    assert not decided & {normal(each.text) for each in found}
