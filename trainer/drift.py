"""Whether what comes in still looks like what was trained on."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from schemas.emotion import EMOTIONS

MOST: Final = 2000  # texts a side
FOLDS: Final = 3


def text_auc(trained: Sequence[str], incoming: Sequence[str], seed: int) -> float:
    """How well a linear model tells the two apart: 0.5 not at all, 1.0 always.

    A domain classifier's cross-validated area under the curve (Rabanser et al. 2019). Raises
    ValueError for fewer than `FOLDS` texts a side.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415  (lazy: seconds)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415
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
    return float(roc_auc_score(truth, said))


def class_divergence(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Jensen-Shannon divergence (Lin 1991) of two class distributions: 0 equal, 1 disjoint."""
    p, q = (np.array([side.get(name, 0.0) for name in EMOTIONS]) for side in (before, now))
    p, q = p / max(p.sum(), 1e-12), q / max(q.sum(), 1e-12)
    middle = (p + q) / 2
    parts = [
        float((side[side > 0] * np.log2(side[side > 0] / middle[side > 0])).sum())
        for side in (p, q)
    ]
    return max(0.0, sum(parts) / 2)


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
