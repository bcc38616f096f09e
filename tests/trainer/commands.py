"""The trainer's commands as they are called, and a Kafka that only listens."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.promotion import ModelPromotion
from trainer import __main__ as program
from trainer import promote
from trainer.settings import TrainerSettings

ROOT = Path(__file__).resolve().parents[2]

# Without capabilities root may write no more than the rights of files say.
WITHOUT_RIGHTS = """
import ctypes, os, sys
from trainer import __main__ as program

if os.geteuid() == 0:
    version_3 = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(version_3, none) == 0
sys.exit(program.main(sys.argv[1:]))
"""


def environment(options: TrainerSettings) -> dict[str, str]:
    """The settings for another process."""
    stated = options.model_dump(mode="json", exclude_none=True)
    return os.environ | {f"TRAINER_{name.upper()}": str(each) for name, each in stated.items()}


def command(options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of `python -m trainer` with `arguments` under these settings."""
    for name, value in environment(options).items():
        monkeypatch.setenv(name, value)
    return program.main(arguments)


def without_rights(options: TrainerSettings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`python -m trainer` as somebody who is not root, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS, *arguments],
        cwd=ROOT,
        env=environment(options),
        check=False,
        capture_output=True,
        text=True,
    )


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
