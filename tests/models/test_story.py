"""The recipe of the bundled model from public text to its folder, in small."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from errno import ENOSPC
from pathlib import Path

import pytest

from models import story
from models.story import Story
from tests.trainer.conftest import chat
from trainer.stage import StageError
from worker import registry


def test_every_stage_is_made_once_and_what_is_shipped_serves(
    small: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = small.figures()
    told = capsys.readouterr().out.splitlines()
    stages = [line.partition(":")[0] for line in told if " → " in line]
    assert sorted(stages) == sorted(
        [
            *("public", "words", "labels", "settle", "read", "figures"),
            *("encoder", "texts", "tell", "cut"),
            *(2 * ("base", "adapt", "tf-idf", "select")),
            *(3 * ("teach", "pseudo-label", "average")),
            *(4 * ("finetune",)),
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
        "told on chat",
        "cut on chat",
        "TF-IDF on golden",
    ):
        assert f"| {row} | " in card
    for policy in ("seed on chat", "soft on comments"):
        assert f"- {policy}: pseudo-labels " in card


def test_a_disk_that_is_full_leaves_the_model_that_was_there(
    small: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    copytree = shutil.copytree

    def full(source: Path, target: Path, ignore: Callable[..., set[str]] | None = None) -> Path:
        if target.parent == tmp_path:
            raise OSError(ENOSPC, "No space left on device")
        return Path(copytree(source, target, ignore=ignore))

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(StageError, match="cannot be written: No space left on device"):
        replace(small, arms=("soft",)).ship(out)
    assert [each.name for each in out.iterdir()] == ["old"]


def test_without_the_arm_that_has_no_pseudo_labels_the_card_says_that_nobody_knows(
    small: Story, tmp_path: Path
) -> None:
    replace(small, arms=("soft",)).ship(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Not known: the student without pseudo-labels was not fitted." in card
