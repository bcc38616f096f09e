"""Public text as the recipe reads it, in small."""

import lzma
from pathlib import Path

import pytest

from models import corpus
from tests.trainer.conftest import GOLDEN_FILLER, chat, tsv


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = chat(240, 5, "kote")
    (tmp_path / "kote_6.tsv").write_text(
        "emotion\ttext\n" + "".join(f"{row.emotion}\t{row.text}\n" for row in rows), "utf-8"
    )
    undecided = "무슨 말인지 모르겠지만 반갑고 걱정되네요"
    rated = [f"{place}\t{row.text}\t6" for place, row in enumerate(rows)]
    rated += [f"900\t{undecided}\t28,41,41,2", "901\t아무 감정도 없는 글\t24"]
    (tmp_path / "kote_44.tsv").write_text("\n".join(["id\ttext\tlabels", *rated]), "utf-8")
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
