"""Pseudo-labels over a Ray cluster, on the same classifier (`pip install 'maum[ray]'`)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import ray

from trainer import predict
from trainer.pseudo_label import Labelled, Progress
from trainer.settings import TrainerSettings

ROWS: Final = 4096  # texts an actor is given at a time


class Labeller:
    """An actor that loads the teacher once. The folder must be on a disk that every node sees."""

    def __init__(self, teacher: str, max_length: int, threads: int) -> None:
        self._classifier, self._budget = predict.load(Path(teacher), max_length, threads)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """`place` and `text` in, `place` and `scores` out."""
        found = predict.predict(self._classifier, batch["text"].tolist(), self._budget)
        return {"place": batch["place"], "scores": found.probabilities}


def label(
    words: Sequence[str], teacher: Path, options: TrainerSettings, progress: Progress
) -> Iterator[Labelled]:
    """What the classifier says, as it comes from as many actors as the cluster has room for."""
    address = None if options.ray_address == "local" else options.ray_address
    with ray.init(address=address, log_to_driver=False):
        rows = [{"place": place, "text": text} for place, text in enumerate(words)]
        gpus = int(ray.cluster_resources().get("GPU", 0))
        labelled = ray.data.from_items(rows).map_batches(
            Labeller,
            fn_constructor_args=(str(teacher.resolve()), options.max_length, options.threads),
            batch_size=ROWS,
            num_gpus=1 if gpus else 0,
            concurrency=max(1, gpus or int(ray.cluster_resources().get("CPU", 1)) // 2),
        )
        for batch in labelled.iter_batches(batch_size=None):
            progress(len(batch["place"]))
            yield batch["place"], np.stack(batch["scores"])
