"""The texts of the benchmarks are as long as chat is."""

from pathlib import Path

import numpy as np
import pytest

from bench import texts
from bench.__main__ import main
from bench.cache import Alone, repeating
from worker.settings import BUNDLED_MODEL
from worker.tokenizer import load_tokenizer


def test_lengths_are_those_of_chat_and_comments() -> None:
    tokenizer = load_tokenizer(BUNDLED_MODEL)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts.compose())]
    assert len(lengths) == 1024
    assert 9 <= np.median(lengths) <= 11
    assert 48 <= np.percentile(lengths, 95) <= 52
    assert max(lengths) == 143


def test_texts_are_distinct_and_the_same_each_time() -> None:
    made = texts.compose(200)
    assert len(set(made)) == 200
    assert made == texts.compose(200)


def test_a_file_of_texts_is_taken_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("하나\n\n둘\n", encoding="utf-8")
    assert texts.read(tmp_path / "mine.txt") == ["하나", "둘"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("슬퍼요".encode("cp949"), "is not UTF-8 (byte 0)"),
        (b"", "has no texts"),
        (b" \n\n", "has no texts"),
    ],
)
def test_a_file_without_texts_is_one_line(
    content: bytes | None, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.txt"
    if content is not None:
        path.write_bytes(content)
    assert main(["load", "--texts", str(path)]) == 2
    assert capsys.readouterr().err == f"--texts: {path} {line}\n"


def test_two_thirds_of_the_stream_repeat_what_was_said() -> None:
    stream = repeating([f"글 {number}" for number in range(500)])
    assert abs(len(set(stream)) / len(stream) - 1 / 3) < 0.03


def test_tokens_that_stand_alone_equal_only_themselves() -> None:
    one, other = Alone((1, 2)), Alone((1, 2))
    assert one == one  # noqa: PLR0124  (the point)
    assert one != other
    assert len({one: 1, other: 2}) == 2
