"""A registry with versions in it, and one that does not answer."""

import errno
from pathlib import Path
from typing import Any

from schemas.promotion import ModelPromotion
from trainer import promote
from trainer.settings import TrainerSettings


def put(
    model: Path, options: TrainerSettings, day: str = "2026-11-24", expected: str | None = None
) -> ModelPromotion:
    stated = promote.state(
        model, options, made_at=f"{day}T04:00:00.000Z", metrics={"macro_f1": 0.8}
    )
    return promote.promote(model, stated, options, expected=expected)


class Failing:
    """A file system of which one call fails, as of an object store that is away."""

    def __init__(self, files: Any, call: str) -> None:  # noqa: ANN401
        self.files = files
        self.call = call

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        def fail(*_: object, **__: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        return fail if name == self.call else getattr(self.files, name)
