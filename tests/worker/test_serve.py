"""The parts of `run` that need no Kafka."""

from time import monotonic

from worker import serve
from worker.admin import Health
from worker.classifier import ModelId
from worker.metrics import Metrics

from .fakes import FakeEngine, fake_classifier, inference_of


def models(metrics: Metrics) -> list[tuple[dict[str, str], float]]:
    """The labels and the value of each model that is told of."""
    return [
        (sample.labels, sample.value)
        for family in metrics.registry.collect()
        if family.name == "maum_model_info"
        for sample in family.samples
    ]


def test_the_model_that_serves_is_told_and_no_other() -> None:
    metrics, health = Metrics(), Health(beat=monotonic())
    old = fake_classifier(FakeEngine(), ModelId("maum", "7"))
    new = fake_classifier(FakeEngine(precision="int8"), ModelId("maum", "8"))
    inference = inference_of(old)
    assert models(metrics) == []
    serve.show(old, metrics, health)
    told = {"name": "maum", "version": "7", "engine": "fake-cpu", "precision": "fp32"}
    assert models(metrics) == [(told, 1.0)]
    serve.swap(inference, new, metrics, health)
    assert models(metrics) == [(told | {"version": "8", "precision": "int8"}, 1.0)]
    assert inference.classifier is new
    assert health.model is not None
    assert {name: value for name, value in health.model.items() if name != "since"} == models(
        metrics
    )[0][0]
