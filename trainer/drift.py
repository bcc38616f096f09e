"""Whether what comes in still looks like what was trained on."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from schemas.emotion import EMOTIONS
from trainer.scores import Floats, Interval, Labels, interval, resample

MOST: Final = 2000  # texts a side
FOLDS: Final = 3
CHUNK: Final = 200  # draws at once: some ten MB
TINY: Final = 1e-12


def text_auc(
    trained: Sequence[str], incoming: Sequence[str], resamples: int, seed: int
) -> Interval:
    """How well a linear model tells the two apart: 0.5 not at all, 1.0 always.

    A domain classifier's cross-validated area under the curve (Rabanser et al. 2019); its interval
    is of the texts, the classifier taken as it is. Raises ValueError for fewer than `FOLDS` texts
    a side.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415  (lazy: seconds)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415

    draws = np.random.default_rng(seed)
    sides = [_some(side, draws) for side in (trained, incoming)]
    if min(map(len, sides)) < FOLDS:
        raise ValueError(f"at least {FOLDS} texts a side are needed")
    truth = np.repeat([0, 1], list(map(len, sides)))
    telling = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), max_features=20_000),
        LogisticRegression(max_iter=300),
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    texts = [*sides[0], *sides[1]]
    said = cross_val_predict(telling, texts, truth, cv=folds, method="predict_proba")[:, 1]
    exact = auc(truth, said, np.ones((1, len(truth))))[0]
    weights = resample(truth, resamples, seed)
    drawn = [auc(truth, said, weights[at : at + CHUNK]) for at in range(0, resamples, CHUNK)]
    return interval(float(exact), np.concatenate(drawn))


def auc(truth: Labels, said: Floats, weights: Floats) -> Floats:
    """The area under the curve in each draw: `weights` (draws, n) → (draws,).

    How often one of the right side is ranked above one of the other; a tie is half of that.
    """
    _, level = np.unique(said, return_inverse=True)
    order = np.argsort(level, kind="stable")
    level, ours = level[order], truth[order].astype(bool)
    first = np.flatnonzero(np.diff(level, prepend=-1))  # of each level
    last = np.append(first[1:], len(level)) - 1
    others = np.where(ours, 0.0, weights[:, order])
    until = others.cumsum(axis=1)
    beneath = (until[:, last] + until[:, first] - others[:, first])[:, level] / 2
    mine = np.where(ours, weights[:, order], 0.0)
    found: Floats = (mine * beneath).sum(axis=1) / (mine.sum(axis=1) * until[:, -1])
    return found


def class_divergence(before: Floats, now: Floats) -> Floats:
    """Jensen-Shannon divergence (Lin 1991) of class distributions (…, 6): 0 equal, 1 disjoint."""
    middle = (before + now) / 2
    parts = [
        (side * np.log2(np.maximum(side, TINY) / np.maximum(middle, TINY))).sum(axis=-1)
        for side in (before, now)
    ]
    found: Floats = np.maximum(0.0, sum(parts) / 2)
    return found


def prior(emotions: Sequence[str], inclusion: Sequence[float]) -> dict[str, float]:
    """The share of each emotion among all messages, from samples of unequal probability."""
    weights = 1 / np.array(inclusion)
    total = weights.sum()
    return {
        name: float(weights[np.array(emotions) == name].sum() / total) if total else 0.0
        for name in EMOTIONS
    }


def _some(texts: Sequence[str], draws: np.random.Generator) -> list[str]:
    places = draws.permutation(len(texts))[:MOST]
    return [texts[place] for place in places.tolist()]
