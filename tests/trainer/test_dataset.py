"""Files of every kind come in alike, and each kind of bad file is one clear line."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.emotion import EMOTIONS
from trainer import dataset, tables
from trainer.dataset import Labelled
from trainer.tables import DataError

ROWS = [
    {"id": f"a{place}", "text": f'"글" {place}', "emotion": emotion}
    for place, emotion in enumerate(EMOTIONS)
]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write `rows` as the name's ending says."""
    if path.suffix == ".parquet":
        tables.write(path, rows)
    elif path.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        lines = ["\t".join(row) for row in rows[:1]] + ["\t".join(row.values()) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", tables.KINDS)
def test_every_kind_of_file_holds_the_same(tmp_path: Path, kind: str) -> None:
    found = dataset.read_labelled(write(tmp_path / f"rows{kind}", ROWS))
    assert found == [Labelled(row["id"], row["text"], row["emotion"]) for row in ROWS]


def test_an_emoji_written_in_two_halves_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_bytes(b'{"text": "\\ud83d\\ude00"}')
    assert [row.text for row in dataset.read_texts(path)] == ["😀"]


def test_a_row_without_an_id_is_named_by_its_text_in_every_file_and_order(tmp_path: Path) -> None:
    """Two files of one name, a week apart, are two files."""
    path = write(tmp_path / "chat.tsv", [{"text": "가"}, {"text": "나"}, {"text": "가"}])
    first, second, third = (row.id for row in dataset.read_texts(path))
    assert len({first, second, third}) == 3
    assert third == f"{first}-2"
    path = write(tmp_path / "chat.tsv", [{"text": "다"}, {"text": "나"}])
    other, same = (row.id for row in dataset.read_texts(path))
    assert same == second
    assert other not in {first, second, third}
    path.write_text("id\ttext\n0\t가\n\t나\n", encoding="utf-8")
    assert [row.id for row in dataset.read_texts(path)] == ["0", second]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes("text,emotion\r\n좋다,기쁨\r\n싫다,분노\r\n".encode("utf-8-sig"))
    assert [row.emotion for row in dataset.read_labelled(path, at_least=0)] == ["기쁨", "분노"]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", b"", "must end in one of"),
        ("a.jsonl", b"", "is empty"),
        ("a.tsv", b"text\temotion\n", "is empty"),
        ("a.tsv", "text\n글\n".encode() + "한글\n".encode("cp949"), "line 3 is not UTF-8"),
        ("a.tsv", "text\n한글\n".encode("cp949"), "(iconv -f cp949 -t utf-8)"),
        (
            "a.tsv",
            "text\n한글\n".encode("utf-16"),
            "is UTF-16, not UTF-8; convert it (iconv -f utf-16 ",
        ),
        ("a.csv", "text\n한글\n".encode("utf-32"), "(iconv -f utf-32 -t utf-8)"),
        ("a.csv", "text\n글이 길다\n".encode("utf-16-le"), "(iconv -f utf-16le -t utf-8)"),
        ("a.csv", "text\na\n".encode("utf-16-be"), "(iconv -f utf-16be -t utf-8)"),
        ("a.jsonl", b"{\n", "line 1 is no JSON"),
        ("a.jsonl", b'{"text": "a"}\n' + b"[" * 100_000, "line 2 is nested too deep"),
        ("a.jsonl", b"[1]\n", "line 1 is no JSON object"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\\ud83d"}\n', "line 2 has half a character"),
        ("a.jsonl", b'{"text": "a", "id": "\\uDE00\\uD83D"}\n', "line 1 has half a character"),
        ("a.jsonl", b'{"text": "a"}\n{"word": "a"}\n', "row 2 has other fields"),
        ("a.csv", b"text,emotion\na\n", "line 2 has not as many fields"),
        ("a.parquet", b"PAR0", "is no Parquet file"),
        ("a.csv", b"word\na\n", "has no column text"),
        ("a.csv", b"text,emotion\n ,a\n", "row 1 has no text"),
        ("a.csv", b"id,text\n1,a\n1,b\n", "has 1 ids more than once: '1'"),
        ("a.csv", b"text\na\n", "has no column emotion"),
        ("a.csv", "text,emotion\na,기쁨\nb,설렘\n".encode(), "unknown labels: '설렘'; the six"),
        ("a.csv", "text,emotion\na,기쁨\nb,기쁨\n".encode(), "one class only: every row is 기쁨"),
        ("a.csv", "text,emotion\na,기쁨\nb,분노\n".encode(), "too small: 불안 0, 슬픔 0"),
    ],
)
def test_a_bad_file_is_one_line_that_says_where(
    tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        dataset.read_labelled(path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        dataset.read_texts(tmp_path / "none.csv")


def test_an_id_that_stands_twice_in_a_stream_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.tsv", [{"id": "1", "text": "가"}, {"id": "1", "text": "나"}])
    with pytest.raises(DataError, match="has 1 ids more than once: '1'"):
        dataset.read_stream(path)


def test_a_golden_set_needs_twenty_of_each(tmp_path: Path) -> None:
    rows = [
        {"id": f"{place}-{emotion}", "text": f"{emotion} {place}", "emotion": emotion}
        for emotion in EMOTIONS
        for place in range(20)
    ]
    path = write(tmp_path / "golden.tsv", rows)
    assert len(dataset.read_golden(path)) == 120
    write(path, rows[1:])
    with pytest.raises(DataError, match="분노 19; at least 20"):
        dataset.read_golden(path)


def test_a_disk_that_is_full_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder.parquet").mkdir()  # anything that cannot be written
    with pytest.raises(DataError, match="cannot be written"):
        tables.write(tmp_path / "folder.parquet", ROWS)


def test_parquet_that_holds_other_text_than_utf_8_is_one_line(tmp_path: Path) -> None:
    word = "글".encode("cp949")
    offsets = pa.array([0, len(word)], pa.int32()).buffers()[1]
    column = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(word)])
    pq.write_table(pa.table({"text": column}), tmp_path / "old.parquet")
    with pytest.raises(DataError, match=r"old\.parquet has text that is not UTF-8$"):
        dataset.read_texts(tmp_path / "old.parquet")


