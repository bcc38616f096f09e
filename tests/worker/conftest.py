"""What several of the worker's tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import tiny


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Derived models go here, and not to the cache of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "maum"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model; copy it before changing it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny.save(folder)
    return folder


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings from outside: neither the environment's nor a .env file's."""
    for name in os.environ:
        if name.startswith(("WORKER_", "KAFKA_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
