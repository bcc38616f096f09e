"""What is shipped with the project: small enough to clone, large enough to judge by."""

from collections import Counter
from pathlib import Path

from schemas.emotion import EMOTIONS
from trainer import dataset
from worker.settings import BUNDLED_MODEL

GOLDEN = Path(__file__).parents[2] / "data/golden.tsv"


def test_the_bundled_model_has_at_most_30_megabytes() -> None:
    sizes = [path.stat().st_size for path in BUNDLED_MODEL.rglob("*") if path.is_file()]
    assert 0 < sum(sizes) <= 30_000_000


def test_the_golden_messages_are_a_hundred_or_more_of_each_emotion() -> None:
    rows = dataset.read_labelled(GOLDEN)
    counts = Counter(row.emotion for row in rows)
    assert counts.keys() == set(EMOTIONS)
    assert min(counts.values()) >= 100
    assert len({row.text for row in rows}) == len(rows), "a text that comes twice counts once"