def test_pseudo_labels_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [
        {
            "id": "1",
            "text": "글",
            "pred_emotion": "기쁨",
            "pred_conf": 0.5,
            "pred_margin": 0.4,
            "scores": [0.1] * 5 + [0.5],
        }
    ]
    path = tmp_path / "pseudo.parquet"
    tables.write(path, rows)
    (found,) = dataset.read_pseudo(path)
    assert (found.pred_emotion, found.pred_conf, found.scores[5]) == ("기쁨", 0.5, 0.5)


@pytest.mark.parametrize(
    "row",
    [
        {"text": "a", "pred_emotion": "기쁨", "pred_conf": "sure", "pred_margin": "1"},
        {"text": "a", "pred_emotion": "기쁨", "pred_conf": "nan", "pred_margin": "1"},
        {
            "text": "a",
            "pred_emotion": "기쁨",
            "pred_conf": "1",
            "pred_margin": "1",
            "scores": "[1, 0, 0, 0, 0, NaN]",
        },
        {
            "text": "a",
            "pred_emotion": "기쁨",
            "pred_conf": "1",
            "pred_margin": "1",
            "scores": "[1]",
        },
        {
            "text": "a",
            "pred_emotion": "기쁨",
            "pred_conf": "1",
            "pred_margin": "1",
            "scores": "[" * 100_000,
        },
    ],
)
def test_a_pseudo_label_that_makes_no_sense_is_refused(tmp_path: Path, row: dict[str, str]) -> None:
    good = {"text": "a", "pred_emotion": "기쁨", "pred_conf": "1", "pred_margin": "1"}
    rows = [{"scores": ""} | each for each in (good, row)]
    with pytest.raises(DataError, match="the pseudo-label of row 2 is wrong: ") as caught:
        dataset.read_pseudo(write(tmp_path / "pseudo.jsonl", rows))
    assert "\n" not in str(caught.value)


def test_an_emotion_that_is_none_of_the_six_is_named_among_pseudo_labels_too(
    tmp_path: Path,
) -> None:
    row = {"text": "a", "pred_emotion": "설렘", "pred_conf": "1", "pred_margin": "1"}
    with pytest.raises(DataError, match="has unknown labels: '설렘'; the six are 분노"):
        dataset.read_pseudo(write(tmp_path / "pseudo.jsonl", [row]))


def test_a_human_label_wins_over_others_of_the_same_text() -> None:
    people = [Labelled("h1", "글 ", "기쁨"), Labelled("h2", "글", "슬픔")]
    others = [Labelled("o1", "글", "분노"), Labelled("o2", "말", "분노")]
    assert dataset.merge(people, others) == [people[1], others[1]]


def test_a_human_label_wins_over_others_of_the_same_text_however_it_is_spelt() -> None:
    people = [Labelled("h1", "아 짜증나!!", "슬픔")]
    others = [Labelled("o1", "아 짜증나", "분노"), Labelled("o2", "아 짜증나 ㅋㅋ", "기쁨")]
    assert dataset.merge(people, others) == [people[0], others[1]]


def test_two_human_labels_of_texts_that_signs_tell_apart_both_stand() -> None:
    people = [Labelled("h1", "네?", "당황"), Labelled("h2", "네!", "기쁨")]
    assert dataset.merge(people, []) == people
