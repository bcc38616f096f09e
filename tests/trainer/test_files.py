"""Each stage is a command on files of any kind, whoever made them."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.emotion import EMOTIONS
from trainer import choose, dataset, finetune, stage, tables
from trainer.dataset import Labelled
from trainer.job import Job
from trainer.settings import TrainerSettings
from trainer.split import split

from .commands import command
from .conftest import GOLDEN_FILLER, chat, tsv


def table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as the ending says; in CSV and TSV lists are JSON."""
    if path.suffix == ".parquet":
        tables.write(path, rows)
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)
            return path
        tabs: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
        writer = csv.DictWriter(file, rows[0], **(tabs if path.suffix == ".tsv" else {}))
        writer.writeheader()
        for row in rows:
            flat = {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
            writer.writerow(flat)
    return path


def plain(rows: Sequence[Labelled]) -> list[dict[str, Any]]:
    return [{"id": row.id, "text": row.text, "emotion": row.emotion} for row in rows]


@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_each_stage_takes_files_of_any_kind_and_is_skipped_while_they_are_unchanged(
    kind: str,
    tmp_path: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = options.model_copy(update={"epochs": 1, "labelled": tmp_path / "is not there.tsv"})
    labelled = table(tmp_path / f"people{kind}", plain(chat(120, 1)))

    def made(*arguments: object) -> Path:
        """The folder that a stage leaves; twice, and the second time nothing is done."""
        for _ in range(2):
            assert command(given, monkeypatch, *map(str, arguments)) == 0
        lines = capsys.readouterr().out.splitlines()
        first, again = (line for line in lines if " → " in line)
        assert "unchanged, skipped" in again
        assert first.rpartition(" → ")[2] == again.rpartition(" → ")[2]
        return Path(again.rpartition(" → ")[2])

    teacher = made("teach", labelled) / "model"
    given = given.model_copy(update={"labelled": labelled})
    texts = table(tmp_path / f"texts{kind}", plain(chat(30, 5, "u")))
    said = made("pseudo-label", texts, "--teacher", teacher) / "pseudo.parquet"
    sure = [row | {"pred_conf": 0.9, "pred_margin": 0.85} for row in tables.read(said)]
    assert [row["id"] for row in sure] == [f"u{number}" for number in range(30)]
    pseudo = table(tmp_path / f"pseudo{kind}", sure)
    chosen = made("select", pseudo, "--teacher", teacher) / "seed.parquet"
    rows = tables.read(chosen)
    assert {row["id"] for row in rows if row["origin"] == "new"} == {row["id"] for row in sure}
    training = table(tmp_path / f"training{kind}", rows)
    assert choose.read_examples(training) == choose.read_examples(chosen)
    student = made("finetune", training)
    manifest = stage.read(student)
    assert manifest is not None
    assert manifest.inputs["selected"] == stage.fingerprint_of(training)
    assert (student / "model" / "model.safetensors").exists()


def test_pseudo_labels_without_scores_are_for_the_seeds_filter_alone(
    tmp_path: Path,
    tiny_model: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    golden = chat(120, 99, "g", GOLDEN_FILLER)[0]
    rows = [
        {"text": row.text, "pred_emotion": "기쁨", "pred_conf": conf, "pred_margin": conf - 0.1}
        for row, conf in zip([*chat(3, 5, "u"), golden], (0.9, 0.8, 0.7, 0.9), strict=True)
    ]
    pseudo = table(tmp_path / "pseudo.csv", rows)
    arguments = ("select", str(pseudo), "--teacher", str(tiny_model))
    assert command(options, monkeypatch, *arguments) == 0
    told = capsys.readouterr().out
    assert "seed_accepted 2, calibrated_accepted 0" in told
    assert "golden_left_out 1" in told


def test_a_training_set_may_be_labels_alone(tmp_path: Path) -> None:
    path = table(tmp_path / "labels.csv", [{"text": "글", "emotion": "슬픔"}])
    (only,) = choose.read_examples(path)
    assert (only.target, only.origin) == (tuple(float(x == "슬픔") for x in EMOTIONS), "new")


@pytest.mark.parametrize(
    "row",
    [
        {"target": [0.5, 0.5]},
        {"target": [0.5] * 6},
        {"target": [1.5, -0.5, 0, 0, 0, 0]},
        {"target": "[1, 0, 0"},
        {"target": "[" * 100_000},
        {"target": "[NaN, 0, 0, 0, 0, 1]"},
        {"target": None},
        {"emotion": "happy"},
        {"other": 1},
    ],
)
def test_what_is_no_target_is_one_line_with_its_row(tmp_path: Path, row: dict[str, Any]) -> None:
    path = table(tmp_path / "training.jsonl", [{"text": "글"} | row])
    with pytest.raises(tables.DataError, match="row 1 has neither a target of six shares nor an"):
        choose.read_examples(path)


def test_ids_may_come_again_in_a_training_set(tmp_path: Path) -> None:
    """Labels and unlabelled texts may both be counted from 1."""
    rows = [{"id": 1, "text": text, "emotion": "슬픔", "origin": "human"} for text in "가나"]
    found = choose.read_examples(table(tmp_path / "training.jsonl", rows))
    assert [(each.id, each.text) for each in found] == [("1", "가"), ("1", "나")]


def test_what_is_held_out_to_stop_by_is_left_out_of_a_given_training_set(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = options.model_copy(update={"epochs": 1})
    assert command(given, monkeypatch, "finetune", str(given.labelled)) == 0
    rows = dataset.read_labelled(given.labelled)
    train, held_out = split(rows, given.validation_share, given.seed)
    told = capsys.readouterr().out
    assert f"train {len(train)}, held_out {len(held_out)}" in told
    assert f"held_out_left_out {len(held_out)}" in told


def test_a_training_set_of_one_class_is_one_line(
    tmp_path: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{"text": f"글 {number}", "emotion": "기쁨"} for number in range(50)]
    path = table(tmp_path / "training.jsonl", rows)
    assert command(options, monkeypatch, "finetune", str(path)) == 1
    assert "each of the 50 texts to fit" in capsys.readouterr().err.splitlines()[-1]


def test_finetune_settles_the_weights_where_that_is_asked_for(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []

    def fitted(job: Job, _: Path) -> dict[str, float]:
        jobs.append(job)
        return {}

    monkeypatch.setattr(finetune, "fitted", fitted)
    for settle in (False, True):
        given = options.model_copy(update={"settle_weights": settle})
        assert command(given, monkeypatch, "finetune", str(given.labelled)) == 0
    assert [job.settled for job in jobs] == [False, True]


def test_what_is_held_out_is_left_out_of_a_training_set_that_spells_it_otherwise(
    tmp_path: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = options.model_copy(update={"epochs": 1})
    rows = dataset.read_labelled(given.labelled)
    train, held_out = split(rows, given.validation_share, given.seed)
    louder = [replace(row, text=f"{row.text}!!") for row in held_out]
    path = table(tmp_path / "training.jsonl", plain([*train, *louder]))
    assert command(given, monkeypatch, "finetune", str(path)) == 0
    told = capsys.readouterr().out
    assert f"train {len(train)}, held_out {len(held_out)}" in told
    assert f"held_out_left_out {len(held_out)}" in told


@pytest.mark.parametrize("name", ["select", "finetune"])
def test_golden_texts_among_the_labels_stop_each_command_that_reads_them(
    name: str,
    tmp_path: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All of them among those that are held out, which no training set shows."""
    people, golden = chat(240, 1), dataset.read_golden(options.golden)
    _, held_out = split(golden, options.validation_share, options.seed)
    tsv(options.labelled, [*people, *(replace(row, id=f"leak-{row.id}") for row in held_out)])
    sure = {"pred_emotion": "기쁨", "pred_conf": 0.9, "pred_margin": 0.8}
    pseudo = table(tmp_path / "pseudo.jsonl", [{"text": row.text} | sure for row in people])
    training = table(tmp_path / "training.jsonl", plain(people))
    arguments = {"select": (pseudo, "--teacher", options.teacher), "finetune": (training,)}
    assert command(options, monkeypatch, name, *map(str, arguments[name])) == 1
    said = capsys.readouterr().err
    assert f"{len(held_out)} texts that would train repeat golden ones" in said
    assert f"leak-{held_out[0].id} ~ {held_out[0].id} (1.00)" in said


def test_a_training_set_that_repeats_golden_texts_stops_the_fit(
    tmp_path: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    golden = chat(120, 99, "g", GOLDEN_FILLER)[3]
    rows = [*chat(30, 1), Labelled("leak", golden.text, golden.emotion)]
    path = table(tmp_path / "training.jsonl", plain(rows))
    assert command(options, monkeypatch, "finetune", str(path)) == 1
    assert "leak ~ g3" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("finetune", "no.csv"), ("select", "--teacher", "nowhere")])
def test_a_file_that_is_not_there_is_a_wrong_argument(
    arguments: tuple[str, ...],
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(options, monkeypatch, *arguments) == 2
    assert f"{arguments[-1]} is no f" in capsys.readouterr().err
