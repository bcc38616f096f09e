"""The gate lets chance through one time in twenty at most, and a real gain nine in ten."""

import numpy as np
import pytest

from schemas.emotion import EMOTIONS
from trainer import compare
from trainer.compare import Contender, Floors
from trainer.scores import Labels

ITEMS = 600
PAIRS = 200


def pair(draws: np.random.Generator, gain: float, discordance: float) -> compare.Comparison:
    """Two models that disagree on `discordance` of the items; the second is right more often."""
    labels = np.repeat(np.arange(6), ITEMS // 6)
    old = answer(draws, labels, draws.random(ITEMS) < 0.75)
    lucky = draws.random(ITEMS)
    lose = (discordance - gain) / 2
    right = old == labels
    new = old.copy()
    flips = right & (lucky < lose / 0.75)
    new[flips] = (labels[flips] + draws.integers(1, 6, flips.sum())) % 6
    mended = ~right & (lucky < (lose + gain) / 0.25)
    new[mended] = labels[mended]
    return judge(labels, old, new)


def answer(draws: np.random.Generator, labels: Labels, right: np.ndarray) -> Labels:
    wrong = (labels + draws.integers(1, 6, len(labels))) % 6
    return np.where(right, labels, wrong).astype(np.int64)


def judge(labels: Labels, old: Labels, new: Labels, speed: float = 1.0) -> compare.Comparison:
    return compare.compare(
        labels,
        Contender(compare.as_probabilities(old), 100.0),
        Contender(compare.as_probabilities(new), 100.0 * speed),
        Floors(max_calibration_drop=1.0),
        resamples=300,
    )


@pytest.mark.parametrize("discordance", [0.08, 0.15, 0.30])
def test_of_200_pairs_of_equal_models_it_promotes_5_percent_at_most(discordance: float) -> None:
    draws = np.random.default_rng(21)
    promoted = sum(pair(draws, 0.0, discordance).verdict == "promote" for _ in range(PAIRS))
    assert promoted <= 0.05 * PAIRS


@pytest.mark.parametrize("discordance", [0.08, 0.11])
def test_of_200_pairs_5_points_apart_it_promotes_90_percent(discordance: float) -> None:
    draws = np.random.default_rng(22)
    promoted = sum(pair(draws, 0.05, discordance).verdict == "promote" for _ in range(PAIRS))
    assert promoted >= 0.90 * PAIRS


def test_the_same_model_is_no_evidence() -> None:
    labels = np.repeat(np.arange(6), 50)
    found = judge(labels, labels, labels)
    assert found.verdict == "insufficient evidence"
    assert (found.mcnemar_p, found.macro_f1.value, found.detectable) == (1.0, 0.0, 0.0)


def test_a_worse_model_is_rejected() -> None:
    draws = np.random.default_rng(1)
    labels = np.repeat(np.arange(6), 100)
    found = judge(labels, labels, answer(draws, labels, draws.random(600) < 0.8))
    assert found.verdict == "reject"
    assert found.only_challenger_right == 0
    assert found.mcnemar_p < 0.001


def test_a_better_model_that_ruins_one_class_is_rejected_and_the_class_named() -> None:
    draws = np.random.default_rng(2)
    labels = np.repeat(np.arange(6), 100)
    old = answer(draws, labels, draws.random(600) < 0.6)
    new = labels.copy()
    new[labels == 4] = 0
    old[labels == 4] = 4
    found = judge(labels, old, new)
    assert found.macro_f1.low > 0
    assert found.verdict == "reject"
    assert any(EMOTIONS[4] in reason for reason in found.reasons)


def test_a_better_model_that_is_too_slow_is_rejected() -> None:
    draws = np.random.default_rng(3)
    labels = np.repeat(np.arange(6), 100)
    old = answer(draws, labels, draws.random(600) < 0.6)
    found = judge(labels, old, labels, speed=0.5)
    assert found.verdict == "reject"
    assert "speed is 0.50" in compare.describe(found)
    assert judge(labels, old, labels).verdict == "promote"


def test_a_better_model_that_is_sure_without_reason_is_rejected() -> None:
    draws = np.random.default_rng(4)
    labels = np.repeat(np.arange(6), 100)
    old = answer(draws, labels, draws.random(600) < 0.6)
    new = answer(draws, labels, draws.random(600) < 0.75)
    humble = 0.6 * compare.as_probabilities(old) + 0.4 / 6  # as sure as it is right
    sure = Contender(compare.as_probabilities(new), 1.0)
    found = compare.compare(labels, Contender(humble, 1.0), sure)
    assert found.macro_f1.low > 0
    assert found.verdict == "reject"
    assert any("overconfidence grows" in reason for reason in found.reasons)


def test_a_better_model_that_doubts_itself_is_promoted() -> None:
    draws = np.random.default_rng(5)
    labels = np.repeat(np.arange(6), 100)
    old = answer(draws, labels, draws.random(600) < 0.4)
    doubtful = Contender(0.5 * compare.as_probabilities(labels) + 0.5 / 6, 1.0)
    found = compare.compare(labels, Contender(compare.as_probabilities(old), 1.0), doubtful)
    assert found.verdict == "promote"
    assert found.overconfidence < 0


def test_600_items_detect_about_three_points_at_8_percent_discordance() -> None:
    found = pair(np.random.default_rng(6), 0.0, 0.08)
    assert 0.02 < found.detectable < 0.045
