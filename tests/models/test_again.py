"""What the second round labels."""

from models import again, readers
from models.story import Story
from trainer import dataset
from trainer.leakage import Firewall


def test_it_is_neither_what_readers_labelled_nor_what_scores(small: Story) -> None:
    ground = small.ground
    texts = dataset.read_texts(again.second(ground).texts)
    found = [row.text for row in texts]
    known = readers.read(ground.readers)
    assert known
    assert {row.text for row in ground.unlabelled("reviews")} - set(found) == {"영화 3 좋네요"}
    assert {row.text for row in ground.unlabelled("questions")} <= set(found)
    assert any(row.id.startswith("spliced-") for row in texts)
    labels = ground.labels().folder
    scored = dataset.read_labelled(labels / "comments.parquet")
    wall = Firewall([*dataset.read_golden(ground.options.golden), *scored])
    assert list(wall.overlaps(texts)) == []
