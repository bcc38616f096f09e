"""Which pseudo-labels to believe, and what a training set is mixed from (pure)."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.emotion import EMOTIONS
from trainer import calibrate
from trainer.dataset import Labelled, Pseudo
from trainer.scores import Floats, Labels

GRID: Final = tuple(round(0.50 + 0.05 * step, 2) for step in range(10))  # 0.50 to 0.95
ERROR: Final = 0.05  # chance that a bound is wrong, for all thresholds of a class together
LEAST_PRIOR: Final = 0.01  # added to each class's share: samples are few, and no class is absent
NEVER: Final = 2.0  # a threshold that no confidence reaches
QUOTA_SLACK: Final = 1.2  # a class may be so much more frequent than among the messages
ROUNDING: Final = 1e-9  # a quota of 5 rows that comes out as 4.999999999999999 is one of 5
MAX_REPEATS: Final = 10  # a human label is repeated so often at most
PER_TEXT: Final = 1  # equal texts count once: a flood of one message teaches one message


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a training set; `target` is a distribution over `EMOTIONS`."""

    id: str
    text: str
    target: tuple[float, ...]
    origin: str  # human, replay or new


@dataclass(frozen=True, slots=True)
class Policy:
    """What the calibrated selection learned from held-out labels."""

    heat: float  # temperature
    thresholds: Mapping[str, float]  # least calibrated confidence a class
    quota: Mapping[str, float]  # largest share of a class where something of each is accepted


def seed_filter(rows: Sequence[Pseudo], min_confidence: float, min_margin: float) -> list[Pseudo]:
    """The published recipe: two fixed thresholds for all classes."""
    return [
        row for row in rows if row.pred_conf >= min_confidence and row.pred_margin >= min_margin
    ]


def learn(
    probabilities: Floats, labels: Labels, prior: Mapping[str, float], target: float
) -> Policy:
    """A policy from held-out `probabilities`, (n, 6), and `labels`, (n,).

    The threshold of a class is the lowest of `GRID` above which its predictions are right with
    at least the `target` precision among messages that are mixed by `prior`, by the one-sided
    Clopper-Pearson bound (1934) with the effective sample size (Korn & Graubard 1998), Bonferroni
    corrected for the grid; a class that reaches it nowhere is not pseudo-labelled at all.
    """
    heat = calibrate.temperature(probabilities, labels)
    calibrated = calibrate.soften(probabilities, heat)
    confidence, predicted = calibrated.max(axis=1), calibrated.argmax(axis=1)
    weights = _weights(labels, prior)
    thresholds: dict[str, float] = {}
    for place, emotion in enumerate(EMOTIONS):
        passing = [
            each
            for each in GRID
            for taken in [(predicted == place) & (confidence >= each)]
            if lower_bound(*_effective(weights[taken], labels[taken] == place)) >= target
        ]
        thresholds[emotion] = min(passing, default=NEVER)
    quota = {str(name): QUOTA_SLACK * prior.get(name, 0.0) for name in EMOTIONS}
    return Policy(heat, thresholds, quota)


def _weights(labels: Labels, prior: Mapping[str, float]) -> Floats:
    """How much each held-out item counts, (n,), so that the classes are mixed as in `prior`."""
    wanted = np.array([prior.get(name, 0.0) + LEAST_PRIOR for name in EMOTIONS])
    there = np.bincount(labels, minlength=len(EMOTIONS))
    found: Floats = (wanted / np.maximum(there, 1))[labels]
    return found


def _effective(weights: Floats, right: NDArray[np.bool_]) -> tuple[float, float]:
    """(hits, trials): how many items of equal weight would tell as much as these."""
    if not len(weights):
        return 0.0, 0.0
    trials = float(weights.sum() ** 2 / (weights**2).sum())
    return float(weights[right].sum() / weights.sum()) * trials, trials


def lower_bound(hits: float, trials: float, error: float = ERROR / len(GRID)) -> float:
    """The one-sided lower bound of a share at confidence 1 - `error` (Clopper-Pearson)."""
    from scipy.stats import beta  # noqa: PLC0415  (lazy: takes a second)

    return float(beta.ppf(error, hits, trials - hits + 1)) if hits else 0.0


