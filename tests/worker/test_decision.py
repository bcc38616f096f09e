"""From logits to what is published."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.emotion import EMOTIONS
from worker.decision import decide, reorder, sampled, softmax

logits = st.lists(st.floats(-60, 60, width=32), min_size=6, max_size=6)


@given(st.lists(logits, min_size=1, max_size=5), st.floats(0, 1))
def test_scores_sum_to_one_and_the_rest_follows_from_them(
    rows: list[list[float]], threshold: float
) -> None:
    probabilities = softmax(np.array(rows, dtype=np.float32))
    for row, decision in zip(probabilities, decide(probabilities, threshold), strict=True):
        assert math.isclose(sum(decision.scores), 1.0, abs_tol=1e-12)
        assert np.allclose(decision.scores, row, atol=1e-5)
        first, second = sorted(decision.scores, reverse=True)[:2]
        assert decision.confidence == first == decision.scores[EMOTIONS.index(decision.emotion)]
        assert decision.margin == pytest.approx(first - second, abs=1e-12)
        assert 0.0 <= decision.margin <= decision.confidence <= 1.0
        assert decision.low_margin == (decision.margin < threshold)


def test_six_equal_probabilities_have_no_negative_margin() -> None:
    (decision,) = decide(np.full((1, 6), 1 / 6), 0.2)
    assert decision.margin >= 0.0
    assert decision.confidence == max(decision.scores)
    assert decision.low_margin


def test_round_probabilities_are_published_as_they_are() -> None:
    scores = (0.1, 0.2, 0.05, 0.05, 0.0, 0.6)
    (decision,) = decide(np.array([scores]), 0.4)
    assert decision == ("기쁨", 0.6, 0.4, False, scores)


def test_the_threshold_itself_is_no_low_margin() -> None:
    row = np.array([[0.5, 0.3, 0.1, 0.1, 0.0, 0.0]])
    assert [decide(row, threshold)[0].low_margin for threshold in (0.2, 0.200001)] == [False, True]


@given(st.text())
def test_a_sample_is_drawn_the_same_each_time(identity: str) -> None:
    assert sampled(identity, 0.5) == sampled(identity, 0.5)
    assert sampled(identity, 1.0)
    assert not sampled(identity, 0.0)


def test_a_larger_sample_holds_the_smaller_one() -> None:
    ids = [f"chat.messages-0-{offset}" for offset in range(2_000)]
    small = {identity for identity in ids if sampled(identity, 0.1)}
    assert small < {identity for identity in ids if sampled(identity, 0.3)}


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.9])
def test_the_share_of_the_sample_is_close_to_the_rate(rate: float) -> None:
    drawn = sum(sampled(f"chat.messages-3-{offset}", rate) for offset in range(20_000))
    assert abs(drawn / 20_000 - rate) < 4 * math.sqrt(rate * (1 - rate) / 20_000)


@given(st.permutations(EMOTIONS))
def test_columns_are_brought_into_the_order_of_the_contract(labels: list[str]) -> None:
    assert tuple(labels[column] for column in reorder(labels)) == EMOTIONS


@pytest.mark.parametrize(
    "labels",
    [[], list(EMOTIONS[:5]), [*EMOTIONS, "기쁨"], [*EMOTIONS[:5], "joy"], [*EMOTIONS[:5], "분노"]],
)
def test_other_labels_are_refused(labels: list[str]) -> None:
    with pytest.raises(ValueError, match="expected 분노, 불안"):
        reorder(labels)
