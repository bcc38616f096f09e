"""The texts of the benchmarks are as long as chat is."""

from pathlib import Path

import numpy as np
import pytest

from bench import cache, texts
from bench.__main__ import main
from bench.cache import Alone, Separate, repeating
from bench.classify import Side
from tests.worker.fakes import FakeEngine, fake_classifier
from worker import room
from worker.classifier import Classifier
from worker.settings import BUNDLED_MODEL, WorkerSettings
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_a_file_may_be_written_as_windows_writes_korean(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "mine.txt").write_text("슬퍼요\r\n정말로", encoding=encoding)
    assert texts.read(tmp_path / "mine.txt") == ["슬퍼요", "정말로"]


def test_equal_lines_count_once_since_we_would_infer_them_once_and_a_peer_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("하나\n둘\n하나\n하나\n", encoding="utf-8")
    assert texts.read(path) == ["하나", "둘"]
    assert capsys.readouterr().err == f"{path}: equal lines count once: 2 of 4 lines\n"


def test_of_a_long_file_as_many_as_are_enough_are_taken_from_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(f"글 {number}" for number in range(10_000)), encoding="utf-8")
    taken = texts.read(path)
    assert len(set(taken)) == len(taken) == texts.MOST
    assert int(taken[-1].removeprefix("글 ")) > 9_990
    assert f"{texts.MOST} texts are enough" in capsys.readouterr().err


@pytest.mark.parametrize("rounds", ["0", "-1", "many"])
def test_rounds_that_are_none_are_refused(rounds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["load", "--rounds", rounds])
    assert f"invalid at_least_one value: '{rounds}'" in capsys.readouterr().err


def test_lines_that_classify_would_refuse_or_read_as_json_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.txt"
    lines = ["하나", '{"text": "둘"}', ' {"셋', "넷\0", "다{섯}", "여" * 400_000, "일곱"]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert texts.read(path) == ["하나", "다{섯}", "일곱"]
    assert capsys.readouterr().err == (
        f"{path}: what `classify` would read as JSON, or refuse, is left out: 4 of 7 lines\n"
    )


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"\x89PNG\xff", "is text neither in UTF-8 nor in CP949"),
        (b"", "has no texts"),
        (b" \n\n", "has no texts"),
        (b'{"text": "a"}\n  {}\n\0\n', "has no texts"),
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


def test_one_text_is_enough_for_the_stream() -> None:
    stream = repeating(["글"])
    assert len(stream) == cache.MESSAGES
    assert abs(len(set(stream)) / len(stream) - 1 / 3) < 0.03


def test_the_cache_stands_beside_itself_off_and_beside_each_message_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, tuple[int, type[Classifier]]] = {}

    def classify_with(
        options: WorkerSettings, loaded: Classifier, stream: list[str], in_flight_tokens: int
    ) -> Side:
        assert in_flight_tokens == room.default(1_024) < 4 * len(stream)  # it does not hold all
        return lambda: given.update({f"{len(given)}": (options.cache_entries, type(loaded))})

    def alternate(sides: dict[str, Side], _: int, __: int) -> dict[str, list[float]]:
        for side in sides.values():
            side()
        return {"once": [60.0], "off": [30.0], "each": [20.0]}

    monkeypatch.setattr(cache, "load", lambda *_: fake_classifier(FakeEngine()))
    monkeypatch.setattr(cache, "classify_with", classify_with)
    monkeypatch.setattr(cache, "alternate", alternate)
    rows = cache.run(["글"], 1)
    assert list(given.values())[:3] == [(20_000, Classifier), (0, Classifier), (0, Separate)]
    assert [(row["ratio"], row["over the cache off alone"]) for row in rows] == [(3.0, 2.0)] * 2


def test_tokens_that_stand_alone_equal_only_themselves() -> None:
    one, other = Alone((1, 2)), Alone((1, 2))
    assert one == one  # noqa: PLR0124  (the point)
    assert one != other
    assert len({one: 1, other: 2}) == 2
