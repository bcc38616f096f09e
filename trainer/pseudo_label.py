"""A teacher's opinion of unlabelled texts: `pred_emotion`, `pred_conf`, `pred_margin`, `scores`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from schemas.emotion import EMOTIONS
from trainer import dataset, predict
from trainer.dataset import Text
from trainer.scores import Floats
from trainer.settings import TrainerSettings
from trainer.stage import Numbers

FILE: Final = "pseudo.parquet"
PART: Final = 16_384  # texts a part: at most so many are labelled twice after a kill


def pseudo_label(
    texts: Sequence[Text], teacher: Path, folder: Path, options: TrainerSettings
) -> Numbers:
    """Write `folder`/pseudo.parquet, a row a text. Goes on after the last part that was written.

    Raises ModelError, EngineError, InferenceError, DataError.
    """
    started = perf_counter()
    if options.ray_address:
        from trainer import cluster  # noqa: PLC0415  (lazy: an optional extra)

        probabilities = cluster.probabilities(texts, teacher, options)
    else:
        parts = folder / "parts"
        probabilities = np.concatenate(list(_in_parts(texts, teacher, parts, options)))
        _remove(parts)
    dataset.write_parquet(folder / FILE, rows(texts, probabilities))
    return {"texts": len(texts), "texts_a_second": len(texts) / (perf_counter() - started)}


def rows(texts: Sequence[Text], probabilities: Floats) -> list[dict[str, Any]]:
    """The columns of the contract. Margin: top minus second."""
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    best = probabilities.argmax(axis=1)
    return [
        {
            "id": text.id,
            "text": text.text,
            "pred_emotion": str(EMOTIONS[best[place]]),
            "pred_conf": float(first[place]),
            "pred_margin": float(first[place] - second[place]),
            "scores": probabilities[place].tolist(),
        }
        for place, text in enumerate(texts)
    ]


def _in_parts(
    texts: Sequence[Text], teacher: Path, parts: Path, options: TrainerSettings
) -> Iterator[Floats]:
    from tqdm import tqdm  # noqa: PLC0415  (lazy)

    parts.mkdir(exist_ok=True)
    classifier, budget = predict.load(teacher, options.max_length, options.threads)
    there = sum(min(PART, len(texts) - int(path.stem)) for path in parts.glob("*.npy"))
    with tqdm(
        total=len(texts), initial=there, desc="pseudo-label", unit="text", smoothing=0.05
    ) as bar:
        for first in range(0, len(texts), PART):
            path = parts / f"{first}.npy"
            words = [each.text for each in texts[first : first + PART]]
            if path.exists():
                yield np.load(path)
                continue
            found = np.zeros((len(words), len(EMOTIONS)))
            for places, tokens in predict.batches(classifier, words, budget):
                for who, row in zip(places, predict.run(classifier, tokens), strict=True):
                    found[who] = row
                bar.update(sum(map(len, places)))
            partial = path.with_suffix(".partial")
            with partial.open("wb") as file:
                np.save(file, found)
            partial.rename(path)
            yield found


def _remove(parts: Path) -> None:
    for each in parts.iterdir():
        each.unlink()
    parts.rmdir()
