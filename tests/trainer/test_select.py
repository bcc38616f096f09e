"""What is believed, and what a training set is mixed from."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.emotion import EMOTIONS
from trainer import choose, dataset, history, pseudo_label, select
from trainer.dataset import Labelled, Pseudo
from trainer.history import Run
from trainer.lineage import Lineage, Selection
from trainer.select import Example, Policy
from trainer.settings import TrainerSettings

from .conftest import chat, tsv


def row(name: int, emotion: int = 0, confidence: float = 0.9, text: str | None = None) -> Pseudo:
    scores = [(1 - confidence) / 5] * 6
    scores[emotion] = confidence
    margin = confidence - (1 - confidence) / 5
    words = text or f"글 {name}"
    return Pseudo(str(name), words, EMOTIONS[emotion], confidence, margin, tuple(scores))


def held_out(accuracy: dict[int, float], count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of 0.9 confidence, right as often as said, class by class."""
    draws = np.random.default_rng(4)
    predicted = np.repeat(np.arange(6), count)
    right = draws.random(len(predicted)) < np.array(
        [accuracy.get(k, 0.97) for k in predicted.tolist()]
    )
    labels = np.where(right, predicted, (predicted + 1) % 6)
    probabilities = np.full((len(predicted), 6), 0.02)
    probabilities[np.arange(len(predicted)), predicted] = 0.9
    return probabilities, labels


def test_the_seeds_filter_takes_both_thresholds_as_least_values() -> None:
    rows = [row(1, confidence=0.75), row(2, confidence=0.7499), row(3, confidence=0.99)]
    assert [each.id for each in select.seed_filter(rows, 0.75, 0.20)] == ["1", "3"]
    assert select.seed_filter(rows, 0.0, 0.98)[0].id == "3"


@given(st.floats(0.75, 1.0))
def test_the_seeds_margin_rule_never_binds(confidence: float) -> None:
    assert len(select.seed_filter([row(1, confidence=confidence)], 0.75, 0.50)) == 1


def test_a_class_that_the_teacher_gets_wrong_is_not_believed() -> None:
    probabilities, labels = held_out({2: 0.6})
    policy = select.learn(probabilities, labels, dict.fromkeys(EMOTIONS, 1 / 6), target=0.9)
    assert policy.thresholds[EMOTIONS[2]] == select.NEVER
    assert policy.thresholds[EMOTIONS[0]] < 0.95
    accepted = select.calibrated_filter([row(1, 0), row(2, 2)], policy)
    assert [each.pred_emotion for each in accepted] == [EMOTIONS[0]]


def test_a_class_that_is_rare_among_the_messages_has_to_be_surer() -> None:
    """As many items of others are taken for it as among the labels, but few are it."""
    probabilities, labels = held_out({2: 0.95}, count=2000)
    even: dict[str, float] = dict.fromkeys(EMOTIONS, 1 / 6)
    rare: dict[str, float] = {name: 0.02 if name == EMOTIONS[2] else 0.98 / 5 for name in EMOTIONS}
    found = [select.learn(probabilities, labels, prior, 0.9) for prior in (even, rare)]
    thresholds = [policy.thresholds[EMOTIONS[2]] for policy in found]
    assert thresholds[0] < select.NEVER == thresholds[1]
    # Of 100 messages 2 are it and 20 of the class that is taken for it, one in 20 of these: 2 : 1.
    assert found[0].thresholds[EMOTIONS[0]] < select.NEVER


def test_items_of_equal_weight_count_one_each() -> None:
    _, labels = held_out({}, count=50)
    even = np.bincount(labels, minlength=6) / len(labels)
    weights = select._weights(labels, dict(zip(EMOTIONS, even, strict=True)))
    hits, trials = select._effective(weights, np.ones(len(labels), dtype=bool))
    assert trials == pytest.approx(len(labels), rel=0.01)
    assert hits == pytest.approx(trials)


def test_few_held_out_labels_prove_nothing() -> None:
    probabilities, labels = held_out({}, count=10)
    policy = select.learn(probabilities, labels, {}, target=0.9)
    assert set(policy.thresholds.values()) == {select.NEVER}


def test_the_bound_is_wrong_as_seldom_as_it_says() -> None:
    draws = np.random.default_rng(9)
    hits = draws.binomial(60, 0.85, size=4000)
    too_high = sum(select.lower_bound(int(each), 60, 0.05) > 0.85 for each in hits)
    assert too_high / 4000 <= 0.055
    assert select.lower_bound(0, 60) == 0.0


