"""What is promoted carries its int8 graph, and the worker takes that one."""

import json
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from trainer import promote, publish, stage
from trainer.gate import Gate
from trainer.lineage import Lineage
from trainer.settings import TrainerSettings
from trainer.stage import Numbers
from worker import classifier
from worker.classifier import ModelId
from worker.engines import EngineError, export, kept


@pytest.fixture
def shipped(tmp_path: Path, tiny_model: Path, options: TrainerSettings) -> Path:
    """What `publish` makes of a model."""
    publish.publish(tiny_model, tmp_path / "publish", options)
    return tmp_path / "publish" / "model"


def test_the_graph_and_how_it_was_checked_are_all_that_is_added(
    shipped: Path, tiny_model: Path
) -> None:
    names = {str(path.relative_to(shipped)) for path in shipped.rglob("*") if path.is_file()}
    added = names - {path.name for path in tiny_model.iterdir()}
    graph = f"engines/{kept.key(shipped)}"
    assert added == {f"{graph}/{kept.GRAPH}", f"{graph}/{kept.MANIFEST}"}


def test_a_lock_that_a_worker_left_in_the_model_is_not_published(
    shipped: Path, tmp_path: Path, options: TrainerSettings
) -> None:
    (shipped / "engines" / f".{kept.key(shipped)}.lock").touch()
    publish.publish(shipped, tmp_path / "again", options)
    assert not list((tmp_path / "again").rglob("*.lock"))


def test_the_numbers_are_those_of_the_check(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings
) -> None:
    numbers = publish.publish(tiny_model, tmp_path / "publish", options)
    check = publish.int8(tmp_path / "publish" / "model")
    assert check is not None
    assert numbers == {
        "int8": float(check.used),
        "int8_agreement": check.agreement,
        "int8_macro_f1_delta": check.macro_f1_delta,
    }


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            {"int8": {"agreement": 0.9, "macro_f1_delta": -0.0123, "used": False}},
            "as it agrees with fp32 on 90.00% of the golden messages and moves macro-F1 by -1.23 ",
        ),
        (
            {"exact": False, "difference": 0.25},
            "as the ONNX graph is off by up to 0.25 of a logit: PyTorch serves in fp32",
        ),
    ],
    ids=["refused", "inexact"],
)
def test_what_stops_int8_is_said_with_its_figures(
    shipped: Path, found: dict[str, object], told: str
) -> None:
    assert publish.lacking(shipped) is None
    path = shipped / "engines" / kept.key(shipped) / kept.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | found))
    assert f"int8 is refused, {told}" in str(publish.lacking(shipped))


def test_the_gate_says_once_that_there_is_no_int8(
    tiny_model: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "lacking", lambda _: "int8 is refused")
    said: list[str] = []
    lineage = Lineage(options, said.append)
    made = stage.run(options.work, "finetune", {}, {}, lambda folder: copied(tiny_model, folder))
    lineage.candidate = made
    gate = Gate(lineage, {})
    for _ in range(2):
        assert gate.published == gate.made["publish"]
    assert said.count("publish: int8 is refused") == 1


def copied(model: Path, folder: Path) -> Numbers:
    shutil.copytree(model, folder / "model")
    return {}


def test_a_worker_makes_no_graph_of_its_own(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "make", None)
    found = classifier.load(
        shipped, ModelId("m", "1"), device="cpu", threads=1, cache=tmp_path / "empty"
    )
    assert found.engine.name == "onnx-cpu"
    assert not (tmp_path / "empty").exists()


def test_the_manifest_lists_the_graph_and_what_was_found(
    shipped: Path, options: TrainerSettings
) -> None:
    stated = promote.state(shipped, options, made_at="2026-11-25T04:00:00.000Z", metrics={})
    assert stated.int8 == publish.int8(shipped)
    assert f"engines/{kept.key(shipped)}/int8.onnx" in stated.files


def test_a_spoilt_graph_is_made_anew_in_the_cache(shipped: Path, tmp_path: Path) -> None:
    (shipped / "engines" / kept.key(shipped) / "int8.onnx").write_bytes(b"spoilt")
    with capture_logs():
        classifier.load(shipped, ModelId("m", "1"), device="cpu", threads=1, cache=tmp_path / "c")
    assert list((tmp_path / "c" / "engines").iterdir())


def test_a_model_that_no_graph_can_serve_is_published_without(
    tmp_path: Path,
    tiny_model: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise EngineError("no graph for this kind of model")

    monkeypatch.setattr(export, "make", refuse)
    with capture_logs():
        numbers = publish.publish(tiny_model, tmp_path / "publish", options)
    assert numbers == {"int8": 0.0}
    shipped = tmp_path / "publish" / "model"
    assert "no int8 graph could be made" in str(publish.lacking(shipped))
    stated = promote.state(shipped, options, made_at="2026-11-25T04:00:00.000Z", metrics={})
    assert stated.int8 is None
