"""Public text as the recipe reads it, and the recipe, in small."""

import lzma
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models import corpus, e5, readers, words
from models.ground import Ground
from models.scale import Base, Fitting, Scale, Schedule, Shape
from models.story import Story
from models.words import Ids
from tests.models import published
from tests.trainer.conftest import GOLDEN_FILLER, chat, tsv
from trainer.settings import TrainerSettings


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


@pytest.fixture
def small(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """All of the recipe's stages on a model of one layer, but for the vectors: they take gensim."""

    def vectors(_: list[Ids], width: int, __: Path) -> NDArray[np.float32]:
        draws = np.random.default_rng(7)
        found: NDArray[np.float32] = draws.normal(0, 0.05, (600, width)).astype(np.float32)
        return found

    monkeypatch.setattr(words, "VOCABULARY", 600)
    monkeypatch.setattr(words, "vectors", vectors)
    monkeypatch.setattr(e5, "file", lambda: published.write(tmp_path / "e5.bin"))
    schedule = Schedule(steps=2, tokens=256)
    scale = Scale(
        teacher=Base(Shape(1, 128), schedule, schedule, vectors=False),
        student=Base(Shape(1, 64), schedule, schedule, vectors=True),
        teach=Fitting(epochs=1, batch_size=64, learning_rate=3e-4),
        finetune=Fitting(epochs=1, batch_size=128, learning_rate=5e-4),
        settle=Fitting(epochs=1, batch_size=128, learning_rate=1e-4),
        read=Fitting(epochs=1, batch_size=128, learning_rate=1e-4),
        encoder=Fitting(epochs=1, batch_size=64, learning_rate=1e-4),
        tell=Fitting(epochs=1, batch_size=128, learning_rate=1e-4),
        cut=Fitting(epochs=1, batch_size=128, learning_rate=1e-4, chat=2),
        reviews=60,
        spliced=60,
        pieces=60,
        human_share=0.3,
    )
    options = TrainerSettings(
        _env_file=None,
        labelled=tsv(folder / "train.tsv", chat(240, 1)),
        golden=folder / "golden.tsv",
        validation_share=0.1,
        resamples=100,
        threads=1,
    )
    said = folder / "read.tsv"
    said.write_text(f"text_sha256\temotions\n{readers.key('영화 3 좋네요')}\t기쁨,평온\n", "utf-8")
    return Story(Ground(folder, tmp_path / "work", options, scale, print, said))
