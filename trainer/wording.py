"""What a report says, in the lines and rows that HTML and Markdown share."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from schemas.emotion import EMOTIONS
from trainer import compare, gate, scores, stage
from trainer.evaluate import Evaluation, Triple
from trainer.facts import Facts
from trainer.lineage import LEFT_OUT
from trainer.production import ENOUGH, OF_EACH, Served


def title(facts: Facts) -> str:
    """Whose report it is."""
    return f"Maum: retraining {facts.student}"


def reasons(facts: Facts) -> list[str]:
    """The verdict, and what speaks for it, a line each."""
    lines = compare.describe(facts.comparison).splitlines() if facts.comparison else []
    if facts.verdict == gate.WITHDRAWN:
        return ["verdict: withdrawn (the alias was rolled back from this version)", *lines]
    if not lines:
        asked = facts.verdict != gate.NOT_ASKED
        told = "there was no champion" if asked else "the gate was not asked"
        return [f"verdict: {facts.verdict} ({told})"]
    return lines


def kept(facts: Facts) -> list[str]:
    """What came in, and what of it was believed."""
    lines = []
    for step in facts.steps:
        numbers = {key: int(value) for key, value in step.numbers.items() if value == int(value)}
        if step.stage == "collect":
            spans = ", ".join(f"{part}: {a} to {b - 1}" for part, (a, b) in step.offsets.items())
            lines.append(
                f"collected {numbers['samples']} samples ({numbers['low_margin']} of low margin), "
                f"{numbers['repeats']} repeats and {numbers['quarantined']} malformed left out; "
                f"offsets {spans}"
            )
        left_out = numbers.get(LEFT_OUT, 0)
        if step.stage == "teach" and left_out:
            lines.append(f"{left_out} labels of reviewers repeat golden texts and were left out")
        if step.stage == "pseudo-label" and left_out:
            offered = numbers["texts"] + left_out
            lines.append(f"of {offered} texts {left_out} repeat golden ones and were left out")
        if step.stage == "pseudo-label" and (failed := numbers.get("failed", 0)):
            lines.append(f"the teacher failed on {failed} texts, which were left out")
        if step.stage == "select" and left_out:
            lines.append(f"{left_out} given pseudo-labels repeat golden texts and were left out")
        if step.stage == "select":
            lines.append(
                f"of {numbers['offered']} pseudo-labels the seed's filter accepts "
                f"{numbers['seed_accepted']}, the calibrated one {numbers['calibrated_accepted']}; "
                f"the student was fitted to {numbers[f'{facts.selection}_rows']} rows "
                f"({facts.selection})"
            )
    return [*lines, f"the teacher's temperature is {facts.policy['temperature']:.2f}"]


def production(facts: Facts) -> list[str]:
    """What the review samples say of production."""
    return [*_served(facts), *_messages(facts)]


def _served(facts: Facts) -> list[str]:
    names = ["the champion before this run", *["another model"] * len(facts.served)]
    return [
        f"accuracy of {name}, {one.version}, over all messages: {_accuracy(one)}"
        for name, one in zip(names, facts.served, strict=False)
    ]


def _accuracy(one: Served) -> str:
    if not one.labelled:
        return "no human labels of its answers yet"
    labels = f"{one.labelled} human labels ({one.of_random} of the random stratum)"
    if one.accuracy:
        told = f"{with_interval(one.accuracy)} from {labels}"
        if one.labelled == one.of_random:
            return told
        # As `piles` has them labelled: such a stratum stands for its messages once all of it is.
        return f"{told}; rather too low where likely mistakes of low margin were labelled first"
    if one.labelled >= ENOUGH and not one.of_random:
        return f"{labels} say nothing of them: that takes labels of random samples"
    return f"{labels} are too few; {ENOUGH} are needed, and {OF_EACH} of them of each stratum"


def _messages(facts: Facts) -> list[str]:
    found = facts.production
    if found is None:
        return ["no new review samples in this run"]
    if not found.prior or found.class_divergence is None:
        return ["no random sample among the new ones: they say nothing of all messages"]
    shares = ", ".join(
        f"{name} {share:.1%} ({low:.1%} to {high:.1%})"
        for name, (share, low, high) in found.prior.items()
    )
    auc = "too few texts" if found.text_drift_auc is None else with_interval(found.text_drift_auc)
    classes = with_interval(found.class_divergence)
    return [
        f"emotions of all messages, by the serving model: {shares}",
        f"text drift (a domain classifier's AUC; 0.5 is none): {auc}",
        f"divergence of classes from the labelled data (0 to 1): {classes}",
    ]


def shown(name: str) -> str:
    """A figure's name as people write it; that of an emotion is its F1."""
    return f"F1 of {name}" if name in EMOTIONS else name.replace("_f1", "-F1")


