"""The trainer's commands as they are called, and a Kafka that only listens."""

from typing import Any

import pytest

from schemas.promotion import ModelPromotion
from trainer import __main__ as program
from trainer import promote
from trainer.settings import TrainerSettings


def command(options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of `python -m trainer` with `arguments` under these settings."""
    for name, value in options.model_dump(mode="json", exclude_none=True).items():
        monkeypatch.setenv(f"TRAINER_{name.upper()}", str(value))
    return program.main(arguments)


class Listening:
    """Stands for Kafka's producer, and keeps what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[str, bytes, ModelPromotion]] = []
        monkeypatch.setattr(promote, "AIOKafkaProducer", self)

    def __call__(self, **_: Any) -> "Listening":  # noqa: ANN401  (aiokafka's settings)
        return self

    async def start(self) -> None:
        """It is there at once."""

    async def stop(self) -> None:
        """And gone."""

    async def send_and_wait(self, topic: str, value: bytes, key: bytes) -> None:
        self.told.append((topic, key, ModelPromotion.model_validate_json(value)))
