"""What only scores is in nothing that is learned from."""

import lzma
from pathlib import Path

import pytest

from models import corpus
from schemas.emotion import EMOTIONS
from tests.trainer.conftest import GOLDEN_FILLER, chat, tsv
from trainer.dataset import DataError
from trainer.leakage import normal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = chat(240, 5, "kote")
    (tmp_path / "kote_6.tsv").write_text(
        "emotion\ttext\n" + "".join(f"{row.emotion}\t{row.text}\n" for row in rows), "utf-8"
    )
    (tmp_path / "chatbot.tsv").write_text(
        "question\tanswer\tlabel\n오늘 뭐 먹지?\t밥이요\t0\n비가 와요\t우산을 챙기세요\t0\n",
        "utf-8",
    )
    golden = chat(120, 99, "g", GOLDEN_FILLER)
    tsv(tmp_path / "golden.tsv", golden)
    held_out = corpus.read_comments(tmp_path)[1]
    lines = [f"영화 {place} 좋네요" for place in range(30)]
    with lzma.open(tmp_path / "reviews.txt.xz", "wt", encoding="utf-8") as file:
        file.write("\n".join([*lines, "", golden[0].text, held_out[0].text]))
    return tmp_path


def test_golden_texts_and_held_out_comments_are_learned_from_nowhere(folder: Path) -> None:
    found = corpus.read(folder, folder / "golden.tsv")
    learned = {normal(text) for text in found.texts}
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
