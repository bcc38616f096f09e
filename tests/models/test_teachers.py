"""Texts that nobody labelled, made of some that somebody did."""

from models import teachers
from tests.trainer.conftest import chat

ROWS = chat(60, 5, "t")


def test_pieces_are_runs_of_a_few_words_of_one_row() -> None:
    made = teachers.pieces(ROWS, 200)
    sources = [f" {' '.join(row.text.split())} " for row in ROWS]
    assert len({row.id for row in made}) == 200
    assert {len(row.text.split()) for row in made} <= {1, 2, 3, 4}
    assert all(any(f" {row.text} " in source for source in sources) for row in made)


def test_spliced_texts_begin_as_one_row_and_end_as_another() -> None:
    made = teachers.spliced(ROWS, 50)
    firsts = {row.text.split()[0] for row in ROWS}
    lasts = {row.text.split()[-1] for row in ROWS}
    assert all(row.text.split()[0] in firsts for row in made)
    assert all(row.text.split()[-1] in lasts for row in made)


def test_the_same_are_made_again() -> None:
    assert teachers.pieces(ROWS, 20) == teachers.pieces(ROWS, 20)
    assert teachers.spliced(ROWS, 20) == teachers.spliced(ROWS, 20)
