"""A fit from outside: what it is told, what it tells, and the error that it ends with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from trainer import stage
from trainer.select import Example
from trainer.settings import TrainerSettings

FITTED: Final = "fitted.json"


class FitError(Exception):
    """This model or data cannot be fitted; the message is one clear line."""


@dataclass(frozen=True, slots=True)
class Job:
    """Fine-tune the model `spec`, a folder or a hub id, on `train`; `validation` tells the best."""

    spec: str
    train: list[Example]
    validation: list[Example]
    options: TrainerSettings
    learning_rate: float
    processes: int = 1  # that do it together, each of them told the same
    settled: bool = False  # in the end, weights are rounded to what int8 has
    commit: str | None = None  # of the hub's model


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a fit went: a dictionary a log entry, as `Trainer` keeps them; the best macro-F1."""

    curve: list[dict[str, float]]
    macro_f1: float
    steps: int


def write_fitted(folder: Path, found: Fitted) -> None:
    """Keep how it went beside the model: the last thing that a fit does."""
    stage.write_durably(folder / FITTED, TypeAdapter(Fitted).dump_json(found))


def read_fitted(folder: Path) -> Fitted | None:
    """What `write_fitted` kept; None where the fit is not done."""
    path = folder / FITTED
    return TypeAdapter(Fitted).validate_json(path.read_bytes()) if path.exists() else None


def line(error: Exception) -> str:
    """What an error says, in one line that is not too long."""
    return " ".join(str(error).split())[:200]
