"""What a model of the recipe is fitted to."""

from dataclasses import replace

from models import corpus, lesson
from models.story import Story


def test_what_readers_said_is_learned_from_once_and_comments_more_often(small: Story) -> None:
    rows, held_out = lesson.read(small.ground)
    assert not {row.text for row in rows} & {row.text for row in held_out}
    how = replace(small.ground.scale.read, comments=4, undecided=2)
    often = {row.id: lesson.times(row, how) for row in rows}
    assert often["review-3"] == 1
    assert {count for name, count in often.items() if name.startswith(corpus.UNDECIDED)} == {2}
    decided = {row.id for row in small.ground.people()[0] if row.id.startswith(corpus.COMMENT)}
    assert decided
    assert {often[name] for name in decided} == {4}