def test_no_class_is_taken_beyond_its_quota_and_the_surest_come_first() -> None:
    """Both are as frequent among the messages: half of what is accepted, and 1.2 of that."""
    quota: dict[str, float] = dict.fromkeys(EMOTIONS, 0.12)
    policy = Policy(1.0, dict.fromkeys(EMOTIONS, 0.5), quota)
    rows = [row(n, 0, 0.6 + n / 1000) for n in range(90)] + [row(n, 5) for n in range(90, 100)]
    accepted = select.calibrated_filter(rows, policy)
    taken = Counter(each.pred_emotion for each in accepted)
    assert taken == {EMOTIONS[0]: 15, EMOTIONS[5]: 10}  # 0.6 of 25
    assert min(each.pred_conf for each in accepted if each.pred_emotion == EMOTIONS[0]) > 0.674


def kept(counts: tuple[int, ...], shares: tuple[float, ...]) -> list[int]:
    """How many of each class are kept; `shares` are those of the messages."""
    quota = {str(name): 1.2 * share for name, share in zip(EMOTIONS, shares, strict=True)}
    policy = Policy(1.0, dict.fromkeys(EMOTIONS, 0.5), quota)
    classes = np.repeat(np.arange(6), counts).tolist()
    rows = [row(number, emotion) for number, emotion in enumerate(classes)]
    found = Counter(each.pred_emotion for each in select.calibrated_filter(rows, policy))
    return [found[name] for name in EMOTIONS]


def test_quotas_are_shares_of_what_is_kept_and_not_of_what_was_there() -> None:
    shares = (0.1, 0.2, 0.2, 0.3, 0.1, 0.1)
    assert kept((1000, 0, 0, 1000, 0, 0), shares) == [428, 0, 0, 1000, 0, 0]  # 0.3 of 1428
    assert kept((1000, 0, 0, 0, 0, 0), shares) == [1000, 0, 0, 0, 0, 0]
    assert kept((0, 1000, 1000, 0, 0, 10), (0.0, 0.4, 0.4, 0.1, 0.1, 0.0)) == [
        0,
        1000,
        1000,
        0,
        0,
        0,
    ]
    assert kept((10, 0, 0, 0, 0, 0), (0.0, 1.0, 0.0, 0.0, 0.0, 0.0)) == [0] * 6


@given(
    st.lists(st.integers(0, 40), min_size=6, max_size=6),
    st.lists(st.integers(1, 20), min_size=6, max_size=6),
)
def test_no_more_could_be_kept_within_the_quotas(counts: list[int], parts: list[int]) -> None:
    found = kept(tuple(counts), tuple(part / sum(parts) for part in parts))
    there = sum(part for part, count in zip(parts, counts, strict=True) if count)

    def room(total: int) -> int:
        """How many rows there are within the quotas of so large a whole."""
        caps = [min(1.0, 1.2 * part / there) * total for part in parts]
        return sum(min(n, max(1, int(cap + 1e-9))) for n, cap in zip(counts, caps, strict=True))

    total = sum(found)
    assert (total > 0) == (sum(counts) > 0)
    for taken, part in zip(found, parts, strict=True):
        assert taken <= max(1, 1.2 * part / max(there, 1) * total + 1e-9)
    assert all(room(larger) < larger for larger in range(total + 1, sum(counts) + 1))


def test_a_flood_of_one_message_teaches_one_message() -> None:
    policy = Policy(1.0, dict.fromkeys(EMOTIONS, 0.5), dict.fromkeys(EMOTIONS, 1.0))
    rows = [row(n, 3, text="광고") for n in range(50)] + [row(99)]
    assert len(select.calibrated_filter(rows, policy)) == 2
    assert select.calibrated_filter([], policy) == []


def test_what_is_accepted_carries_its_calibrated_confidence() -> None:
    policy = Policy(2.0, dict.fromkeys(EMOTIONS, 0.0), dict.fromkeys(EMOTIONS, 1.0))
    (found,) = select.calibrated_filter([row(1, confidence=0.99)], policy)
    assert found.pred_conf == pytest.approx(max(found.scores))
    assert found.pred_conf < 0.99
    assert sum(found.scores) == pytest.approx(1.0)


def test_the_mix_keeps_to_the_stated_shares() -> None:
    people = select.human([Labelled(f"h{n}", f"사람 {n}", "기쁨") for n in range(100)])
    replay = select.pseudo([row(n, text=f"옛 {n}") for n in range(500)], "replay", soft=True)
    new = select.pseudo([row(n) for n in range(5000)], "new", soft=True)
    mixed = select.mix(people, replay, new, human_share=0.3, replay_share=0.2, seed=1)
    share = {name: count / len(mixed) for name, count in Counter(e.origin for e in mixed).items()}
    assert share["human"] >= 0.3
    assert share["replay"] <= 0.2
    assert len({each.id + each.origin for each in mixed}) == len(mixed)
    again = select.mix(people, replay, new, human_share=0.3, replay_share=0.2, seed=1)
    assert again == mixed


