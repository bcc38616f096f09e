"""Pseudo-labels are the worker's own answers, whatever the batches, and survive a kill."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from math import nan
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import trainer
from schemas.emotion import EMOTIONS
from tests.worker import tiny
from tests.worker.fakes import MODEL, FakeEngine, fake_classifier, fake_tokenizer
from trainer import dataset, labeller, predict, pseudo_label, tables
from trainer.dataset import Pseudo, Text
from trainer.labeller import ClusterError
from trainer.settings import TrainerSettings
from worker.classifier import Classifier
from worker.engines import InferenceError, Tokens

from .commands import command
from .conftest import chat, tsv

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [Text(str(n), text.strip() or "빈") for n, text in enumerate(tiny.TEXTS * 3)]
WORDS = [each.text for each in TEXTS]

Label = Callable[[Path], list[Pseudo]]


@pytest.fixture
def label(tiny_model: Path, options: TrainerSettings) -> Label:
    """Labels the texts in a folder, which may hold what a kill left."""

    def labelled(folder: Path) -> list[Pseudo]:
        folder.mkdir(exist_ok=True)
        numbers = pseudo_label.pseudo_label(TEXTS, tiny_model, folder, options)
        rows = dataset.read_pseudo(folder / pseudo_label.FILE)
        assert numbers["texts"] == len(rows) == len(TEXTS)
        return rows

    return labelled


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several parts of the few texts there are."""
    monkeypatch.setattr(labeller, "PART", 20)


def test_each_text_gets_what_it_would_get_alone(tiny_model: Path) -> None:
    classifier, budget = predict.load(tiny_model, 64, threads=1)
    together = predict.predict(classifier, WORDS, budget)
    for place in range(0, len(WORDS), 7):
        alone = predict.predict(classifier, [WORDS[place]], budget).probabilities[0]
        assert together.probabilities[place] == pytest.approx(alone, abs=1e-5)
    assert together.messages_a_second > 0


def test_the_columns_are_those_of_the_contract(tmp_path: Path, label: Label) -> None:
    for row, text in zip(label(tmp_path), TEXTS, strict=True):
        first, second = sorted(row.scores)[:-3:-1]
        assert (row.id, row.text) == (text.id, text.text)
        assert row.pred_conf == first
        assert row.pred_margin == pytest.approx(first - second)
        assert row.pred_emotion == EMOTIONS[int(np.argmax(row.scores))]
    assert [path.name for path in tmp_path.glob("p*")] == [pseudo_label.FILE]


@pytest.mark.usefixtures("small_parts")
def test_parts_that_are_there_are_not_labelled_again(tmp_path: Path, label: Label) -> None:
    (tmp_path / "parts").mkdir()
    uniform = np.full((20, 6), 1 / 6)
    np.savez(tmp_path / "parts/20.npz", places=np.arange(20, 40), scores=uniform)
    (tmp_path / "parts/0.partial").write_bytes(b"cut short")
    found = [place for place, row in enumerate(label(tmp_path)) if row.pred_margin == 0.0]
    assert found == list(range(20, 40))
    assert not (tmp_path / "parts").exists()


class Killed(BaseException):
    """Stands for SIGKILL: what is on the disk is all that is left."""


@pytest.mark.usefixtures("small_parts")
def test_labelling_that_was_killed_goes_on_and_ends_as_an_undisturbed_one(
    tmp_path: Path, label: Label, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts = labeller.label
    labelled: list[int] = []

    def killing(*given: Any) -> Iterator[Any]:  # noqa: ANN401
        for places, scores in in_parts(*given):
            labelled.extend(places.tolist())
            yield places, scores
            if len(labelled) == 40:
                raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(labeller, "label", killing)
        with pytest.raises(Killed):
            label(tmp_path / "killed")
        gone_on = label(tmp_path / "killed")
    assert len(labelled) == len(TEXTS)  # nothing twice
    assert gone_on == label(tmp_path / "undisturbed")


def unanswering(row: Tokens) -> float:
    return nan if 13 in row else 0.0


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    ("teacher", "lost"),
    [
        (fake_classifier(FakeEngine(unanswering)), {"t13", "bad"}),
        (
            Classifier(MODEL, fake_tokenizer(unknown="no such token"), FakeEngine(), EMOTIONS, 256),
            {"bad"},
        ),
    ],
    ids=["the model", "the tokenizer"],
)
def test_a_text_that_the_teacher_fails_on_is_left_out_and_named(
    tmp_path: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    teacher: Classifier,
    lost: set[str],
) -> None:
    monkeypatch.setattr(predict, "load", lambda *_: (teacher, 64))
    texts = [Text(f"t{number}", f"w{number}") for number in range(2, 60)]
    texts[30] = Text("bad", "w13 strange")
    numbers = pseudo_label.pseudo_label(texts, tmp_path, tmp_path, options)
    rows = dataset.read_pseudo(tmp_path / pseudo_label.FILE)
    assert {row["id"] for row in tables.read(tmp_path / pseudo_label.FAILED)} == lost
    assert numbers["failed"] == len(lost)
    assert [row.id for row in rows] == [each.id for each in texts if each.id not in lost]
    assert all(sum(row.scores) == pytest.approx(1.0) for row in rows)


