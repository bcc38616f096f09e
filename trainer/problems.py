"""What may go wrong in a run, all of it in one place."""

from pathlib import Path
from typing import Final

from trainer.broker import CollectError
from trainer.depot import RegistryError
from trainer.job import FitError
from trainer.labeller import ClusterError
from trainer.leakage import LeakageError
from trainer.promote import AnnounceError
from trainer.stage import StageError
from trainer.tables import DataError

LEAKS: Final = "leakage.jsonl"


def told(error: Exception, work: Path) -> str:
    """What to say of an error; the pairs of a leak, maybe thousands, are written to `work`, too."""
    if not isinstance(error, LeakageError):
        return str(error)
    path = work / LEAKS
    try:
        path.write_bytes(error.listed())
    except OSError as problem:
        return f"{error}\n  {path}, for all of them, cannot be written: {problem.strerror}"
    return f"{error}\n  all of them: {path}"


def expected() -> tuple[type[Exception], ...]:
    """What may go wrong in a run: each message is one clear line (or lists pairs)."""
    from worker.config import ModelError  # noqa: PLC0415  (lazy)
    from worker.engines import DeviceLostError, EngineError, InferenceError  # noqa: PLC0415

    return (
        AnnounceError,
        ClusterError,
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
