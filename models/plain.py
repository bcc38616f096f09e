"""TF-IDF and logistic regression: a teacher beside the others, and the floor for all else."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np

from schemas.emotion import EMOTIONS
from trainer.dataset import Labelled
from trainer.scores import Floats

MODEL: Final = "tf-idf.joblib"
SAID: Final = "said.npz"
PART: Final = 16_384  # texts at a time, through it


def fit(train: Sequence[Labelled], folder: Path) -> None:
    """Characters' TF-IDF and a logistic regression, into `folder`."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415  (lazy)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415

    model = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 5), min_df=2, sublinear_tf=True),
        LogisticRegression(C=10, class_weight="balanced", max_iter=300),
    )
    model.fit([row.text for row in train], [EMOTIONS.index(row.emotion) for row in train])
    joblib.dump(model, folder / MODEL)


def load(folder: Path) -> Callable[[Sequence[str]], Floats]:
    """What the model in `folder` says of texts: (n, 6) of n."""
    model: Any = joblib.load(folder / MODEL)

    def say(texts: Sequence[str]) -> Floats:
        parts = [model.predict_proba(texts[at : at + PART]) for at in range(0, len(texts), PART)]
        return np.concatenate(parts)

    return say


def keep(folder: Path, sets: Mapping[str, Sequence[str]]) -> None:
    """Write what it says of each set of texts beside it: it takes minutes where they are many."""
    say = load(folder)
    said: dict[str, Any] = {name: say(texts).astype(np.float32) for name, texts in sets.items()}
    np.savez_compressed(folder / SAID, **said)


def said(folder: Path, name: str) -> Floats:
    """(n, 6): what `keep` kept of a set."""
    with np.load(folder / SAID) as kept:
        found: Floats = kept[name].astype(np.float64)
    return found
