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
@settings(max_examples=25)
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


def test_precision_and_recall_of_a_class_have_intervals_that_hold_the_truth() -> None:
    """The first class is found four times of five, and of its name four of five are right."""
    draws, held = np.random.default_rng(5), {"precision": 0, "recall": 0}
    labels = np.repeat(np.arange(6), 50)
    for _ in range(200):
        luck = draws.random(300)
        found_out = np.where(luck < 0.8, 0, 1)
        misnamed = np.where(luck < 10 / 250, 0, labels)
        predictions = np.where(labels == 0, found_out, misnamed)
        weights = scores.resample(labels, 300, seed=2)
        first = {
            name: of[EMOTIONS[0]]
            for name, of in scores.class_intervals(labels, predictions, weights).items()
        }
        exact = scores.score(labels, predictions).classes[0]
        assert (first["precision"].value, first["recall"].value) == (exact.precision, exact.recall)
        for name, each in first.items():
            held[name] += each.low <= 0.8 <= each.high
    assert all(0.90 <= count / 200 <= 0.99 for count in held.values())


def test_a_part_of_the_set_is_scored_over_the_classes_that_occur_in_it() -> None:
    draws = np.random.default_rng(6)
    labels = draws.integers(0, 6, 300)
    predictions = np.where(draws.random(300) < 0.7, labels, 5)
    inside = np.flatnonzero(labels < 3)[:40]
    weights = scores.resample(labels, 300, seed=2)[:, inside]
    accuracy, macro_f1 = scores.part(labels[inside], predictions[inside], weights)
    given_three = {"labels": range(3), "average": "macro"}
    assert accuracy.value == pytest.approx((labels == predictions)[inside].mean())
    expected = f1_score(labels[inside], predictions[inside], **given_three)
    assert macro_f1.value == pytest.approx(expected)
    for each in (accuracy, macro_f1):
        assert each.low < each.value < each.high
        assert 0.1 < each.high - each.low < 0.5


def test_shares_of_few_kinds_vary_as_those_of_single_samples_do() -> None:
    draws = np.random.default_rng(8)
    values = draws.integers(0, 6, 400)
    inclusion = np.where(draws.random(400) < 0.3, 1.0, 0.05)
    shares = scores.weighted_shares(values, inclusion, 4000, seed=1)
    assert shares.sum(axis=1) == pytest.approx(np.ones(4000))
    weights = draws.multinomial(400, np.full(400, 1 / 400), size=4000) / inclusion
    singly = weights @ (values == 2) / weights.sum(axis=1)
    edges = [0.025, 0.5, 0.975]
    assert np.quantile(shares[:, 2], edges) == pytest.approx(np.quantile(singly, edges), abs=0.01)


def test_what_chance_adds_to_a_distance_is_taken_off_and_it_is_never_below_0() -> None:
    draws = np.linspace(0.04, 0.08, 101)  # around 0.06, of a value of 0.05
    found = scores.distance(0.05, draws)
    assert found.triple == pytest.approx((0.05, 0.021, 0.059))
    assert scores.distance(0.01, draws - 0.02).triple == pytest.approx((0.01, 0.0, 0.01))


def test_weights_undo_an_unequal_choice() -> None:
    """Low-margin messages are mostly wrong and all chosen; of the others one in a hundred."""
    draws = np.random.default_rng(3)
    low = draws.random(200_000) < 0.1
    right = draws.random(200_000) < np.where(low, 0.3, 0.9)
    inclusion = np.where(low, 1.0, 0.01)
    chosen = draws.random(200_000) < inclusion
    shares = scores.weighted_shares(right[chosen].astype(int), inclusion[chosen], 400, seed=1)
    low_end, high_end = np.quantile(shares[:, 1], [0.025, 0.975])
    assert low_end <= right.mean() <= high_end
    assert right[chosen].mean() < 0.5  # what a plain mean would have said


def test_the_table_names_each_emotion_and_each_average() -> None:
    labels = np.arange(6)
    table = scores.score(labels, labels).table()
    wanted = [*EMOTIONS, "macro-F1", "weighted-F1", "accuracy"]
    assert all(name in table for name in wanted)
    assert "1.0000" in table