def calibrated_filter(rows: Sequence[Pseudo], policy: Policy) -> list[Pseudo]:
    """Rows above their class's threshold, the surest first, as many a class as its quota allows.

    Confidence, margin and scores of what is returned are the calibrated ones.
    """
    if not rows:
        return []
    softened = calibrate.soften(np.array([row.scores for row in rows]), policy.heat)
    accepted = [
        _rescored(row, scores)
        for row, scores in zip(rows, softened, strict=True)
        if scores.max() >= policy.thresholds[row.pred_emotion]
    ]
    accepted = _once_a_text(accepted)
    room = _room(Counter(row.pred_emotion for row in accepted), policy.quota)
    kept: list[Pseudo] = []
    for row in sorted(accepted, key=lambda row: (-row.pred_conf, row.id)):
        if room[row.pred_emotion] > 0:
            room[row.pred_emotion] -= 1
            kept.append(row)
    return kept


def _room(counts: Mapping[str, int], quota: Mapping[str, float]) -> dict[str, int]:
    """How many of each class to keep, of `counts`: the most that leave none beyond its quota.

    Quotas are shares of what is kept, and the classes of which nothing is accepted have no part in
    them; a single row of a class is always within. They sum to more than 1, so there is such a
    whole: the largest is found from above, as a cut of one class makes less of the others' quotas.
    """
    whole = sum(quota[name] for name in counts)
    caps = {name: min(1.0, QUOTA_SLACK * quota[name] / whole) if whole else 0.0 for name in counts}
    room, total = dict(counts), -1
    while total != sum(room.values()):
        total = sum(room.values())
        most = {name: max(int(cap * total + ROUNDING), cap > 0) for name, cap in caps.items()}
        room = {name: min(count, most[name]) for name, count in counts.items()}
    return room


def _rescored(row: Pseudo, scores: Floats) -> Pseudo:
    second, first = np.sort(scores)[-2:]
    margin = float(first - second)
    return Pseudo(row.id, row.text, row.pred_emotion, float(first), margin, tuple(scores.tolist()))


def _once_a_text(rows: Sequence[Pseudo]) -> list[Pseudo]:
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[row.text] += 1
        if seen[row.text] <= PER_TEXT:
            kept.append(row)
    return kept


def human(rows: Sequence[Labelled]) -> list[Example]:
    """Labels of people, as certain."""
    return [Example(row.id, row.text, one_hot(row.emotion), "human") for row in rows]


def pseudo(rows: Sequence[Pseudo], origin: str, *, soft: bool) -> list[Example]:
    """Labels of a model: its distribution where `soft`, else its first choice as certain."""
    return [
        Example(row.id, row.text, row.scores if soft else one_hot(row.pred_emotion), origin)
        for row in rows
    ]


def mix(  # noqa: PLR0913  (three kinds, two shares, one seed)
    people: Sequence[Example],
    replay: Sequence[Example],
    new: Sequence[Example],
    *,
    human_share: float,
    replay_share: float,
    seed: int,
) -> list[Example]:
    """All human labels, at least `human_share` of the whole, and `replay_share` at most of replay.

    Both are shares of what comes out, however little of the rest there is. Human labels are
    repeated, up to `MAX_REPEATS` times, before anything else is left out; what a person labelled
    is taken out of the rest.
    """
    labelled = {each.text for each in people}
    replay = [each for each in replay if each.text not in labelled]
    replayed = {each.text for each in replay}
    new = [each for each in new if each.text not in labelled and each.text not in replayed]
    draws = np.random.default_rng(seed)
    repeats, room = 1, len(replay) + len(new)
    if human_share and people:
        repeats = math.ceil(human_share * room / (len(people) * max(1 - human_share, 1e-9)))
        repeats = min(max(repeats, 1), MAX_REPEATS)
        room = int(len(people) * repeats / human_share) - len(people) * repeats
    known = len(people) * repeats
    whole = min(known + room, (known + len(new)) / max(1 - replay_share, 1e-9))
    kept_replay = _some(replay, int(replay_share * whole), draws)
    kept_new = _some(new, room - len(kept_replay), draws)
    repeated = [
        each if turn == 0 else Example(f"{each.id}~{turn}", each.text, each.target, each.origin)
        for turn in range(repeats)
        for each in people
    ]
    return [*repeated, *kept_replay, *kept_new]


def _some(rows: Sequence[Example], count: int, draws: np.random.Generator) -> list[Example]:
    if count >= len(rows):
        return list(rows)
    chosen = draws.choice(len(rows), size=max(count, 0), replace=False)
    return [rows[place] for place in sorted(chosen.tolist())]


def one_hot(emotion: str) -> tuple[float, ...]:
    """A label as certain: the target of an `Example`."""
    return tuple(float(name == emotion) for name in EMOTIONS)
