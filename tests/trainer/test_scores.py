"""The seed's table against scikit-learn, and what the intervals promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score

from schemas.emotion import EMOTIONS
from trainer import scores

Pairs = list[tuple[int, int]]
pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=60)


def arrays(drawn: Pairs) -> tuple[scores.Labels, scores.Labels]:
    both = np.array(drawn, dtype=np.int64)
    return both[:, 0], both[:, 1]


@given(pairs)
@settings(deadline=None)
def test_the_table_is_what_scikit_learn_says(drawn: Pairs) -> None:
    labels, predictions = arrays(drawn)
    found = scores.score(labels, predictions)
    given_all = {"labels": range(6), "zero_division": 0}
    assert found.accuracy == pytest.approx(accuracy_score(labels, predictions))
    for average, value in (("macro", found.macro_f1), ("weighted", found.weighted_f1)):
        expected = f1_score(labels, predictions, average=average, **given_all)
        assert value == pytest.approx(expected)
    expected = precision_score(labels, predictions, average=None, **given_all)
    assert [each.precision for each in found.classes] == pytest.approx(list(expected))
    matrix = confusion_matrix(labels, predictions, labels=range(6))
    assert (scores.confusion(labels, predictions) == matrix).all()


@given(pairs)
@settings(deadline=None, max_examples=25)
def test_a_resample_has_as_many_of_each_class_as_the_set(drawn: Pairs) -> None:
    labels, predictions = arrays(drawn)
    weights = scores.resample(labels, 50, seed=1)
    for label in range(6):
        assert (weights[:, labels == label].sum(axis=1) == (labels == label).sum()).all()
    once = scores.class_f1(labels, predictions, np.ones((1, len(labels))))[0]
    assert once == pytest.approx([each.f1 for each in scores.score(labels, predictions).classes])


def test_the_interval_holds_the_truth_nineteen_times_of_twenty() -> None:
    draws, held = np.random.default_rng(5), 0
    for _ in range(200):
        labels = draws.integers(0, 6, 300)
        right = draws.random(300) < 0.8
        predictions = np.where(right, labels, (labels + draws.integers(1, 6, 300)) % 6)
        found = scores.intervals(labels, predictions, 300, seed=2)["accuracy"]
        held += found.low <= 0.8 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_weights_undo_an_unequal_choice() -> None:
    """Low-margin messages are mostly wrong and all chosen; of the others one in a hundred."""
    draws = np.random.default_rng(3)
    low = draws.random(200_000) < 0.1
    right = draws.random(200_000) < np.where(low, 0.3, 0.9)
    inclusion = np.where(low, 1.0, 0.01)
    chosen = draws.random(200_000) < inclusion
    found = scores.weighted_share(right[chosen], inclusion[chosen], 400, seed=1)
    assert found.low <= right.mean() <= found.high
    assert right[chosen].mean() < 0.5  # what a plain mean would have said


def test_the_table_names_each_emotion_and_each_average() -> None:
    labels = np.arange(6)
    table = scores.score(labels, labels).table()
    wanted = [*EMOTIONS, "macro-F1", "weighted-F1", "accuracy"]
    assert all(name in table for name in wanted)
    assert "1.0000" in table
