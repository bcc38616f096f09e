"""What the review samples say of all messages, and of the models that answered them (pure).

Every sample weighs the inverse of the chance that it was chosen with.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.emotion import EMOTIONS
from schemas.record import Record
from trainer import drift, scores
from trainer.dataset import Labelled
from trainer.scores import Floats
from trainer.settings import TrainerSettings

ENOUGH: Final = 30  # labelled samples of a model, or texts, to estimate anything
OF_EACH: Final = 10  # labelled samples of a stratum that counts, to say anything of the whole
COUNTS: Final = 0.05  # share of the messages from which on a stratum does
DRAWS: Final = 10_000  # of an interval's distribution
UNKNOWN: Final = 0.5  # right, and as much wrong, that Jeffreys' prior knows of

Triple = tuple[float, float, float]
Sample = Mapping[str, Any]


class Production(Record):
    """What the new samples say of the messages. Triples: value, and its 95 % interval."""

    samples: int
    prior: dict[str, Triple]
    """Share of each emotion among all messages, by the serving model; empty without random ones."""
    text_drift_auc: Triple | None
    class_divergence: Triple | None
    """Also None without random samples: the low-margin ones alone are like no other messages."""


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
    classes = _classes(samples, trained, options) if _has_random(samples) else None
    return Production(
        samples=len(samples),
        prior={name: each.triple for name, each in classes[0].items()} if classes else {},
        text_drift_auc=auc.triple if auc else None,
        class_divergence=classes[1].triple if classes else None,
    )


def thinned(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Samples as if each message had had the same chance; none where no random ones are among them.

    A low-margin one, which was certain to be taken, stays as seldom as others were taken.
    """
    if not _has_random(samples):
        return []
    chances = _inclusion(samples)
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
    found = [_served(each, answers[each], labels, options.seed) for each in versions]
    return [each for each in found if each.labelled or each.version == first]


@dataclass(frozen=True, slots=True)
class Stratum:
    """The samples of one `reason`; the labelled ones of them stand for all the messages of it."""

    chosen: Floats
    """The inclusion probability of each sample."""
    labelled: Floats
    """Of each labelled one."""
    right: NDArray[np.bool_]
    """Whether people agree with the answer, of each labelled one."""

    @property
    def messages(self) -> float:
        """How many it has, as estimated from its samples."""
        return float((1 / self.chosen).sum())

    @property
    def share(self) -> float:
        """Of its messages, how many are answered right."""
        weights = 1 / self.labelled
        return float(weights[self.right].sum() / weights.sum())

    def drawn(self, draws: np.random.Generator) -> tuple[Floats, Floats]:
        """(messages, share) as they may be, given what is there; (`DRAWS`,) each."""
        messages = np.zeros(DRAWS)
        for chance, count in zip(*np.unique(self.chosen, return_counts=True), strict=True):
            messages += count + draws.negative_binomial(count, chance, DRAWS)  # and those left out
        weights = 1 / self.labelled
        trials = float(weights.sum() ** 2 / (weights**2).sum())
        hits = self.share * trials
        return messages, draws.beta(hits + UNKNOWN, trials - hits + UNKNOWN, DRAWS)


def _served(
    version: str, samples: Sequence[Sample], labels: Mapping[str, str], seed: int
) -> Served:
    labelled = [row for row in samples if row["id"] in labels]
    strata = [
        _stratum([row for row in samples if row["reason"] == reason], labels)
        for reason in sorted({row["reason"] for row in samples})
    ]
    # Without random samples those that are there, the hard ones, would stand for all.
    enough = len(labelled) >= ENOUGH and _has_random(samples) and _are_enough(strata)
    return Served(
        version=version,
        samples=len(samples),
        labelled=len(labelled),
        of_random=sum(row["reason"] == "random" for row in labelled),
        accuracy=accuracy(strata, seed).triple if enough else None,
    )


def _stratum(samples: Sequence[Sample], labels: Mapping[str, str]) -> Stratum:
    labelled = [row for row in samples if row["id"] in labels]
    return Stratum(
        chosen=_inclusion(samples),
        labelled=_inclusion(labelled),
        right=np.array([labels[row["id"]] == row["emotion"] for row in labelled], dtype=bool),
    )


def _inclusion(samples: Sequence[Sample]) -> Floats:
    return np.array([float(row["inclusion_probability"]) for row in samples])


def _are_enough(strata: Sequence[Stratum]) -> bool:
    """Whether each stratum has labels, and one that counts as many as it takes."""
    whole = sum(each.messages for each in strata)
    return all(
        len(each.right) >= (OF_EACH if each.messages >= COUNTS * whole else 1) for each in strata
    )


def accuracy(strata: Sequence[Stratum], seed: int) -> scores.Interval:
    """The share of all messages that are answered right, with its 95 % interval.

    The stratified estimate. Its interval is of Jeffreys' posterior of each stratum's share, which
    holds for few labels and shares near 1, where the bootstrap's is too short (Brown, Cai &
    DasGupta 2001), with the effective number of labels (Franco et al. 2019), and of how many
    messages each stratum has; both are drawn, and combined draw by draw.
    """
    sizes = np.array([each.messages for each in strata])
    value = float(sizes @ [each.share for each in strata] / sizes.sum())
    draws = np.random.default_rng(seed)
    messages, shares = np.array([each.drawn(draws) for each in strata]).swapaxes(0, 1)
    found = (messages * shares).sum(axis=0) / messages.sum(axis=0)
    low, high = np.percentile(found, [2.5, 97.5])
    return scores.Interval(value, min(value, float(low)), max(value, float(high)))


def _has_random(samples: Sequence[Sample]) -> bool:
    return any(row["reason"] == "random" for row in samples)


def _classes(
    samples: Sequence[Sample], trained: Sequence[Labelled], options: TrainerSettings
) -> tuple[dict[str, scores.Interval], scores.Interval]:
    """The share of each emotion now, and how far the shares are from the labelled data's."""
    emotions = [row["emotion"] for row in samples]
    inclusion = _inclusion(samples)
    now = np.array(list(drift.prior(emotions, inclusion.tolist()).values()))
    known = scores.indices(row.emotion for row in trained)
    before: Floats = np.bincount(known, minlength=len(EMOTIONS)) / len(trained)
    resamples, seed = options.resamples, options.seed
    shares = scores.weighted_shares(scores.indices(emotions), inclusion, resamples, seed)
    draws = np.random.default_rng(seed + 1)  # apart from those of the shares
    labelled = draws.multinomial(len(trained), before, size=resamples) / len(trained)
    divergence = scores.distance(
        float(drift.class_divergence(before, now)), drift.class_divergence(labelled, shares)
    )
    prior = {
        str(name): scores.interval(float(now[k]), shares[:, k]) for k, name in enumerate(EMOTIONS)
    }
    return prior, divergence