def test_what_a_person_labelled_no_model_labels() -> None:
    people = select.human([Labelled("h", "글 1", "기쁨")])
    new = select.pseudo([row(1), row(2)], "new", soft=False)
    mixed = select.mix(people, [], new, human_share=0.0, replay_share=0.0, seed=1)
    assert [each.id for each in mixed] == ["h", "2"]
    assert mixed[1].target == (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@given(st.integers(1, 30), st.integers(0, 60), st.integers(0, 60), st.floats(0.05, 0.9))
def test_no_human_label_is_left_out_and_the_shares_hold_however_little_there_is(
    people: int, replay: int, new: int, share: float
) -> None:
    mixed = select.mix(
        select.human([Labelled(f"h{n}", f"사람 {n}", "기쁨") for n in range(people)]),
        select.pseudo([row(n, text=f"옛 {n}") for n in range(replay)], "replay", soft=True),
        select.pseudo([row(n) for n in range(new)], "new", soft=True),
        human_share=share,
        replay_share=(1 - share) / 2,
        seed=1,
    )
    texts = {each.text for each in mixed}
    assert all(f"사람 {n}" in texts for n in range(people))
    assert sum(each.origin == "human" for each in mixed) >= share * len(mixed) - 1
    assert sum(each.origin == "replay" for each in mixed) <= (1 - share) / 2 * len(mixed) + 1e-9


def test_the_share_of_replay_holds_without_a_share_of_human_labels() -> None:
    people = select.human([Labelled("h", "사람", "기쁨")])
    replay = select.pseudo([row(n, text=f"옛 {n}") for n in range(50)], "replay", soft=True)
    new = select.pseudo([row(n) for n in range(30)], "new", soft=True)
    mixed = select.mix(people, replay, new, human_share=0.0, replay_share=0.2, seed=1)
    assert Counter(each.origin for each in mixed) == {"human": 1, "replay": 7, "new": 30}
    seeds = select.mix(people, replay, new, human_share=0.0, replay_share=1.0, seed=1)
    assert seeds == [*people, *replay, *new]


def test_what_an_earlier_run_accepted_is_labelled_anew_by_the_next_teacher_and_mixed_by_its_share(
    tmp_path: Path, options: TrainerSettings
) -> None:
    """The earlier teacher called everything the same; the next one was taught better."""
    wrong = [
        Pseudo(f"old{n}", row.text, EMOTIONS[0], 0.9, 0.8) for n, row in enumerate(chat(90, 3))
    ]
    known = select.human([Labelled("known", "사람이 말한 글", EMOTIONS[5])])
    earlier = options.work / "select/earlier"
    earlier.mkdir(parents=True)
    before = [*known, *select.pseudo(wrong, "new", soft=False)]
    choose.write_examples(earlier / "calibrated.parquet", before)
    ran: dict[str, Any] = {"student": "s", "verdict": "promote", "version": "1"}
    history.add(
        options.work, Run(snapshots=["s"], selected="select/earlier/calibrated.parquet", **ran)
    )
    changes = {
        "unlabelled": tsv(tmp_path / "unlabelled.tsv", chat(60, 4, "u")),
        "min_confidence": 0.0,
        "min_margin": 0.0,
        "target_precision": 0.01,
        "replay_share": 0.1,
    }
    lineage = Lineage(options.model_copy(update=changes), print)
    said = {
        row.id: row.pred_emotion
        for row in dataset.read_pseudo(lineage.pseudo.folder / pseudo_label.FILE)
    }
    assert {name for name in said if name.startswith("old")} == {row.id for row in wrong}
    assert "known" not in said

    replayed = [row for row in examples(lineage, "seed") if row.origin == "replay"]
    assert {row.id for row in replayed} == {row.id for row in wrong}
    assert all(EMOTIONS[int(np.argmax(row.target))] == said[row.id] for row in replayed)
    truth = {row.id: right.emotion for row, right in zip(wrong, chat(90, 3), strict=True)}
    assert sum(said[name] == truth[name] for name in truth) > 60  # of the old labels 15 were

    mixed = examples(lineage, "calibrated")
    origins = Counter(row.origin for row in mixed)
    assert 0 < origins["replay"] <= 0.1 * len(mixed)
    assert origins["replay"] < len(replayed)
    for row in mixed:
        if row.origin == "replay":
            assert EMOTIONS[int(np.argmax(row.target))] == said[row.id]


def examples(lineage: Lineage, name: Selection) -> list[Example]:
    return choose.read_examples(lineage.selection(name))
