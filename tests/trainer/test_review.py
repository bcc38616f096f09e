"""Labels of people: what they are asked, and that nothing they said is lost."""

import codecs
import csv
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from schemas.emotion import EMOTIONS
from trainer import dataset, history, recipe, review
from trainer.dataset import DataError, Labelled
from trainer.recipe import Recipe
from trainer.settings import TrainerSettings
from trainer.stage import Numbers, StageError, alone, run

from .commands import command
from .conftest import full_after

ROOT = Path(__file__).resolve().parents[2]


def row(
    number: int, reason: str = "low_margin", margin: float = 0.1, version: str = "1"
) -> dict[str, Any]:
    return {
        "id": f"chat-0-{number}",
        "text": f"글 {number}",
        "emotion": EMOTIONS[number % 6],
        "confidence": 0.5,
        "margin": margin,
        "reason": reason,
        "inclusion_probability": 1.0 if reason == "low_margin" else 0.01,
        "model_name": "maum",
        "model_version": version,
        "classified_at": f"2026-11-2{version}T04:00:00.000Z",
    }


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def given(options: TrainerSettings, said: list[str]) -> Recipe:
    """A recipe with one snapshot of twelve samples."""

    def make(folder: Path) -> Numbers:
        dataset.write_parquet(folder / "samples.parquet", [row(number) for number in range(12)])
        return {}

    run(options.work, "collect", {}, {}, make)
    return recipe.Recipe(options, said.append, {})


def keys(pressed: str) -> "Asked":
    return Asked(iter(pressed))


class Asked:
    """Presses keys in turn, and keeps what it was shown."""

    def __init__(self, pressed: Iterator[str]) -> None:
        self.pressed = pressed
        self.shown: list[str] = []

    def __call__(self, line: str) -> str:
        self.shown.append(line)
        return next(self.pressed)


def test_a_key_is_a_label_and_it_is_kept_at_once(given: Recipe) -> None:
    review.label(given, 12, keys("136q"))
    found = [row.emotion for row in history.labels(given.options.work)]
    assert found == [EMOTIONS[0], EMOTIONS[2], EMOTIONS[5]]


def test_undo_takes_the_last_one_back(given: Recipe) -> None:
    asked = keys("12u3q")
    review.label(given, 12, asked)
    found = history.labels(given.options.work)
    assert [row.emotion for row in found] == [EMOTIONS[0], EMOTIONS[2]]
    assert asked.shown[1] == asked.shown[3]
    review.label(given, 12, keys("uq"))  # nothing to undo is no harm
    assert len(history.labels(given.options.work)) == 2


def test_an_undone_label_is_no_label(given: Recipe) -> None:
    review.label(given, 12, keys("1uq"))
    assert history.labels(given.options.work) == []


def test_skipped_ones_come_again_and_labelled_ones_do_not(given: Recipe, said: list[str]) -> None:
    first, second = keys("1s2q"), keys("q")
    review.label(given, 12, first)
    assert said[-1] == "review: 2 labelled, 10 left"
    review.label(given, 12, second)
    assert second.shown[0].startswith("[1/10]")
    assert second.shown[0].partition("] ")[2] == first.shown[1].partition("] ")[2]


def test_the_keys_are_the_same_while_the_keyboard_writes_hangul(given: Recipe) -> None:
    review.label(given, 12, keys("1ㅕ2ㄴㅂ"))
    assert [row.emotion for row in history.labels(given.options.work)] == [EMOTIONS[1]]


def test_a_disk_that_is_full_is_one_line_and_leaves_no_half_label(given: Recipe) -> None:
    review.label(given, 12, keys("1q"))
    path = history.labels_file(given.options.work)
    with (
        full_after(path.stat().st_size + 9),
        pytest.raises(StageError, match=r"labels\.jsonl cannot be written"),
    ):
        review.label(given, 12, keys("2q"))
    assert [row.emotion for row in history.labels(given.options.work)] == [EMOTIONS[0]]


def test_an_open_terminal_keeps_no_run_waiting_and_a_label_meanwhile_is_a_line(
    given: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = given.options.work
    with ExitStack() as run_at_work:

        def ask(line: str) -> str:
            if line.startswith("[2/"):
                run_at_work.enter_context(alone(work))
            return "3"

        monkeypatch.setattr(review, "one_key", ask)
        assert command(given.options, monkeypatch, "review", "label") == 1
        assert f"another trainer is at work in {work}" in capsys.readouterr().err
        assert command(given.options, monkeypatch, "review", "export", "tasks.json") == 0
    assert len(history.labels(work)) == 1


def test_in_a_terminal_one_key_is_enough(given: Recipe) -> None:
    """The command itself, on a terminal of its own: no Enter is pressed."""
    main, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "trainer", "review", "label"],
        cwd=ROOT,
        env=os.environ | {"TRAINER_WORK": str(given.options.work)},
        stdin=other,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        os.write(main, b"1s2q")
        shown = process.stdout.read()
        assert process.wait(240) == 0
    os.close(main)
    os.close(other)
    assert "review: 2 labelled, 10 left" in shown
    found = [row.emotion for row in history.labels(given.options.work)]
    assert found == [EMOTIONS[0], EMOTIONS[1]]


