"""Pseudo-labels over a Ray cluster, on the same classifier (`pip install 'maum[ray]'`)."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import ray
import ray.data
import ray.exceptions

from trainer import labeller, predict
from trainer.labeller import ClusterError, Labelled, Progress
from trainer.settings import TrainerSettings

ROWS: Final = 4096  # texts an actor is given at a time
CPUS: Final = 2  # an actor's, where there is no GPU


class Labeller:
    """An actor that loads the teacher once. The folder must be on a disk that every node sees."""

    def __init__(self, teacher: str, max_length: int, threads: int) -> None:
        self._classifier, self._budget = predict.load(Path(teacher), max_length, threads)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """`place` and `text` in, `place` and `scores` out."""
        words = batch["text"].tolist()
        found = [
            scores
            for _, scores in labeller.label(words, self._classifier, self._budget, lambda _: None)
        ]
        return {"place": batch["place"], "scores": np.concatenate(found)}


def label(
    words: Sequence[str], teacher: Path, options: TrainerSettings, progress: Progress
) -> Iterator[Labelled]:
    """What the classifier says, as it comes from as many actors as the cluster has room for.

    Raises ClusterError.
    """
    with _joined(options.ray_address), _in_one_line():
        rows = [{"place": place, "text": text} for place, text in enumerate(words)]
        gpus = int(ray.cluster_resources().get("GPU", 0))
        threads = options.threads or (0 if gpus else CPUS)  # else each actor takes all of a node
        labelled = ray.data.from_items(rows).map_batches(
            Labeller,
            fn_constructor_args=(str(teacher.resolve()), options.max_length, threads),
            batch_size=ROWS,
            num_gpus=1 if gpus else 0,
            concurrency=max(1, gpus or int(ray.cluster_resources().get("CPU", 1)) // CPUS),
        )
        for batch in labelled.iter_batches(batch_size=None):
            progress(len(batch["place"]))
            yield batch["place"], np.stack(batch["scores"])


def _joined(address: str | None) -> AbstractContextManager[Any]:
    """The cluster at `address`; one of this machine alone, started for it, where it is `local`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else one that is started here tells
    try:
        joined: AbstractContextManager[Any] = ray.init(
            address=None if address == "local" else address, log_to_driver=False
        )
    except (ConnectionError, RuntimeError, ValueError) as error:  # nobody there, another version
        raise ClusterError(f"TRAINER_RAY_ADDRESS={address}: {_line(error)}") from error
    return joined


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Turn what becomes of tasks and actors into ClusterError; surprises stay what they are."""
    try:
        yield
    except ray.exceptions.RayError as error:
        message = f"the Ray cluster failed: {_line(error)}; the same command goes on from here"
        raise ClusterError(message) from error


def _line(error: Exception) -> str:
    """What Ray says, which is a page: of a traceback the error that ends it, else the top."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    return said[-1 if any('File "' in each for each in said) else 0].strip()
