"""Temperature finds what was done to the logits; the errors are what their papers say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import calibrate, scores
from worker.decision import softmax


def sampled(heat: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from a softmax, and the probabilities of a model too sure by `heat`."""
    draws = np.random.default_rng(11)
    logits = draws.normal(0, 2, (count, 6))
    true = softmax(logits.astype(np.float32))
    labels = (true.cumsum(axis=1) > draws.random((count, 1))).argmax(axis=1)
    return softmax((logits * heat).astype(np.float32)), labels


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.0, 3.0])
def test_the_temperature_is_what_the_model_was_too_sure_by(heat: float) -> None:
    probabilities, labels = sampled(heat)
    assert calibrate.temperature(probabilities, labels) == pytest.approx(heat, rel=0.08)


def test_the_temperature_mends_the_calibration_error() -> None:
    probabilities, labels = sampled(3.0)
    before = calibrate.measure(probabilities, labels)
    heat = calibrate.temperature(probabilities, labels)
    after = calibrate.measure(calibrate.soften(probabilities, heat), labels)
    assert before.ece > 0.1
    assert after.ece < 0.03
    assert after.brier < before.brier


def test_the_interval_of_the_error_holds_the_truth() -> None:
    """Nine times of ten at the least: bins make the error of a finite sample too large."""
    everything, truth = sampled(2.0, 100_000)
    exact = calibrate.measure(everything, truth)
    draws, held = np.random.default_rng(3), np.zeros(2)
    for _ in range(60):
        places = draws.choice(len(truth), 600, replace=False)
        probabilities, labels = everything[places], truth[places]
        weights = scores.resample(labels, 200, seed=1)
        ece, brier = calibrate.intervals(probabilities, labels, weights)
        assert ece.value == calibrate.measure(probabilities, labels).ece
        held += [ece.low <= exact.ece <= ece.high, brier.low <= exact.brier <= brier.high]
    assert (held / 60 >= 0.85).all()


@given(st.floats(0.2, 5.0))
def test_softening_keeps_the_first_choice_and_the_sum(heat: float) -> None:
    probabilities, _ = sampled(1.0, 50)
    softened = calibrate.soften(probabilities, heat)
    assert softened.sum(axis=1) == pytest.approx(np.ones(50))
    assert (softened.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_certain_and_right_has_no_error_and_certain_and_wrong_all_of_it() -> None:
    certain, labels = np.eye(6), np.arange(6)
    right = calibrate.measure(certain, labels)
    wrong = calibrate.measure(certain, (labels + 1) % 6)
    doubtful = calibrate.measure(0.5 * certain + 0.5 / 6, labels)
    assert (right.ece, right.brier) == (0.0, 0.0)
    assert doubtful.ece > 0.4
    assert doubtful.overconfidence == 0.0
    assert wrong.overconfidence == wrong.ece
    assert (wrong.ece, wrong.brier) == (1.0, 2.0)
    assert sum(each.count for each in wrong.bins) == 6
