"""What the recipe learns from holds nothing that scores."""

from dataclasses import replace
from pathlib import Path

import pytest

from models import corpus, teachers
from models.ground import Ground
from models.scale import TWO_CORES
from tests.trainer.conftest import chat, tsv
from trainer import dataset
from trainer.dataset import Labelled
from trainer.leakage import Firewall, LeakageError
from trainer.settings import TrainerSettings


@pytest.fixture
def made(folder: Path, tmp_path: Path) -> Ground:
    options = TrainerSettings(
        _env_file=None, labelled=folder / "train.tsv", golden=folder / "golden.tsv"
    )
    scale = replace(TWO_CORES, spliced=300, pieces=300)
    return Ground(folder, tmp_path / "work", options, scale, lambda _: None)


def start(text: str) -> str:
    """Three quarters of the words."""
    words = text.split()
    return " ".join(words[: len(words) * 3 // 4])


def rows(folder: Path) -> tuple[list[Labelled], list[Labelled]]:
    return dataset.read_golden(folder / "golden.tsv"), corpus.read_comments(folder)[1]


def test_a_text_that_scores_is_in_nothing_that_is_made_of_labelled_ones(
    folder: Path, made: Ground
) -> None:
    golden, held_out = rows(folder)
    # Longer texts that begin as three quarters of one that scores: some of their pieces repeat it.
    long = " 그리고 나서 우리는 모두 함께 긴 이야기를 밤새 나누었다"
    train = [
        Labelled(f"t{number}", f"{start(each.text)}{long} {number}", each.emotion)
        for number, each in enumerate([*golden[:40], *held_out[:10]])
    ]
    tsv(folder / "train.tsv", train)
    wall = Firewall([*golden, *held_out])
    assert wall.without(train) == train
    assert list(wall.overlaps(teachers.pieces(train, made.scale.pieces)))
    done = made.labels().folder
    for name in ("labelled", "texts"):
        learned = dataset.read_texts(done / f"{name}.parquet")
        assert len(learned) > 30
        assert list(wall.overlaps(learned)) == []


def test_a_labelled_message_that_repeats_a_golden_one_stops_the_recipe(
    folder: Path, made: Ground
) -> None:
    golden, _ = rows(folder)
    tsv(folder / "train.tsv", [*chat(30, 7, "t"), golden[0]])
    with pytest.raises(LeakageError, match=golden[0].id):
        made.labels()
