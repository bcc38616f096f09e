"""Ten cycles of the loop under faults, on naive Bayes models.

The trainer's own selection, mixing and gate; a teacher and a student of character n-grams stand in
for the large ones. All of it is from `data/train.tsv`: the gate decides on 600 sentences held out,
and what came of it is told of 3,000 others, that neither the gate nor any model saw.

What differs from the trainer's defaults: the calibrated selection asks for a precision of 0.7, not
0.9, and a quarter of the labels is held out for it, not 0.15, as some hundred prove no more; the
gate's floor of calibration is off, as naive Bayes is far too sure whatever it learns from, and it
draws 500 resamples, not 2,000. Speed is nobody's here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from bench.tables import machine
from schemas.emotion import EMOTIONS
from trainer import choose, compare, dataset, leakage, select
from trainer.compare import Contender, Floors
from trainer.dataset import Labelled, Pseudo
from trainer.scores import Floats, Labels, score
from trainer.select import Example
from trainer.settings import DATA, TrainerSettings

Policy = Literal["seed", "calibrated"]

GATED: Final = 600  # sentences that the gate decides on
UNSEEN: Final = 3000  # that it never sees
FIRST: Final = 800  # labelled before the first cycle: few, so that a student may well be better
INCOMING: Final = 600  # texts a cycle
LABELLED: Final = 60  # of them labelled by people
HELD_OUT: Final = 4  # every fourth labelled one calibrates the policy
PRECISION: Final = 0.7  # that the calibrated policy asks for
SHARES: Final = {  # the trainer's defaults
    name: float(TrainerSettings.model_fields[name].default)
    for name in ("human_share", "replay_share")
}
WRONG: Final = 0.7  # of the labels of the class that the teacher gets wrong
SPARED: Final = 0.2  # of the messages of other classes, where the classes drift
WRONG_TEACHER: Final = "the teacher is wrong on one class"
FLOOD: Final = "one message floods the topic"
DRIFT: Final = "the classes drift"
POISON: Final = "one room is poisoned"
FAULTS: Final = {2: WRONG_TEACHER, 4: FLOOD, 6: DRIFT, 8: POISON}


@dataclass(frozen=True, slots=True)
class Cycle:
    """One turn of the loop: macro-F1 on the sentences that the gate never sees, 0 to 1."""

    fault: str
    accepted: int
    precision: float  # of the accepted pseudo-labels
    student: float
    champion: float  # after the gate
    verdict: str


def simulate(
    policy: Policy,
    cycles: int,
    seed: int = 7,
    faults: Mapping[int, str] = FAULTS,
    first: int = FIRST,
) -> list[Cycle]:
    """Run the loop `cycles` times, beginning with `first` labels.

    `faults`: cycle, counted from 0 → what goes wrong in it.
    """
    draws = np.random.default_rng(seed)
    rows = dataset.read_labelled(DATA / "train.tsv")
    rows = [rows[place] for place in draws.permutation(len(rows))]
    gated, rest = _apart(rows, GATED)
    unseen, rest = _apart(rest, UNSEEN)
    people, rest = rest[:first], rest[first:]
    truths = [_labels(part) for part in (gated, unseen)]

    def answers(training: Sequence[Example]) -> list[Floats]:
        """What a model of `training` says of both."""
        model = _fit(training)
        return [model.predict_proba([row.text for row in part]) for part in (gated, unseen)]

    champion = answers(select.human(_split(people)[0]))
    done: list[Cycle] = []
    before: list[Labelled] = []  # what the last cycle selected
    for number in range(cycles):
        incoming, rest = rest[:INCOMING], rest[INCOMING:]
        people = [*people, *incoming[:LABELLED]]
        fault = faults.get(number, "")
        seen, unlabelled = _faulty(people, incoming[LABELLED:], fault, draws)
        unlabelled = [*unlabelled, *before]
        accepted, training = _select(policy, seen, unlabelled, {row.id for row in before}, seed)
        selected = {each.id for each in training if each.origin != "human"}
        before = [row for row in unlabelled if row.id in selected]
        student = answers(training)
        gate = compare.compare(
            truths[0],
            Contender(champion[0], 1.0),
            Contender(student[0], 1.0),
            Floors(max_calibration_drop=1.0),  # naive Bayes is never calibrated
            resamples=500,
        )
        if gate.verdict == "promote":
            champion = student
        truth = {row.id: row.emotion for row in unlabelled}
        right = [row.pred_emotion == truth[row.id] for row in accepted]
        done.append(
            Cycle(
                fault=fault,
                accepted=len(accepted),
                precision=float(np.mean(right)) if right else float("nan"),
                student=_macro(truths[1], student[1]),
                champion=_macro(truths[1], champion[1]),
                verdict=gate.verdict,
            )
        )
    return done


def _apart(rows: list[Labelled], count: int) -> tuple[list[Labelled], list[Labelled]]:
    """The first `count`, and of the others those that repeat none of them."""
    return rows[:count], leakage.Firewall(rows[:count]).without(rows[count:])


def _faulty(
    people: list[Labelled], incoming: list[Labelled], fault: str, draws: np.random.Generator
) -> tuple[list[Labelled], list[Labelled]]:
    """(labels as the teacher sees them, incoming texts with what they really express)."""
    if fault == WRONG_TEACHER:
        wrong = [replace(row, emotion="불안") if row.emotion == "슬픔" else row for row in people]
        return [
            new if draws.random() < WRONG else old for new, old in zip(wrong, people, strict=True)
        ], incoming
    if fault == FLOOD:
        flood = [replace(incoming[0], id=f"flood{number}") for number in range(1000)]
        return people, [*incoming, *flood]
    if fault == DRIFT:
        return people, [row for row in incoming if row.emotion == "기쁨" or draws.random() < SPARED]
    if fault == POISON:
        happy = " 너무 좋아 행복해 최고 ㅎㅎ"
        poison = [
            replace(row, id=f"room{place}", text=row.text + happy)
            for place, row in enumerate(incoming)
            if row.emotion in {"분노", "슬픔"}
        ]
        return people, [*incoming, *poison]
    return people, incoming


def _select(
    policy: Policy,
    people: Sequence[Labelled],
    unlabelled: Sequence[Labelled],
    replayed: Collection[str],
    seed: int,
) -> tuple[list[Pseudo], list[Example]]:
    """(what of the unlabelled is believed, the training set), as `trainer.choose` does it."""
    taught, held_out = _split(people)
    teacher = _fit(select.human(taught))
    rows = _pseudo(unlabelled, teacher.predict_proba([row.text for row in unlabelled]))
    if policy == "seed":
        accepted = select.seed_filter(rows, 0.75, 0.20)
        shares = {"human_share": 0.0, "replay_share": 1.0}
    else:
        proven = teacher.predict_proba([row.text for row in held_out])
        prior = {name: sum(r.pred_emotion == name for r in rows) / len(rows) for name in EMOTIONS}
        learned = select.learn(
            proven, _labels(held_out), {str(k): v for k, v in prior.items()}, PRECISION
        )
        accepted = select.calibrated_filter(rows, learned)
        shares = SHARES
    old, new = choose.parts(accepted, replayed, soft=policy == "calibrated")
    return accepted, select.mix(select.human(taught), old, new, **shares, seed=seed)


def _split(people: Sequence[Labelled]) -> tuple[list[Labelled], Sequence[Labelled]]:
    """(to learn from, held out)."""
    return [row for place, row in enumerate(people) if place % HELD_OUT], people[::HELD_OUT]


def _pseudo(rows: Sequence[Labelled], probabilities: Floats) -> list[Pseudo]:
    found = []
    for row, scores in zip(rows, probabilities, strict=True):
        second, first = np.sort(scores)[-2:]
        emotion = EMOTIONS[int(scores.argmax())]
        margin = float(first - second)
        found.append(Pseudo(row.id, row.text, emotion, float(first), margin, tuple(scores)))
    return found


def _fit(rows: Sequence[Example]) -> Any:  # noqa: ANN401  (scikit-learn's)
    """Naive Bayes on character n-grams: instant, and far too sure; soft labels count in parts."""
    from sklearn.feature_extraction.text import HashingVectorizer  # noqa: PLC0415  (lazy)
    from sklearn.naive_bayes import MultinomialNB  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415

    parts = [
        (row.text, label, share)
        for row in rows
        for label, share in enumerate(row.target)
        if share > 0.05  # noqa: PLR2004  (the rest is noise, and six times the rows)
    ]
    model = make_pipeline(
        HashingVectorizer(
            analyzer="char_wb",
            ngram_range=(1, 3),
            n_features=2**15,
            alternate_sign=False,
            norm=None,
        ),
        MultinomialNB(alpha=0.1),
    )
    texts, labels, weights = zip(*parts, strict=True)
    return model.fit(texts, labels, multinomialnb__sample_weight=weights)


def _labels(rows: Sequence[Labelled]) -> Labels:
    return np.array([EMOTIONS.index(row.emotion) for row in rows], dtype=np.int64)


def _macro(labels: Labels, probabilities: Floats) -> float:
    return score(labels, probabilities.argmax(axis=1)).macro_f1


def main() -> None:
    """Print the table of docs/learning-loop.md."""
    tables = {policy: simulate(policy, 10) for policy in ("seed", "calibrated")}
    heads = [f"{name}: accepted (precision) | student | gate | champion" for name in tables]
    print(f"{machine()}\n\n| cycle | fault | {' | '.join(heads)} |\n|{'---|' * 10}")
    for number, pair in enumerate(zip(*tables.values(), strict=True), start=1):
        print(f"| {number} | {pair[0].fault} | {' | '.join(map(_cells, pair))} |")


def _cells(one: Cycle) -> str:
    precision = f" ({one.precision:.2f})" if one.accepted else ""
    gate = one.verdict.removesuffix(" evidence")
    return f"{one.accepted}{precision} | {one.student:.3f} | {gate} | {one.champion:.3f}"


if __name__ == "__main__":
    main()
