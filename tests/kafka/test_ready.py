"""When a worker is ready: not before its model is warm."""

import asyncio
import threading
from time import monotonic
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kafka.harness import Cluster, FakeEngine, classifier, eventually
from worker import classifier as classifiers
from worker import serve
from worker.admin import Health
from worker.classifier import WARM_LENGTHS
from worker.metrics import Metrics


class Watched(FakeEngine):
    """Keeps the lengths that it saw, and says when it saw the first."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []
        self.asked = threading.Event()

    def run(self, prepared: Any) -> NDArray[np.float32]:  # noqa: ANN401
        self.asked.set()
        logits = super().run(prepared)
        self.lengths.append(len(prepared[0]))
        return logits


async def test_a_worker_is_ready_once_its_engine_has_run_a_batch_of_each_length(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = cluster.settings()
    await cluster.create(settings, 1)
    engine = Watched()
    engine.go_on.clear()
    monkeypatch.setattr(classifiers, "load", lambda *_, **__: classifier(engine))
    health, stopped = Health(beat=monotonic()), asyncio.Event()
    serving = asyncio.create_task(
        serve.serve(cluster.connection, settings, Metrics(), health, stopped)
    )
    try:
        await eventually(engine.asked.is_set, serving)
        assert not health.ready()["model"]
        engine.go_on.set()
        await eventually(lambda: all(health.ready().values()), serving)
        warmed = [length for length in WARM_LENGTHS if length <= 64]  # of the fake model
        assert engine.lengths == warmed
    finally:
        engine.go_on.set()
        stopped.set()
        await serving