def test_a_wrong_key_shows_the_keys(given: Recipe, said: list[str]) -> None:
    review.label(given, 12, keys("x1q"))
    assert said[:2] == [review.HELP, review.HELP]
    assert len(history.labels(given.options.work)) == 1


def test_label_studio_gets_tasks_and_gives_labels(given: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    review.export(given, path, 5)
    tasks = json.loads(path.read_text())
    assert len(tasks) == 5
    assert tasks[0]["predictions"][0]["result"][0]["value"]["choices"][0] in EMOTIONS
    assert (tmp_path / "tasks.xml").read_text().count("<Choice ") == 6
    answer = {"result": [{"value": {"choices": ["기쁨"]}}]}
    tasks[0]["annotations"] = [{"result": []}, answer]
    tasks[1]["annotations"] = [{**answer, "was_cancelled": True}]
    tasks[2]["annotations"] = []
    for task in tasks[3:]:
        task["annotations"] = [answer]
    path.write_text(json.dumps(tasks))
    review.take_in(given, path)
    expected = {tasks[place]["data"]["id"] for place in (0, 3, 4)}
    assert {row.id for row in history.labels(given.options.work)} == expected


ANSWERED = {"result": [{"value": {"choices": ["기쁨"]}}]}
KINDS = (".json", ".csv", ".tsv")


def flat(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as Label Studio writes them: JSON-MIN, CSV, TSV."""
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        tab = "\t" if path.suffix == ".tsv" else ","
        writer = csv.DictWriter(file, rows[0], delimiter=tab)
        writer.writeheader()
        writer.writerows(rows)
    return path


def annotated(
    tasks: list[dict[str, Any]], emotion: str, day: str = "2026-11-26"
) -> list[dict[str, Any]]:
    """Its flat rows of a project: the task's number takes the place of `data.id`."""
    return [
        task["data"]
        | {"id": number, "emotion": emotion, "annotation_id": 100 + number, "annotator": 1}
        | {"updated_at": f"{day}T10:00:00.000000Z"}
        for number, task in enumerate(tasks, start=1)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_flat_exports_of_two_projects_lose_no_label(
    given: Recipe, tmp_path: Path, kind: str
) -> None:
    tasks = review.tasks([row(number) for number in range(10)])
    for part in (tasks[:5], tasks[5:]):
        review.take_in(given, flat(tmp_path / f"export{kind}", annotated(part, "기쁨")))
    assert [(each.id, each.text, each.emotion) for each in history.labels(given.options.work)] == [
        (task["data"]["id"], task["data"]["text"], "기쁨") for task in tasks
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_export_without_our_ids_is_one_line_and_adds_nothing(
    given: Recipe, tmp_path: Path, kind: str
) -> None:
    rows = annotated(review.tasks([row(1)]), "기쁨")
    del rows[0]["sample_id"]
    with pytest.raises(DataError, match=r"row 1 has no sample_id, .*: export the project as JSON"):
        review.take_in(given, flat(tmp_path / f"export{kind}", rows))
    assert history.labels(given.options.work) == []


@pytest.mark.parametrize("kind", KINDS)
def test_of_several_annotations_in_a_flat_export_the_latest_counts_and_an_empty_one_is_none(
    given: Recipe, tmp_path: Path, kind: str
) -> None:
    tasks = review.tasks([row(1)])
    rows = [
        *annotated(tasks, "기쁨", "2026-11-26"),
        *annotated(tasks, "분노", "2026-11-25"),
        *annotated(tasks, "", "2026-11-27"),
    ]
    review.take_in(given, flat(tmp_path / f"export{kind}", rows))
    assert [each.emotion for each in history.labels(given.options.work)] == ["기쁨"]


@pytest.mark.parametrize("kind", KINDS)
def test_quotation_marks_of_a_text_are_those_that_were_written(
    given: Recipe, tmp_path: Path, kind: str
) -> None:
    texts = ['"응" 이라고 "응"', "그냥", '"']
    tasks = review.tasks([row(n) | {"text": text} for n, text in enumerate(texts)])
    review.take_in(given, flat(tmp_path / f"export{kind}", annotated(tasks, "기쁨")))
    assert [each.text for each in history.labels(given.options.work)] == texts


def choice(emotion: str, name: str = "emotion") -> dict[str, Any]:
    return {"from_name": name, "type": "choices", "value": {"choices": [emotion]}}


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ([{"result": [{"value": {"text": ["?"]}}, choice("기쁨")]}], "기쁨"),
        ([{"result": [{"type": "relation"}, choice("좋음", "quality"), choice("기쁨")]}], "기쁨"),
        ([{"result": [choice("기쁨")]}, {"result": []}], "기쁨"),
        ([{"result": [choice("기쁨")]}, {"result": [{"value": {"text": ["?"]}}]}], "기쁨"),
        (
            [
                {"result": [choice("기쁨")], "updated_at": "2026-11-26T10:00:00.000000Z"},
                {"result": [choice("분노")], "updated_at": "2026-11-25T10:00:00.000000Z"},
            ],
            "기쁨",
        ),
        ([{"result": [choice("분노")]}, {"result": [choice("기쁨")]}], "기쁨"),
    ],
)
def test_the_latest_choice_counts_wherever_it_stands(
    given: Recipe, tmp_path: Path, annotations: list[dict[str, Any]], expected: str
) -> None:
    tasks = [task | {"annotations": annotations} for task in review.tasks([row(1)])]
    path = tmp_path / "export.json"
    path.write_bytes(codecs.BOM_UTF8 + json.dumps(tasks).encode())
    review.take_in(given, path)
    assert [each.emotion for each in history.labels(given.options.work)] == [expected]


def test_tasks_of_an_earlier_export_have_their_id_alone(given: Recipe, tmp_path: Path) -> None:
    (task,) = review.tasks([row(1)])
    del task["data"]["sample_id"]
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task | {"annotations": [{"result": [choice("기쁨")]}]}]))
    review.take_in(given, path)
    assert [each.id for each in history.labels(given.options.work)] == ["chat-0-1"]


