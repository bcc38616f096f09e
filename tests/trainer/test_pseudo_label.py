"""Pseudo-labels are the worker's own answers, whatever the batches, and survive a kill."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.emotion import EMOTIONS
from tests.worker import tiny
from trainer import dataset, predict, pseudo_label
from trainer.dataset import Text
from trainer.settings import TrainerSettings

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [Text(str(n), text.strip() or "빈") for n, text in enumerate(tiny.TEXTS * 3)]


def test_each_text_gets_what_it_would_get_alone(tiny_model: Path) -> None:
    classifier, budget = predict.load(tiny_model, 64, threads=1)
    words = [each.text for each in TEXTS]
    together = predict.predict(classifier, words, budget)
    for place in range(0, len(words), 7):
        alone = predict.predict(classifier, [words[place]], budget).probabilities[0]
        assert together.probabilities[place] == pytest.approx(alone, abs=1e-5)
    assert together.messages_a_second > 0


def test_the_columns_are_those_of_the_contract(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings
) -> None:
    numbers = pseudo_label.pseudo_label(TEXTS, tiny_model, tmp_path, options)
    rows = dataset.read_pseudo(tmp_path / pseudo_label.FILE)
    assert numbers["texts"] == len(rows) == len(TEXTS)
    for row, text in zip(rows, TEXTS, strict=True):
        first, second = sorted(row.scores)[:-3:-1]
        assert (row.id, row.text) == (text.id, text.text)
        assert row.pred_conf == first
        assert row.pred_margin == pytest.approx(first - second)
        assert row.pred_emotion == EMOTIONS[int(np.argmax(row.scores))]
    assert [path.name for path in tmp_path.glob("p*")] == [pseudo_label.FILE]


def test_parts_that_are_there_are_not_labelled_again(
    tmp_path: Path,
    tiny_model: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pseudo_label, "PART", 20)
    (tmp_path / "parts").mkdir()
    uniform = np.full((20, 6), 1 / 6)
    np.savez(tmp_path / "parts/20.npz", places=np.arange(20, 40), scores=uniform)
    (tmp_path / "parts/0.partial").write_bytes(b"cut short")
    pseudo_label.pseudo_label(TEXTS, tiny_model, tmp_path, options)
    rows = dataset.read_pseudo(tmp_path / pseudo_label.FILE)
    found = [place for place, row in enumerate(rows) if row.pred_margin == 0.0]
    assert found == list(range(20, 40))
    assert not (tmp_path / "parts").exists()


class Killed(BaseException):
    """Stands for SIGKILL: what is on the disk is all that is left."""


def test_labelling_that_was_killed_goes_on_and_ends_as_an_undisturbed_one(
    tmp_path: Path,
    tiny_model: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pseudo_label, "PART", 20)
    label, labelled = pseudo_label.label, []

    def killing(*given: Any) -> Iterator[Any]:  # noqa: ANN401
        for places, scores in label(*given):
            labelled.extend(places.tolist())
            yield places, scores
            if len(labelled) == 40:
                raise Killed

    (tmp_path / "killed").mkdir()
    (tmp_path / "undisturbed").mkdir()
    monkeypatch.setattr(pseudo_label, "label", killing)
    with pytest.raises(Killed):
        pseudo_label.pseudo_label(TEXTS, tiny_model, tmp_path / "killed", options)
    pseudo_label.pseudo_label(TEXTS, tiny_model, tmp_path / "killed", options)
    assert len(labelled) == len(TEXTS)  # nothing twice
    monkeypatch.setattr(pseudo_label, "label", label)
    pseudo_label.pseudo_label(TEXTS, tiny_model, tmp_path / "undisturbed", options)
    found = [
        dataset.read_pseudo(tmp_path / name / pseudo_label.FILE)
        for name in ("killed", "undisturbed")
    ]
    assert found[0] == found[1]


@pytest.mark.skipif(find_spec("ray") is None, reason="the extra maum[ray] is not installed")
def test_ray_gives_the_same_answers(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings
) -> None:
    """In a process of its own: Ray starts others, and warns of itself."""
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
    out = tmp_path / "labelled"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny_model), str(out), local],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = dataset.read_pseudo(out / pseudo_label.FILE)
    found = np.array([row.scores for row in rows])
    assert [row.id for row in rows] == [each.id for each in TEXTS]
    words = [each.text for each in TEXTS]
    classifier, budget = predict.load(tiny_model, options.max_length, threads=1)
    expected = predict.predict(classifier, words, budget).probabilities
    assert found == pytest.approx(expected, abs=1e-5)
