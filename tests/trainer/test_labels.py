"""What reviewers said, as it is kept."""

from pathlib import Path

from trainer import dataset, labels
from trainer.dataset import Labelled


def test_the_last_word_of_a_reviewer_counts(tmp_path: Path) -> None:
    for emotion in ("기쁨", "분노"):
        labels.add(tmp_path, Labelled("1", "글", emotion))
    assert labels.read(tmp_path) == [Labelled("1", "글", "분노")]


def test_it_counts_also_among_samples_of_the_same_text(tmp_path: Path) -> None:
    for name, emotion in (("a", "기쁨"), ("b", "당황"), ("a", "슬픔")):
        labels.add(tmp_path, Labelled(name, "ㅋㅋㅋ", emotion))
    (said,) = dataset.merge(labels.read(tmp_path), [])
    assert said.emotion == "슬픔"
