"""What reviewers said, as it is kept."""

from pathlib import Path

from trainer import labels
from trainer.dataset import Labelled


def test_the_last_word_of_a_reviewer_counts(tmp_path: Path) -> None:
    for emotion in ("기쁨", "분노"):
        labels.add(tmp_path, Labelled("1", "글", emotion))
    assert labels.read(tmp_path) == [Labelled("1", "글", "분노")]
