"""What the gate goes by: champion against challenger on the same items."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import orjson
from pydantic import TypeAdapter

from schemas.emotion import EMOTIONS
from trainer import calibrate
from trainer.scores import Floats, Interval, Labels, class_f1, interval, resample, score

Verdict = Literal["promote", "reject", "insufficient evidence"]

# Detected four times out of five at a two-sided 5 %: (1.96 + 0.84) standard errors.
POWER: Final = 2.80


@dataclass(frozen=True, slots=True)
class Floors:
    """What a challenger may not fall below; all of 0 to 1."""

    max_class_drop: float = 0.05  # F1
    # Overconfidence misleads whoever goes by the confidence; doubt only sends more to review.
    max_calibration_drop: float = 0.03  # the overconfident part of the calibration error
    min_speed: float = 0.8  # share of the champion's messages a second


@dataclass(frozen=True, slots=True)
class Contender:
    """A model's answers on the golden set, (n, 6), and how fast it gave them."""

    probabilities: Floats
    messages_a_second: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict, with every number that led to it. Differences: challenger minus champion."""

    verdict: Verdict
    reasons: tuple[str, ...]
    items: int
    macro_f1: Interval
    accuracy: float
    only_champion_right: int
    only_challenger_right: int
    mcnemar_p: float
    class_f1: dict[str, float]
    overconfidence: float
    speed: float  # challenger / champion
    detectable: float  # macro-F1 points of 0 to 1


def compare(  # noqa: PLR0913  (two contenders, the truth, and how to judge)
    labels: Labels,
    champion: Contender,
    challenger: Contender,
    floors: Floors = Floors(),
    *,
    resamples: int = 2000,
    seed: int = 7,
) -> Comparison:
    """Compare on the same items.

    `promote`: the 95 % interval of the macro-F1 difference (paired bootstrap, Efron 1979) lies
    above 0 and every floor holds; `reject`: it lies below 0, or a floor is broken; else there is
    `insufficient evidence`.
    """
    old = champion.probabilities.argmax(axis=1)
    new = challenger.probabilities.argmax(axis=1)
    before, after = score(labels, old), score(labels, new)
    draws = _differences(labels, old, new, resamples, seed)
    difference = interval(after.macro_f1 - before.macro_f1, draws)
    classes: dict[str, float] = {
        name: after.classes[place].f1 - before.classes[place].f1
        for place, name in enumerate(EMOTIONS)
    }
    excess = _overconfidence(challenger, labels) - _overconfidence(champion, labels)
    speed = challenger.messages_a_second / max(champion.messages_a_second, 1e-9)
    lost = int(((old == labels) & (new != labels)).sum())
    won = int(((old != labels) & (new == labels)).sum())
    broken = [
        f"{name} loses {-drop:.3f} of F1 (at most {floors.max_class_drop:.3f})"
        for name, drop in classes.items()
        if drop < -floors.max_class_drop
    ]
    if excess > floors.max_calibration_drop:
        broken.append(
            f"overconfidence grows by {excess:.3f} (at most {floors.max_calibration_drop:.3f})"
        )
    if speed < floors.min_speed:
        broken.append(f"speed is {speed:.2f} of the champion's (at least {floors.min_speed:.2f})")
    verdict, reasons = _judge(difference, broken)
    return Comparison(
        verdict=verdict,
        reasons=reasons,
        items=len(labels),
        macro_f1=difference,
        accuracy=after.accuracy - before.accuracy,
        only_champion_right=lost,
        only_challenger_right=won,
        mcnemar_p=mcnemar(lost, won),
        class_f1=classes,
        overconfidence=excess,
        speed=speed,
        detectable=POWER * float(draws.std()),
    )


def macro_f1_difference(
    labels: Labels, old: Labels, new: Labels, *, resamples: int, seed: int
) -> Interval:
    """Macro-F1 of the answers `new` minus that of `old`, (n,) each, on the same items."""
    exact = score(labels, new).macro_f1 - score(labels, old).macro_f1
    return interval(exact, _differences(labels, old, new, resamples, seed))


def _differences(labels: Labels, old: Labels, new: Labels, resamples: int, seed: int) -> Floats:
    """Of macro-F1, paired, (resamples,)."""
    weights = resample(labels, resamples, seed)
    by_class = class_f1(labels, new, weights) - class_f1(labels, old, weights)
    found: Floats = by_class.mean(axis=1)
    return found


@dataclass(frozen=True, slots=True)
class First:
    """What is said of a student without a champion."""

    verdict: Verdict
    reason: str


def first(labels: Labels, probabilities: Floats, resamples: int = 2000, seed: int = 7) -> First:
    """Whether a student may be the first champion: better than one answer for everything.

    `promote`: the low end of its macro-F1 (95 %, bootstrap) is above that of always answering the
    commonest label; else `reject`.
    """
    commonest = np.full_like(labels, np.bincount(labels).argmax())
    least = score(labels, commonest).macro_f1
    answers = probabilities.argmax(axis=1)
    drawn = class_f1(labels, answers, resample(labels, resamples, seed)).mean(axis=1)
    found = interval(score(labels, answers).macro_f1, drawn)
    told = f"macro-F1 {found}, one answer for everything has {least:.3f}"
    return First("promote" if found.low > least else "reject", told)


def mcnemar(lost: int, won: int) -> float:
    """The exact two-sided p-value of McNemar's test (1947) on the items where the two differ."""
    from scipy.stats import binomtest  # noqa: PLC0415  (lazy: takes a second)

    return float(binomtest(won, lost + won).pvalue) if lost + won else 1.0


def _judge(difference: Interval, broken: list[str]) -> tuple[Verdict, tuple[str, ...]]:
    around = f"{difference.low:+.3f} to {difference.high:+.3f}"
    told = f"macro-F1 differs by {difference.value:+.3f} ({around})"
    if difference.high < 0:
        return "reject", (f"{told}: worse", *broken)
    if broken:
        return "reject", (told, *broken)
    if difference.low > 0:
        return "promote", (f"{told}: better, and every floor holds",)
    return "insufficient evidence", (f"{told}: may be chance",)


def _overconfidence(contender: Contender, labels: Labels) -> float:
    return calibrate.measure(contender.probabilities, labels).overconfidence


def read(path: Path) -> Comparison:
    """A comparison as `write` left it. Raises ValueError, OSError."""
    return TypeAdapter(Comparison).validate_json(path.read_bytes())


def write(path: Path, result: Comparison) -> None:
    """As JSON."""
    path.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))


def describe(result: Comparison) -> str:
    """The verdict for a terminal or a card."""
    classes = ", ".join(f"{name} {change:+.3f}" for name, change in result.class_f1.items())
    lost, won = result.only_champion_right, result.only_challenger_right
    lines = [
        f"verdict: {result.verdict}",
        *(f"  {reason}" for reason in result.reasons),
        f"  {result.items} items; accuracy {result.accuracy:+.3f}",
        f"  right alone: champion {lost}, challenger {won}; McNemar p = {result.mcnemar_p:.3g}",
        f"  F1 by class: {classes}",
        f"  overconfidence {result.overconfidence:+.3f}; speed × {result.speed:.2f}",
        f"  a difference of {result.detectable:.3f} macro-F1 would be found four times out of five",
    ]
    return "\n".join(lines)


def as_probabilities(predictions: Labels) -> Floats:
    """Certain answers, for predictions that come without probabilities."""
    certain: Floats = np.eye(len(EMOTIONS))[predictions]
    return certain
