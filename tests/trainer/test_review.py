"""Samples go out, labels come in, and what makes no sense adds nothing."""

import json
from pathlib import Path

import pytest

from trainer import labels, recipe, review
from trainer.recipe import Recipe
from trainer.settings import TrainerSettings
from trainer.stage import StageError
from trainer.tables import DataError

from .commands import command
from .test_terminal import keys

ANSWERED = {"result": [{"value": {"choices": ["기쁨"]}}]}


def test_json_lines_go_out_and_come_back(collected: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    review.export(collected, path, 3)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["emotion"] = "당황"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    review.take_in(collected, path)
    (found,) = labels.read(collected.options.work)
    assert (found.id, found.emotion) == (lines[0]["id"], "당황")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.json", "{", "cannot be read"),
        ("a.json", "[{}]", "task 1 is no task of ours"),
        ("a.json", "3", "is no list of tasks"),
        ("a.json", '[{"data": {}, "annotations": [3]}]', "task 1 is no task of ours"),
        (
            "a.json",
            '[{"data": {}, "annotations": [{"result": [{"value": {"choices": ["기쁨"]}}]}]}]',
            "task 1 is no task of ours",
        ),
        (
            "a.json",
            '[{"annotation_id": 1, "sample_id": 1, "text": " ", "emotion": "기쁨"}]',
            "row 1 has a label and no text",
        ),
        (
            "a.json",
            json.dumps([{"data": {"id": 1, "text": " "}, "annotations": [ANSWERED]}]),
            "task 1 has a label and no text",
        ),
        ("a.csv", "annotation_id,sample_id,text,emotion\n1,1, ,기쁨", "row 1 has a label and no"),
        ("a.jsonl", '{"id": "1", "text": "글", "emotion": "설렘"}', "unknown labels: 설렘"),
        ("a.jsonl", '{"text": "글", "emotion": 3}', "unknown labels: 3"),
        ("a.jsonl", '{"text": "글", "emotion": ["기쁨"]}', "unknown labels: \\['기쁨'\\]"),
        ("a.jsonl", '{"text": "\\ud83d", "emotion": "기쁨"}', "line 1 has half a character"),
    ],
)
def test_an_import_that_makes_no_sense_adds_nothing(
    collected: Recipe, tmp_path: Path, name: str, content: str, complaint: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=complaint):
        review.take_in(collected, tmp_path / name)
    assert labels.read(collected.options.work) == []


def test_an_export_to_where_nothing_can_be_written_is_one_line(
    collected: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match="cannot be written: No such file"):
        review.export(collected, tmp_path / "none/tasks.json", 5)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["export", "a.xlsx"], "a.xlsx: the name must end in .json (Label Studio) or .jsonl"),
        (["export"], "review export needs a file"),
        (["import", "a.xlsx"], "a.xlsx: the name must end in one of .json, .jsonl, .csv"),
        (["import", "a.json"], "a.json is no file"),
        (["import", "a.csv"], "a.csv is no file"),
    ],
)
def test_a_file_of_another_kind_or_none_is_a_wrong_argument(
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    assert command(options, monkeypatch, "review", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trainer: {complaint}")


def test_without_samples_there_is_nothing_to_review(options: TrainerSettings) -> None:
    with pytest.raises(DataError, match="no review samples"):
        review.label(recipe.Recipe(options, print, {}), 5, keys(""))