def test_a_teacher_that_fails_on_too_many_texts_is_broken(
    tmp_path: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = fake_classifier(FakeEngine(lambda _: nan))
    monkeypatch.setattr(predict, "load", lambda *_: (broken, 64))
    texts = [Text(f"t{number}", f"w{number}") for number in range(2, 3 + labeller.MOST_FAILED)]
    with pytest.raises(InferenceError, match=r"NotFinite.* so did 100 texts before"):
        pseudo_label.pseudo_label(texts, tmp_path, tmp_path, options)
    assert not (tmp_path / pseudo_label.FILE).exists()


def marked(mark: str) -> list[str]:
    """The commands of the processes that have it in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is not ours
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
    return found


@pytest.mark.timeout(900)  # ten processes: minutes where the machine is busy
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra maum[ray] is not installed")
def test_ray_gives_the_same_answers(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings
) -> None:
    """In a process of its own: Ray starts others, which end with it, and warns of itself."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.trainer.test_pseudo_label import TEXTS\n"
        "from trainer import pseudo_label\n"
        "from trainer.settings import TrainerSettings\n"
        "teacher, out, options = sys.argv[1:]\n"
        "options = TrainerSettings.model_validate_json(options)\n"
        "Path(out).mkdir()\n"
        "numbers = pseudo_label.pseudo_label(TEXTS, Path(teacher), Path(out), options)\n"
        "assert 'ray' in sys.modules\n"
    )
    local = options.model_copy(update={"ray_address": "local"}).model_dump_json()
    out, mark = tmp_path / "labelled", secrets.token_hex(16)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny_model), str(out), local],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled", "MARK": mark},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    deadline = monotonic() + 60
    while left := marked(mark):
        assert monotonic() < deadline, left
    rows = dataset.read_pseudo(out / pseudo_label.FILE)
    found = np.array([row.scores for row in rows])
    assert [row.id for row in rows] == [each.id for each in TEXTS]
    assert found == pytest.approx(predict.of(tiny_model, WORDS, options), abs=1e-5)


def test_the_settings_of_a_worker_beside_it_change_no_answer(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the fingerprint of no stage."""
    plain, budget = predict.load(tiny_model, 64, threads=1)
    monkeypatch.setenv("WORKER_MAX_BATCH_TOKENS", "64")
    for precision in ("fp32", "int8", "no such precision"):
        monkeypatch.setenv("WORKER_PRECISION", precision)
        monkeypatch.setenv("WORKER_DEVICE", f"{precision} device")
        found = predict.load(tiny_model, 64, threads=1)
        assert (found[0].engine.precision, found[1]) == (plain.engine.precision, budget)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray that does nothing yet; the real one takes half a minute to start."""
    found: Any = ModuleType("ray")
    found.data, found.exceptions = ModuleType("ray.data"), ModuleType("ray.exceptions")
    found.exceptions.RayError = type("RayError", (Exception,), {})
    found.init = lambda **_: nullcontext()
    found.cluster_resources = dict
    for each in (found, found.data, found.exceptions):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    yield found
    del trainer.cluster
    del sys.modules["trainer.cluster"]


def test_what_becomes_of_a_task_on_a_cluster_is_one_line(
    tmp_path: Path,
    tiny_model: Path,
    options: TrainerSettings,
    ray: Any,  # noqa: ANN401  (a module)
) -> None:
    def fail(_: object) -> None:
        raise ray.exceptions.RayError(
            "The actor died because of an error raised in its creation task, ray::Labeller()\n"
            '  File "trainer/cluster.py", line 21, in __init__\n'
            "    self._classifier, self._budget = predict.load(Path(teacher), max_length)\n"
            "worker.config.ModelError: /teach/model holds no config.json\n"
        )

    ray.data.from_items = fail
    far = options.model_copy(update={"ray_address": "auto"})
    told = "failed: worker.config.ModelError: /teach/model holds no config.json; the same command"
    with pytest.raises(ClusterError, match=told) as caught:
        pseudo_label.pseudo_label(TEXTS, tiny_model, tmp_path, far)
    assert "\n" not in str(caught.value)


def test_a_cluster_that_is_not_there_is_one_line(
    tmp_path: Path,
    tiny_model: Path,
    options: TrainerSettings,
    ray: Any,  # noqa: ANN401  (a module)
) -> None:
    def away(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify one")

    ray.init = away
    far = options.model_copy(update={"ray_address": "auto"})
    told = r"^TRAINER_RAY_ADDRESS=auto: Could not find any running Ray instance\.$"
    with pytest.raises(ClusterError, match=told):
        pseudo_label.pseudo_label(TEXTS, tiny_model, tmp_path, far)


def test_without_ray_the_command_says_what_to_install(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as where the extra is not installed
    unlabelled = tsv(options.golden.parent / "unlabelled.tsv", chat(6, 5, "u"))
    far = {"ray_address": "auto", "unlabelled": unlabelled, "epochs": 1}
    assert command(options.model_copy(update=far), monkeypatch, "pseudo-label") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("trainer: Ray cannot be imported (")
    assert last.endswith("`pip install 'maum[ray]'`, or unset TRAINER_RAY_ADDRESS")


@pytest.mark.usefixtures("small_parts")
def test_labelling_that_was_killed_after_its_end_is_not_done_again(
    tmp_path: Path, label: Label, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = label(tmp_path)
    (tmp_path / "parts.over").mkdir()  # of which a part may be left
    monkeypatch.delattr(labeller, "label")
    assert label(tmp_path) == done
    assert [path.name for path in tmp_path.glob("p*")] == [pseudo_label.FILE]
