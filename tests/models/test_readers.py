"""Labels of texts that are named by their hash alone."""

from pathlib import Path

import pytest

from models import readers
from schemas.emotion import EMOTIONS
from trainer.dataset import Text
from trainer.tables import DataError

GLAD, CALM = (list(map(str, EMOTIONS)).index(name) for name in ("기쁨", "평온"))
TEXTS = [
    Text("a", "참 좋네요"),
    Text("b", "무난함"),
    Text("c", "좋고 편해요"),
    Text("d", "아무도 안 읽음"),
]


@pytest.fixture
def said(tmp_path: Path) -> Path:
    emotions = ["기쁨", "", "기쁨,평온"]
    rows = [
        f"{readers.key(row.text)}\t{named}" for row, named in zip(TEXTS, emotions, strict=False)
    ]
    path = tmp_path / "read.tsv"
    path.write_text("\n".join(["text_sha256\temotions", *rows]), "utf-8")
    return path


def test_a_text_has_what_readers_named_and_the_larger_share_is_of_the_first(said: Path) -> None:
    found = {row.id: row.target for row in readers.examples(said, TEXTS, [])}
    assert found.keys() == {"a", "c"}, "no emotion, or nobody read it"
    assert found["a"][GLAD] == 1.0
    assert found["c"][GLAD] > found["c"][CALM] > 0
    assert sum(found["c"]) == pytest.approx(1.0)


def test_what_people_labelled_is_not_taken_from_readers_however_it_is_spelt(said: Path) -> None:
    assert [row.id for row in readers.examples(said, TEXTS, ["참  좋네요!!"])] == ["c"]


def test_a_word_that_is_no_emotion_is_one_line(said: Path) -> None:
    said.write_text("text_sha256\temotions\n00\t무덤덤\n", "utf-8")
    with pytest.raises(DataError, match="무덤덤: not an emotion"):
        readers.read(said)


def test_the_file_of_the_project_names_each_text_once_and_has_every_emotion() -> None:
    rows = readers.FILE.read_text(encoding="utf-8").splitlines()[1:]
    keys = [row.partition("\t")[0] for row in rows]
    assert len(set(keys)) == len(keys)
    assert {len(each) for each in keys} == {readers.DIGITS}
    named = {target.index(max(target)) for target in readers.read(readers.FILE).values()}
    assert named == set(range(len(EMOTIONS)))
