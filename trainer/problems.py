"""What may go wrong in a run, all of it in one place."""

from trainer.collect import CollectError
from trainer.dataset import DataError
from trainer.job import FitError
from trainer.leakage import LeakageError
from trainer.promote import AnnounceError
from trainer.registry import RegistryError
from trainer.stage import StageError


def expected() -> tuple[type[Exception], ...]:
    """What may go wrong in a run: each message is one clear line (or lists the pairs)."""
    from worker.config import ModelError  # noqa: PLC0415  (lazy)
    from worker.engines import DeviceLostError, EngineError, InferenceError  # noqa: PLC0415

    return (
        AnnounceError,
        CollectError,
        DataError,
        DeviceLostError,
        EngineError,
        FitError,
        InferenceError,
        LeakageError,
        ModelError,
        RegistryError,
        StageError,
    )
