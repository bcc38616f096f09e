"""What is promoted carries its int8 graph, and the worker takes that one."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from trainer import promote, publish
from trainer.settings import TrainerSettings
from worker import classifier
from worker.classifier import ModelId
from worker.engines import EngineError, export


@pytest.fixture
def shipped(tmp_path: Path, tiny_model: Path, options: TrainerSettings) -> Path:
    """What `publish` makes of a model."""
    publish.publish(tiny_model, tmp_path / "publish", options)
    return tmp_path / "publish" / "model"


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
    assert f"engines/{export.key(shipped)}/int8.onnx" in stated.files


def test_a_spoilt_graph_is_made_anew_in_the_cache(shipped: Path, tmp_path: Path) -> None:
    (shipped / "engines" / export.key(shipped) / "int8.onnx").write_bytes(b"spoilt")
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
    stated = promote.state(shipped, options, made_at="2026-11-25T04:00:00.000Z", metrics={})
    assert stated.int8 is None
