"""A teacher's opinion of unlabelled texts: `pred_emotion`, `pred_conf`, `pred_margin`, `scores`."""

import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from schemas.emotion import EMOTIONS
from trainer import labeller, predict, stage, tables
from trainer.dataset import Text
from trainer.labeller import ClusterError, Labelled, Progress
from trainer.scores import Floats, Labels
from trainer.settings import TrainerSettings
from trainer.stage import Numbers
from worker.engines import InferenceError

FILE: Final = "pseudo.parquet"
FAILED: Final = "failed.parquet"  # the ids of texts that the teacher fails on


def pseudo_label(
    texts: Sequence[Text], teacher: Path, folder: Path, options: TrainerSettings
) -> Numbers:
    """Write `folder`/pseudo.parquet, a row a text. Goes on after the last part that was written.

    Texts that the teacher fails on, each by itself, are left out, and named in failed.parquet.
    Raises ModelError, EngineError, InferenceError, DataError, ClusterError.
    """
    from tqdm import tqdm  # noqa: PLC0415  (lazy)

    started = perf_counter()
    parts, over = folder / "parts", folder / "parts.over"
    if (folder / FILE).exists() and not parts.exists():  # killed after its end
        shutil.rmtree(over, ignore_errors=True)
        return {"texts": len(texts)}
    parts.mkdir(exist_ok=True)
    found, there = np.zeros((len(texts), len(EMOTIONS))), np.zeros(len(texts), dtype=bool)
    for path in parts.glob("*.npz"):
        with np.load(path) as part:
            found[part["places"]] = part["scores"]
            there[part["places"]] = ~np.isnan(part["scores"]).any(axis=1)  # others are tried again
    left = np.flatnonzero(~there)
    words = [texts[place].text for place in left.tolist()]
    done = len(texts) - len(left)
    with tqdm(
        total=len(texts), initial=done, desc="pseudo-label", unit="text", smoothing=0.05
    ) as bar:
        for places, scores in _label(words, teacher, options, bar.update):
            found[left[places]] = scores
            _write(parts, left[places], scores)
    answered = ~np.isnan(found).any(axis=1)
    if not answered.any():
        raise InferenceError(f"the teacher in {teacher} fails on each of the {len(texts)} texts")
    failed = [{"id": texts[place].id} for place in np.flatnonzero(~answered).tolist()]
    if failed:
        tables.write(folder / FAILED, failed)
    known = [texts[place] for place in np.flatnonzero(answered).tolist()]
    tables.write(folder / FILE, rows(known, found[answered]))
    stage.sync(folder / FILE)
    parts.rename(over)  # from here on it is done
    shutil.rmtree(over)
    seconds = perf_counter() - started
    told = {"texts": len(texts), "texts_a_second": len(left) / seconds}
    return told | ({"failed": len(failed)} if failed else {})


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


def _label(
    words: Sequence[str], teacher: Path, options: TrainerSettings, progress: Progress
) -> Iterator[Labelled]:
    if not words:
        return
    if options.ray_address:
        try:
            from trainer import cluster  # noqa: PLC0415  (lazy: an optional extra)
        except ImportError as error:
            extra = "`pip install 'maum[ray]'`, or unset TRAINER_RAY_ADDRESS"
            raise ClusterError(f"Ray cannot be imported ({error}): {extra}") from error
        yield from cluster.label(words, teacher, options, progress)
    else:
        classifier, budget = predict.load(teacher, options.max_length, options.threads)
        yield from labeller.label(words, classifier, budget, progress)


def _write(parts: Path, places: Labels, scores: Floats) -> None:
    """A part, whole or not at all; it is named by its first place."""
    body = io.BytesIO()
    np.savez(body, places=places, scores=scores)
    stage.write_durably(parts / f"{places[0]}.npz", body.getvalue())
