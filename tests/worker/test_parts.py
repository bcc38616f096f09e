"""From settings to a classifier that is warm."""

from pathlib import Path

import pytest

from worker import classifier as classifiers
from worker import parts
from worker.classifier import WARM_LENGTHS
from worker.registry import Resolved
from worker.settings import WorkerSettings

from .fakes import MODEL, FakeEngine, fake_classifier


def test_a_classifier_has_run_a_full_batch_of_each_length_before_anybody_gets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = FakeEngine()
    monkeypatch.setattr(classifiers, "load", lambda *_, **__: fake_classifier(engine))
    options = WorkerSettings(max_batch_tokens=520, _env_file=None)
    made = parts.classifier(options, Resolved(tmp_path, MODEL))
    assert made.engine is engine
    lengths = [{len(row) for row in batch} for batch in engine.batches]
    assert lengths == [{length} for length in WARM_LENGTHS]
    assert max(WARM_LENGTHS) == made.max_length
    rows = [len(batch) for batch in engine.batches]
    assert rows == [520 // length for length in WARM_LENGTHS]
