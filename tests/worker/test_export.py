"""int8 serves where it agrees with fp32, is made once, and is never the reason not to start."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from schemas import manifest
from schemas.emotion import EMOTIONS
from schemas.manifest import Int8Check, ModelManifest
from worker import classifier as classifiers
from worker import whole
from worker.classifier import Classifier, ModelId
from worker.engines import (
    EngineError,
    OutOfMemoryError,
    Source,
    agreement,
    choice,
    export,
    families,
    graph,
    kept,
)
from worker.engines.agreement import compare
from worker.settings import BUNDLED_MODEL

from .fakes import FakeEngine

ROOT = Path(__file__).resolve().parents[2]
AGREES = Int8Check(agreement=1.0, macro_f1_delta=0.0, used=True)
DISAGREES = Int8Check(agreement=0.97, macro_f1_delta=-0.004, used=False)


def load(folder: Path, cache: Path, precision: str = "auto") -> Classifier:
    return classifiers.load(
        folder, ModelId("m", "1"), device="cpu", precision=precision, threads=1, cache=cache
    )


def judge(monkeypatch: pytest.MonkeyPatch, check: Int8Check) -> None:
    """Whatever the int8 graph says, this is found of it."""
    monkeypatch.setattr(agreement, "compare", lambda *_: check)


def served(folder: Path, cache: Path, precision: str) -> tuple[str, str, list[str]]:
    """Engine, precision, and the warnings."""
    with capture_logs() as logs:
        engine = load(folder, cache, precision).engine
    warnings = [f"{log['event']}: {log.get('reason', '')}" for log in logs if is_warning(log)]
    return engine.name, engine.precision, warnings


def is_warning(log: "dict[str, object] | object") -> bool:
    return isinstance(log, dict) and log["log_level"] == "warning"


def manifests(cache: Path) -> list[Path]:
    return sorted((cache / "engines").glob("*/manifest.json"))


def test_the_bundled_model_serves_in_int8(cache: Path) -> None:
    assert served(BUNDLED_MODEL, cache, "auto") == ("onnx-cpu", "int8", [])


def test_the_bundled_model_brings_its_graph() -> None:
    assert kept.shipped(BUNDLED_MODEL) is not None


def test_what_was_found_stands_beside_the_graph(cache: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(BUNDLED_MODEL, bare, ignore=shutil.ignore_patterns("engines", "manifest.json"))
    load(bare, cache)
    folder = cache / "engines" / kept.key(bare)
    found = kept.ExportManifest.model_validate_json((folder / "manifest.json").read_bytes())
    assert found.int8.used
    assert found.int8.agreement >= 0.99
    assert abs(found.int8.macro_f1_delta) <= 0.002
    assert found.difference < 1e-4
    assert found.messages == 671


def test_int8_is_made_once(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, AGREES)
    load(tiny_model, tmp_path)
    monkeypatch.setattr(export, "make", None)
    assert load(tiny_model, tmp_path).engine.precision == "int8"


def test_another_model_gets_a_graph_of_its_own(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, AGREES)
    other = Path(shutil.copytree(tiny_model, tmp_path / "other"))
    (other / "vocab.txt").write_text("네\n", encoding="utf-8")
    for folder in (tiny_model, other):
        load(folder, tmp_path / "cache")
    assert len(manifests(tmp_path / "cache")) == 2


def test_auto_falls_back_to_fp32_with_one_line_where_int8_disagrees(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, DISAGREES)
    for _ in range(2):  # as found, and as remembered
        name, precision, (warning,) = served(tiny_model, tmp_path, "auto")
        assert (name, precision) == ("onnx-cpu", "fp32")
        assert "agrees with fp32 on 97.00% of the golden messages" in warning
        assert "-0.40 points" in warning


def test_explicit_int8_that_disagrees_is_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, DISAGREES)
    with pytest.raises(EngineError, match=r"WORKER_PRECISION=int8 is refused: .*97\.00%") as caught:
        load(tiny_model, tmp_path, "int8")
    assert "\n" not in str(caught.value)


def test_a_publisher_who_ruled_int8_out_is_obeyed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, AGREES)
    folder = Path(shutil.copytree(tiny_model, tmp_path / "ruled"))
    stated = ModelManifest(
        name="tiny",
        version="1",
        created_at="2024-05-01T12:00:00.123Z",
        labels=list(EMOTIONS),
        files=manifest.build_files(folder),
        parent=None,
        metrics={},
        settings={},
        int8=DISAGREES,
    )
    (folder / manifest.FILE_NAME).write_text(stated.model_dump_json(), encoding="utf-8")
    assert served(folder, tmp_path / "cache", "auto")[1] == "fp32"


def test_a_graph_that_differs_from_pytorch_does_not_serve(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_DIFFERENCE", -1.0)
    name, precision, (warning,) = served(tiny_model, tmp_path, "auto")
    assert (name, precision) == ("torch-cpu", "fp32")
    assert "the ONNX graph is off by" in warning


def test_a_model_without_a_known_graph_is_served_by_pytorch(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "FAMILIES", {})
    name, precision, (warning,) = served(tiny_model, tmp_path, "auto")
    assert (name, precision) == ("torch-cpu", "fp32")
    assert "no ONNX graph is known for models of type roberta" in warning
    with pytest.raises(EngineError, match="int8 is refused: no ONNX graph is known"):
        load(tiny_model, tmp_path, "int8")


def test_without_golden_messages_nothing_is_taken_on_trust(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "GOLDEN", (tmp_path / "nowhere",))
    assert served(tiny_model, tmp_path, "auto")[1] == "fp32"
    with pytest.raises(EngineError, match=r"no golden\.tsv"):
        load(tiny_model, tmp_path, "int8")


def test_a_cache_that_cannot_be_written_costs_one_warning(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, AGREES)
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    name, precision, (warning,) = served(tiny_model, tmp_path / "file", "auto")
    assert (name, precision) == ("onnx-cpu", "int8")
    assert warning.startswith("the int8 graph is kept in memory only")


@pytest.mark.parametrize("name", ["int8.onnx", "manifest.json"])
def test_a_spoilt_cache_is_made_anew(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    judge(monkeypatch, AGREES)
    load(tiny_model, tmp_path)
    (path,) = (tmp_path / "engines").glob(f"*/{name}")
    sound = path.read_bytes()
    path.write_bytes(sound[:-40])
    assert load(tiny_model, tmp_path).engine.precision == "int8"
    assert path.read_bytes() == sound


def test_two_that_make_it_at_once_leave_one_whole_graph(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, AGREES)
    made, make = [], export.make

    def counted(*given: Any) -> kept.Export:  # noqa: ANN401
        made.append(given)
        return make(*given)

    monkeypatch.setattr(export, "make", counted)
    with capture_logs() as logs, ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: load(tiny_model, tmp_path), range(4)))
    assert {each.engine.precision for each in loaded} == {"int8"}
    assert len(manifests(tmp_path)) == len(made) == 1
    assert not list((tmp_path / "engines").glob(".partial-*"))
    assert not [log for log in logs if is_warning(log)]


def test_a_model_that_is_its_own_cache_gets_a_graph_and_no_lock(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is published as it is."""
    judge(monkeypatch, AGREES)
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    load(model, model)
    assert [each.name for each in (model / "engines").iterdir()] == [kept.key(model)]