def test_json_lines_go_out_and_come_back(given: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    review.export(given, path, 3)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["emotion"] = "당황"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    review.take_in(given, path)
    (found,) = history.labels(given.options.work)
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
    given: Recipe, tmp_path: Path, name: str, content: str, complaint: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=complaint):
        review.take_in(given, tmp_path / name)
    assert history.labels(given.options.work) == []


def test_an_export_to_where_nothing_can_be_written_is_one_line(
    given: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match="cannot be written: No such file"):
        review.export(given, tmp_path / "none/tasks.json", 5)


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


def test_three_piles_take_turns() -> None:
    samples = [row(n, "random", 0.9) for n in range(6)]
    samples += [row(n, "low_margin", n / 100) for n in range(6, 18)]
    opinions = {each["id"]: each["emotion"] for each in samples} | {"chat-0-17": "없음"}
    chosen = [each["id"] for each in review.rank(samples, opinions, {"chat-0-0"}, 7)]
    assert chosen[1:3] == ["chat-0-17", "chat-0-6"]
    random = [each for each in chosen if int(each[7:]) < 6]
    assert random[0] == chosen[0]
    assert len(random) == 3
    assert "chat-0-0" not in chosen
    assert len(set(chosen)) == 7


def test_nothing_but_chance_decides_what_is_labelled_of_the_random_stratum() -> None:
    """Its labels stand for all of it: not for the likely mistakes, nor for what came first."""
    samples = [row(n, "random", 0.9 - n / 1000) for n in range(300)]
    samples += [row(n, "low_margin", n / 1000) for n in range(300, 400)]
    opinions = {f"chat-0-{n}": "없음" for n in (*range(0, 300, 3), 350)}
    chosen = review.rank(samples, opinions, set(), 90)
    random = [int(each["id"][7:]) for each in chosen if each["reason"] == "random"]
    assert 30 <= len(random) <= 60
    assert 0.2 < sum(n % 3 == 0 for n in random) / len(random) < 0.5
    assert 110 < sum(random) / len(random) < 190
    assert "chat-0-350" in {each["id"] for each in chosen}
    later = [row(n, "random", 0.9) for n in range(1000, 1100)]
    again = review.rank([*samples, *later], opinions, set(), 400)
    order = [n for each in again if (n := int(each["id"][7:])) < 300]
    assert order[: len(random)] == random


def test_what_the_newest_model_answered_is_labelled_before_what_older_ones_did() -> None:
    samples = [row(n, "random", version="2" if n < 10 else "1") for n in range(30)]
    chosen = [each["model_version"] for each in review.rank(samples, {}, set(), 30)]
    assert chosen == ["2"] * 10 + ["1"] * 20


def test_the_last_word_of_a_reviewer_counts(tmp_path: Path) -> None:
    for emotion in ("기쁨", "분노"):
        review.add(tmp_path, Labelled("1", "글", emotion))
    assert history.labels(tmp_path) == [Labelled("1", "글", "분노")]
