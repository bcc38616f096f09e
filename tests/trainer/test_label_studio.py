"""Label Studio gets our samples, and no label that it exports is lost, whatever the format."""

import codecs
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.emotion import EMOTIONS
from trainer import label_studio, labels, review
from trainer.recipe import Recipe
from trainer.tables import DataError

from .conftest import row

KINDS = (".json", ".csv", ".tsv")


def test_label_studio_gets_tasks_and_gives_labels(collected: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    review.export(collected, path, 5)
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
    review.take_in(collected, path)
    expected = {tasks[place]["data"]["id"] for place in (0, 3, 4)}
    assert {row.id for row in labels.read(collected.options.work)} == expected


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
    collected: Recipe, tmp_path: Path, kind: str
) -> None:
    tasks = label_studio.tasks([row(number) for number in range(10)])
    for part in (tasks[:5], tasks[5:]):
        review.take_in(collected, flat(tmp_path / f"export{kind}", annotated(part, "기쁨")))
    assert [(each.id, each.text, each.emotion) for each in labels.read(collected.options.work)] == [
        (task["data"]["id"], task["data"]["text"], "기쁨") for task in tasks
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_export_without_our_ids_is_one_line_and_adds_nothing(
    collected: Recipe, tmp_path: Path, kind: str
) -> None:
    rows = annotated(label_studio.tasks([row(1)]), "기쁨")
    del rows[0]["sample_id"]
    with pytest.raises(DataError, match=r"row 1 has no sample_id, .*: export the project as JSON"):
        review.take_in(collected, flat(tmp_path / f"export{kind}", rows))
    assert labels.read(collected.options.work) == []


@pytest.mark.parametrize("kind", KINDS)
def test_of_several_annotations_in_a_flat_export_the_latest_counts_and_an_empty_one_is_none(
    collected: Recipe, tmp_path: Path, kind: str
) -> None:
    tasks = label_studio.tasks([row(1)])
    rows = [
        *annotated(tasks, "기쁨", "2026-11-26"),
        *annotated(tasks, "분노", "2026-11-25"),
        *annotated(tasks, "", "2026-11-27"),
    ]
    review.take_in(collected, flat(tmp_path / f"export{kind}", rows))
    assert [each.emotion for each in labels.read(collected.options.work)] == ["기쁨"]


@pytest.mark.parametrize("kind", KINDS)
def test_quotation_marks_of_a_text_are_those_that_were_written(
    collected: Recipe, tmp_path: Path, kind: str
) -> None:
    texts = ['"응" 이라고 "응"', "그냥", '"']
    tasks = label_studio.tasks([row(n) | {"text": text} for n, text in enumerate(texts)])
    review.take_in(collected, flat(tmp_path / f"export{kind}", annotated(tasks, "기쁨")))
    assert [each.text for each in labels.read(collected.options.work)] == texts


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
    collected: Recipe, tmp_path: Path, annotations: list[dict[str, Any]], expected: str
) -> None:
    tasks = [task | {"annotations": annotations} for task in label_studio.tasks([row(1)])]
    path = tmp_path / "export.json"
    path.write_bytes(codecs.BOM_UTF8 + json.dumps(tasks).encode())
    review.take_in(collected, path)
    assert [each.emotion for each in labels.read(collected.options.work)] == [expected]


def test_tasks_of_an_earlier_export_have_their_id_alone(collected: Recipe, tmp_path: Path) -> None:
    (task,) = label_studio.tasks([row(1)])
    del task["data"]["sample_id"]
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task | {"annotations": [{"result": [choice("기쁨")]}]}]))
    review.take_in(collected, path)
    assert [each.id for each in labels.read(collected.options.work)] == ["chat-0-1"]
