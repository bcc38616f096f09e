"""What the review samples say of all messages, and of the models that answered them (pure).

Every sample weighs the inverse of the chance that it was in the end looked at.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from schemas.emotion import EMOTIONS
from schemas.record import Record
from trainer import drift, scores
from trainer.dataset import Labelled
from trainer.scores import Floats
from trainer.settings import TrainerSettings

ENOUGH: Final = 30  # labelled samples of a model, or texts, to estimate anything

Triple = tuple[float, float, float]
Sample = Mapping[str, Any]


class Production(Record):
    """What the new samples say of the messages. Triples: value, and its 95 % interval."""

    samples: int
    prior: dict[str, Triple]
    """Share of each emotion among all messages, by the serving model."""
    text_drift_auc: Triple | None
    class_divergence: Triple


class Served(Record):
    """What people say of the answers that one version of the model gave."""

    version: str
    samples: int
    labelled: int
    of_random: int
    """Of the labelled ones, how many are of the random stratum."""
    accuracy: Triple | None
    """Over all messages that it answered; None where too little is labelled to say."""


def describe(
    samples: Sequence[Sample], trained: Sequence[Labelled], options: TrainerSettings
) -> Production:
    """The messages behind `samples`, against the texts and classes of the labelled data."""
    incoming = [row["text"] for row in thinned(samples, options.seed)]
    auc = None
    if min(len(incoming), len(trained)) >= ENOUGH:
        texts = [row.text for row in trained]
        auc = drift.text_auc(texts, incoming, options.resamples, options.seed)
    prior, divergence = _classes(samples, trained, options)
    return Production(
        samples=len(samples),
        prior={name: each.triple for name, each in zip(EMOTIONS, prior, strict=True)},
        text_drift_auc=auc.triple if auc else None,
        class_divergence=divergence.triple,
    )


def thinned(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Samples as if each message had had the same chance; none where no random ones are among them.

    A low-margin one, which was certain to be taken, stays as seldom as others were taken.
    """
    if not any(row["reason"] == "random" for row in samples):
        return []
    chances = np.array([float(row["inclusion_probability"]) for row in samples])
    stays = np.random.default_rng(seed).random(len(samples)) < chances.min() / chances
    return [row for row, each in zip(samples, stays.tolist(), strict=True) if each]


def served(
    samples: Sequence[Sample],
    people: Sequence[Labelled],
    champion: str | None,
    options: TrainerSettings,
) -> list[Served]:
    """Version by version, whether or not its answers were trained on since: they were given before.

    The champion comes first, labelled or not; then every other one that people labelled.
    Without a `champion` the version of the newest sample stands for it.
    """
    labels = {row.id: row.emotion for row in people}
    answers: defaultdict[str, list[Sample]] = defaultdict(list)
    for row in sorted(samples, key=lambda row: row["classified_at"], reverse=True):
        answers[row["model_version"]].append(row)
    first = champion or next(iter(answers), None)
    versions = dict.fromkeys([first, *answers] if first else [])
    found = [_served(each, answers[each], labels, options) for each in versions]
    return [each for each in found if each.labelled or each.version == first]


def _served(
    version: str, samples: Sequence[Sample], labels: Mapping[str, str], options: TrainerSettings
) -> Served:
    """The labelled ones of each stratum stand for all of it, so each has to have some."""
    labelled = [row for row in samples if row["id"] in labels]
    strata = [{row["reason"] for row in rows} for rows in (samples, labelled)]
    accuracy = None
    if len(labelled) >= ENOUGH and strata[0] == strata[1]:
        right = np.array([labels[row["id"]] == row["emotion"] for row in labelled])
        chances = _chances(samples, labelled)
        found = scores.weighted_share(right, chances, options.resamples, options.seed)
        accuracy = found.triple
    return Served(
        version=version,
        samples=len(samples),
        labelled=len(labelled),
        of_random=sum(row["reason"] == "random" for row in labelled),
        accuracy=accuracy,
    )


def _chances(samples: Sequence[Sample], labelled: Sequence[Sample]) -> Floats:
    """Of each labelled sample: chosen by the worker, and then labelled within its stratum."""
    share = {
        reason: sum(row["reason"] == reason for row in labelled)
        / max(sum(row["reason"] == reason for row in samples), 1)
        for reason in ("low_margin", "random")
    }
    return np.array([float(r["inclusion_probability"]) * share[r["reason"]] for r in labelled])


def _classes(
    samples: Sequence[Sample], trained: Sequence[Labelled], options: TrainerSettings
) -> tuple[list[scores.Interval], scores.Interval]:
    """The share of each emotion now, and how far the shares are from the labelled data's."""
    emotions = [row["emotion"] for row in samples]
    inclusion = [float(row["inclusion_probability"]) for row in samples]
    now = np.array(list(drift.prior(emotions, inclusion).values()))
    known = scores.indices(row.emotion for row in trained)
    before: Floats = np.bincount(known, minlength=len(EMOTIONS)) / len(trained)
    resamples, seed = options.resamples, options.seed
    shares = scores.weighted_shares(scores.indices(emotions), np.array(inclusion), resamples, seed)
    draws = np.random.default_rng(seed + 1)  # apart from those of the shares
    labelled = draws.multinomial(len(trained), before, size=resamples) / len(trained)
    divergence = scores.distance(
        float(drift.class_divergence(before, now)), drift.class_divergence(labelled, shares)
    )
    prior = [scores.interval(float(now[k]), shares[:, k]) for k in range(len(EMOTIONS))]
    return prior, divergence