def score_rows(models: Mapping[str, Evaluation]) -> list[list[str]]:
    """A row a figure: each model's, with its interval."""
    names = ["macro_f1", "weighted_f1", "accuracy", *EMOTIONS]
    rows = [
        [shown(name), *(with_interval(one.intervals[name]) for one in models.values())]
        for name in names
    ]
    return [
        *rows,
        ["calibration error (ECE)", *(with_interval(one.ece) for one in models.values())],
        ["Brier score (0 to 2)", *(with_interval(one.brier) for one in models.values())],
        ["items", *(str(one.items) for one in models.values())],
    ]


def ablation(facts: Facts) -> list[str]:
    """Whether pseudo-labels helped, a line a policy."""
    return [helped(name, gain) for name, gain in facts.gain.items()]


def helped(name: str, gain: Triple) -> str:
    """Whether the pseudo-labels of a policy helped; `gain`: macro-F1 over having none."""
    value, low, high = gain
    did = "helped" if low > 0 else "hurt" if high < 0 else "made no difference that shows"
    figures = f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
    return f"{name}: pseudo-labels {did}: macro-F1 {figures} over labels of people alone"


CLASS_HEAD: Final = ("emotion", "precision", "recall", "F1", "support")


def class_rows(one: Evaluation) -> list[list[str]]:
    """A row a class of the seed's table, then its averages; all with intervals."""
    found = scores.of_counts(np.array(one.confusion))
    rows = [
        [
            each.emotion,
            with_interval(one.classes["precision"][each.emotion]),
            with_interval(one.classes["recall"][each.emotion]),
            with_interval(one.intervals[each.emotion]),
            str(each.support),
        ]
        for each in found.classes
    ]
    averages = [
        [shown(name), "", "", with_interval(one.intervals[name]), str(found.count)]
        for name in ("macro_f1", "weighted_f1", "accuracy")
    ]
    return [*rows, *averages]


def policy_rows(facts: Facts) -> list[list[str]]:
    """The calibrated thresholds, and how many each policy accepted; an emotion a column."""
    accepted = facts.policy["accepted"]
    thresholds = facts.policy["thresholds"]
    reached = [f"{thresholds[name]:.2f}" if thresholds[name] <= 1 else "never" for name in EMOTIONS]
    rows = [["calibrated threshold", *reached]]
    for name in ("seed", "calibrated"):
        counts = [str(accepted[name].get(each, 0)) for each in EMOTIONS]
        rows.append([f"accepted, {name}", *counts])
    return rows


def slice_rows(one: Evaluation) -> list[list[str]]:
    """A row a slice of the evaluation set: name, value, items, accuracy, macro-F1."""
    return [
        [
            each.name,
            each.value,
            str(each.items),
            with_interval(each.accuracy),
            with_interval(each.macro_f1),
        ]
        for each in one.slices
    ]


STEP_HEAD: Final = ("stage", "fingerprint", "made from", "numbers")


def step_rows(facts: Facts) -> list[list[str]]:
    """A row a stage: its name; its fingerprint, cut as in its folder's name; parents; numbers."""
    return [
        [
            step.stage,
            step.fingerprint[: stage.ID_LETTERS],
            ", ".join(step.parents),
            stage.told(step.numbers),
        ]
        for step in facts.steps
    ]


def with_interval(value: Sequence[float]) -> str:
    """A figure, and the ends of its interval."""
    return f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"
