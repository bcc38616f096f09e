"""From settings to a classifier that is warm."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from schemas.emotion import EMOTIONS
from worker import classifier as classifiers
from worker import parts
from worker.classifier import WARM_LENGTHS, Classifier
from worker.limits import TooLargeError
from worker.metrics import Metrics
from worker.registry import Resolved
from worker.settings import WorkerSettings

from .fakes import MODEL, Cramped, FakeEngine, fake_classifier, fake_tokenizer


def test_a_classifier_has_run_a_full_batch_of_each_length_before_anybody_gets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = FakeEngine()
    monkeypatch.setattr(classifiers, "load", lambda *_, **__: fake_classifier(engine))
    options = WorkerSettings(max_batch_tokens=520, _env_file=None)
    made = parts.classifier(options, Resolved(tmp_path, MODEL))
    assert made.engine is engine
    lengths = [{len(row) for row in batch} for batch in engine.batches]
    assert lengths == [{length, length - 1} for length in WARM_LENGTHS]  # and some of it is padding
    assert max(WARM_LENGTHS) == made.max_length
    rows = [len(batch) for batch in engine.batches]
    assert rows == [520 // length for length in WARM_LENGTHS]


@pytest.mark.parametrize(
    ("longest", "last"), [(3, [3]), (100, [64, 100]), (256, [128, 256]), (512, [256, 512])]
)
def test_the_longest_row_is_tried_as_well_whatever_it_is(longest: int, last: list[int]) -> None:
    engine = FakeEngine()
    Classifier(MODEL, fake_tokenizer(), engine, EMOTIONS, longest).warm_up(1_024)
    assert [len(batch[0]) for batch in engine.batches][-len(last) :] == last


@pytest.mark.parametrize(("multiple", "rows"), [(1, [256, 128, 64]), (8, [128, 64, 42])])
def test_a_full_batch_counts_what_the_device_adds_to_its_rows(
    multiple: int, rows: list[int]
) -> None:
    engine = FakeEngine(multiple=multiple)
    Classifier(MODEL, fake_tokenizer(), engine, EMOTIONS, 256).warm_up(1_024)
    assert [len(batch) for batch in engine.batches][:3] == rows


def test_a_device_that_rounds_lengths_up_has_run_each_of_those_it_will_meet() -> None:
    engine = FakeEngine(multiple=8)
    Classifier(MODEL, fake_tokenizer(), engine, EMOTIONS, 100).warm_up(1_024)
    assert [max(map(len, batch)) for batch in engine.batches] == [*range(8, 100, 8), 100]


@pytest.mark.parametrize(("name", "budget"), [("onnx-cpu", 1_024), ("torch-cuda", 16_384)])
def test_the_budget_is_that_of_the_device_unless_it_is_set(name: str, budget: int) -> None:
    loaded = fake_classifier(FakeEngine(name=name))
    assert parts.batch_tokens(WorkerSettings(_env_file=None), loaded) == budget
    assert parts.batch_tokens(WorkerSettings(max_batch_tokens=77, _env_file=None), loaded) == 77


@pytest.mark.parametrize(("memory", "budget"), [(2_000, 1_024), (600, 512), (300, 256), (256, 256)])
def test_the_budget_of_the_inference_is_what_fitted_when_the_model_was_warmed_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memory: int, budget: int
) -> None:
    engine = Cramped(memory=memory)
    monkeypatch.setattr(classifiers, "load", lambda *_, **__: fake_classifier(engine))
    options = WorkerSettings(max_batch_tokens=1_024, _env_file=None)
    with capture_logs() as said:
        made = parts.classifier(options, Resolved(tmp_path, MODEL))
    inference = parts.inference(options, made, Metrics())
    inference.close()
    assert inference._batcher.max_batch_tokens == parts.batch_tokens(options, made) == budget
    # Of each length a whole row, and where another one fits, one that is padded.
    assert [max(map(len, batch)) for batch in engine.fitted] == list(WARM_LENGTHS)
    assert all(
        {len(row) for row in batch} == {n, n - 1} or len(batch) == 1
        for n, batch in zip(WARM_LENGTHS, engine.fitted, strict=True)
    )
    smaller = {
        "event": "the device ran out of memory; batches are smaller from now on",
        "log_level": "warning",
        "max_batch_tokens": budget,
        "before": 1_024,
    }
    assert said == ([smaller] if budget < 1_024 else [])


def test_a_model_that_does_not_fit_with_one_row_is_not_served(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = Cramped(memory=255)
    monkeypatch.setattr(classifiers, "load", lambda *_, **__: fake_classifier(engine))
    options = WorkerSettings(max_batch_tokens=1_024, _env_file=None)
    line = "a text of 256 tokens does not fit into the memory of fake-cpu beside fake; give it"
    with pytest.raises(TooLargeError, match=line):
        parts.classifier(options, Resolved(tmp_path, MODEL))