def test_what_another_put_there_meanwhile_stays(tmp_path: Path) -> None:
    with whole.making(tmp_path / "a" / "graph") as mine:
        (mine / "file").write_text("mine", encoding="utf-8")
        with whole.making(tmp_path / "a" / "graph") as theirs:
            (theirs / "file").write_text("theirs", encoding="utf-8")
    (kept,) = (tmp_path / "a").iterdir()
    assert (kept / "file").read_text(encoding="utf-8") == "theirs"


def test_a_cache_that_one_user_filled_is_read_by_others(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, AGREES)
    before = os.umask(0o022)
    try:
        load(tiny_model, tmp_path)
    finally:
        os.umask(before)
    (path,) = manifests(tmp_path)
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert path.stat().st_mode & 0o777 == 0o644


def test_whoever_asks_for_fp32_waits_for_no_int8(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "make", None)
    assert served(tiny_model, tmp_path, "fp32") == ("onnx-cpu", "fp32", [])
    assert not list(tmp_path.iterdir())


def test_an_fp32_graph_that_says_something_else_than_pytorch_does_not_serve(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_DIFFERENCE", -1.0)
    name, precision, (warning,) = served(tiny_model, tmp_path, "fp32")
    assert (name, precision) == ("torch-cpu", "fp32")
    assert "the ONNX graph is off by up to" in warning


def test_memory_that_runs_out_at_the_check_is_the_models_size_and_no_reason_for_pytorch(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutOfMemoryError("OutOfMemory: 32 rows")

    monkeypatch.setattr(agreement, "logits_of", full)
    with pytest.raises(EngineError, match=f"{tiny_model} does not fit into memory"):
        load(tiny_model, tmp_path)


def test_where_there_is_no_home_the_graph_is_kept_in_memory(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    judge(monkeypatch, AGREES)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    name, precision, (warning,) = served(tiny_model, classifiers.cache_dir(), "auto")
    assert (name, precision) == ("onnx-cpu", "int8")
    assert "kept in memory only" in warning


def test_a_model_is_loaded_for_the_cores_that_the_process_may_use(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    def choose(_: object, __: str, ___: str, threads: int) -> FakeEngine:
        given.append(threads)
        return FakeEngine()

    monkeypatch.setattr(choice, "load", choose)
    monkeypatch.setattr(classifiers, "available_cores", lambda: 5)
    for threads in (0, 3):
        classifiers.load(tiny_model, ModelId("m", "1"), threads=threads, cache=tmp_path)
    assert given == [5, 3]


def test_a_model_too_large_for_memory_is_one_line(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(graph, "build", fail)
    with pytest.raises(EngineError, match="does not fit into memory") as caught:
        load(tiny_model, tmp_path)
    assert "\n" not in str(caught.value)


def test_classify_in_int8_from_the_cache_imports_neither_torch_nor_transformers(
    cache: Path, tmp_path: Path
) -> None:
    load(BUNDLED_MODEL, cache)
    program = (
        "import sys; from worker.__main__ import main\n"
        "code = main(['classify'])\n"
        "heavy = {'torch', 'transformers', 'onnx', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "print(sorted(heavy), code, file=sys.stderr)"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if "WORKER_" not in name and name not in {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    } | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment | {"WORKER_CACHE_DIR": str(cache), "WORKER_DEVICE": "cpu"},
        input="오늘 진짜 최고였어\n".encode(),
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert done.stderr.decode().splitlines() == ["[] 0"]
    assert '"emotion":"기쁨"' in done.stdout.decode()
    assert not list(tmp_path.rglob("*"))  # no library keeps an id of this machine, or tells of it


def test_int8_is_refused_on_cuda() -> None:
    source = Source(BUNDLED_MODEL, 1, EMOTIONS, lambda _: [], ROOT)
    with pytest.raises(EngineError, match="WORKER_"):
        choice.load(source, "cuda", "int8", 1)


# The comparison


def logits_for(labels: list[int]) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    return np.eye(6, dtype=np.float32)[labels]


def test_equal_answers_agree() -> None:
    labels = [0, 1, 2, 3, 4, 5] * 20
    assert compare(logits_for(labels), logits_for(labels), labels) == AGREES


def test_one_answer_in_a_hundred_may_differ_and_no_more() -> None:
    truth = [0] * 5 + [1, 2, 3, 4, 5] * 100  # what differs was wrong before and is wrong after
    before = [1] * 5 + truth[5:]
    after = [2] * 5 + truth[5:]
    assert compare(logits_for(before), logits_for(after), truth).agreement == pytest.approx(
        500 / 505, abs=1e-6
    )
    assert compare(logits_for(before), logits_for(after), truth).used
    assert not compare(logits_for(before[:400]), logits_for(after[:400]), truth[:400]).used


@pytest.mark.parametrize("worse", [True, False])
def test_a_macro_f1_that_moves_is_no_agreement(worse: bool) -> None:  # noqa: FBT001
    truth = [0, 1, 2, 3, 4, 5] * 50
    other = [1, *truth[1:]]
    before, after = (truth, other) if worse else (other, truth)
    check = compare(logits_for(before), logits_for(after), truth)
    assert check.agreement > 0.99
    assert (check.macro_f1_delta < -0.002) is worse
    assert not check.used


def test_logits_that_are_no_numbers_do_not_agree() -> None:
    labels = [0, 1, 2, 3, 4, 5]
    broken = np.full((6, 6), np.nan, dtype=np.float32)
    assert compare(logits_for(labels), broken, labels).agreement == 0.0
