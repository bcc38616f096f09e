"""The recipe of the bundled model from public text to its folder, in small."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models import corpus, readers, story, words
from models.ground import Ground
from models.scale import Base, Fitting, Scale, Schedule, Shape
from models.story import Story, times
from models.words import Ids
from tests.trainer.conftest import chat, tsv
from trainer.settings import TrainerSettings
from worker import registry


@pytest.fixture
def small(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """All of the recipe's stages on a model of one layer, but for the vectors: they take gensim."""

    def vectors(_: list[Ids], width: int, __: Path) -> NDArray[np.float32]:
        draws = np.random.default_rng(7)
        found: NDArray[np.float32] = draws.normal(0, 0.05, (600, width)).astype(np.float32)
        return found

    monkeypatch.setattr(words, "VOCABULARY", 600)
    monkeypatch.setattr(words, "vectors", vectors)
    schedule = Schedule(steps=2, tokens=256)
    scale = Scale(
        teacher=Base(Shape(1, 128), schedule, schedule, vectors=False),
        student=Base(Shape(1, 64), schedule, schedule, vectors=True),
        teach=Fitting(epochs=1, batch_size=64, learning_rate=3e-4),
        finetune=Fitting(epochs=1, batch_size=128, learning_rate=5e-4),
        settle=Fitting(epochs=1, batch_size=128, learning_rate=1e-4),
        read=Fitting(epochs=1, batch_size=128, learning_rate=1e-4),
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


def test_every_stage_is_made_once_and_what_is_shipped_serves(
    small: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = small.figures()
    told = capsys.readouterr().out.splitlines()
    stages = [line.partition(":")[0] for line in told if " → " in line]
    assert sorted(stages) == sorted(
        [
            *("public", "words", "labels", "select", "settle", "read", "figures"),
            *(2 * ("base", "adapt", "teach", "pseudo-label", "average", "tf-idf")),
            *(3 * ("finetune",)),
        ]
    )
    assert found.manifest.numbers.keys() >= {f"{arm} on chat" for arm in story.ARMS}
    out = tmp_path / "out"
    small.ship(out)
    assert " → " not in capsys.readouterr().out  # nothing is made again
    assert registry.resolve(str(out)).model.name == "maum-small"
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "$" not in card
    _, held_out = small.ground.people()
    messages = [row for row in held_out if row.text in {each.text for each in chat(240, 1)}]
    assert 0 < len(messages) < len(held_out)  # the others are comments
    assert f"| soft on chat | {len(messages)} | " in card
    for row in (
        "none on chat",
        "seed on comments",
        "settled on chat",
        "read on comments",
        "TF-IDF on golden",
    ):
        assert f"| {row} | " in card
    for policy in ("seed on chat", "soft on comments"):
        assert f"- {policy}: pseudo-labels " in card


def test_without_the_arm_that_has_no_pseudo_labels_the_card_says_that_nobody_knows(
    small: Story, tmp_path: Path
) -> None:
    replace(small, arms=("soft",)).ship(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Not known: the student without pseudo-labels was not fitted." in card


def test_what_readers_said_is_learned_from_once_and_comments_more_often(small: Story) -> None:
    rows, held_out = small._read()
    assert not {row.text for row in rows} & {row.text for row in held_out}
    how = replace(small.ground.scale.read, comments=4, undecided=2)
    often = {row.id: times(row, how) for row in rows}
    assert often["review-3"] == 1
    assert {count for name, count in often.items() if name.startswith(corpus.UNDECIDED)} == {2}
    decided = {row.id for row in small.ground.people()[0] if row.id.startswith(corpus.COMMENT)}
    assert decided
    assert {often[name] for name in decided} == {4}
