"""Settings → the parts that both `run` and `classify` are made of."""

from time import monotonic
from typing import Final

from schemas.promotion import ModelPromotion
from worker import classifier as classifiers
from worker import registry
from worker.classifier import Classifier
from worker.inference import Inference
from worker.metrics import Metrics
from worker.registry import Resolved
from worker.settings import WorkerSettings

DEFAULT_BATCH_TOKENS: Final = {"cpu": 1_024, "cuda": 16_384}


def classifier(options: WorkerSettings, resolved: Resolved | None = None) -> Classifier:
    """The classifier that the settings name, warmed.

    Raises ModelError, EngineError, InferenceError, DeviceLostError.
    """
    found = resolved or registry.resolve(options.model, options.cache_dir)
    loaded = classifiers.load(
        found.folder,
        found.model,
        device=options.device,
        precision=options.precision,
        max_length=options.max_length,
        threads=options.threads,
        cache=options.cache_dir,
    )
    loaded.warm_up(batch_tokens(options, loaded))
    return loaded


def promoted(options: WorkerSettings, promotion: ModelPromotion) -> Classifier:
    """The classifier of a promoted version. Raises what `classifier` does."""
    return classifier(options, registry.fetch(promotion, options.cache_dir))


def batch_tokens(options: WorkerSettings, loaded: Classifier) -> int:
    """The token budget of a batch: as set, or by the device, but no more than fits on it."""
    device = "cuda" if loaded.engine.name.endswith("cuda") else "cpu"
    wanted = options.max_batch_tokens or DEFAULT_BATCH_TOKENS[device]
    return min(wanted, loaded.max_batch_tokens)


def inference(options: WorkerSettings, loaded: Classifier, metrics: Metrics) -> Inference:
    """The inference stage as the settings say."""
    return Inference(
        loaded,
        metrics,
        max_batch_tokens=batch_tokens(options, loaded),
        max_wait=options.max_wait_ms / 1000,
        margin_threshold=options.margin_threshold,
        cache_entries=options.cache_entries,
        clock=monotonic,
    )
