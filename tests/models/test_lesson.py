"""What a model of the recipe is fitted to."""

from dataclasses import replace

from models import corpus, lesson
from models.story import Story
from trainer.choose import read_examples


def test_each_kind_of_label_comes_as_often_as_the_scale_says(small: Story) -> None:
    rows, held_out = lesson.read(small.ground)
    assert not {row.text for row in rows} & {row.text for row in held_out}
    how = replace(small.ground.scale.read, comments=4, undecided=2, chat=3, read=5)
    often = {row.id: lesson.times(row, how) for row in rows}
    assert often["review-3"] == 5
    assert {count for name, count in often.items() if name.startswith(corpus.UNDECIDED)} == {2}
    decided = {row.id for row in small.ground.people()[0] if row.id.startswith(corpus.COMMENT)}
    assert decided
    assert {often[name] for name in decided} == {4}
    chat = {row.id for row in small.ground.people()[0]} - decided
    assert chat
    assert {often[name] for name in chat} == {3}


def test_for_the_cut_student_labels_come_as_often_as_the_scale_says_and_opinions_once(
    small: Story,
) -> None:
    ground = small.ground
    fit = small.student("cut").manifest
    known, _ = lesson.read(ground)
    opinions = [
        row for row in read_examples(small.told().folder / "soft.parquet") if row.origin == "new"
    ]
    expected = sum(lesson.times(row, ground.scale.cut) for row in known) + len(opinions)
    assert fit.numbers["train"] == expected


def test_what_teachers_say_comes_once(small: Story) -> None:
    how = replace(small.ground.scale.read, comments=4, undecided=2, chat=3, read=5)
    rows = read_examples(small.told().folder / "soft.parquet")
    assert {lesson.times(row, how) for row in rows if row.origin == "new"} == {1}
    assert {lesson.times(row, how) for row in rows if row.origin == "human"} == {2, 3, 4, 5}
