"""Small models and data that several of the trainer's tests share."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from schemas.emotion import EMOTIONS
from tests.worker import tiny
from trainer import stage, tables
from trainer.dataset import Labelled
from trainer.recipe import Recipe
from trainer.settings import TrainerSettings
from trainer.stage import Numbers

from .topic import Topic

# A tiny model knows these letters: each emotion has words of its own, so that it can be learned.
WORDS = dict(zip(EMOTIONS, ("화나게", "떨려", "ㅠㅠ", "안녕", "왜", "좋아"), strict=True))
FILLER = ("오늘", "진짜", "내일", "너무", "연락을", "가나다", "마바사", "자꾸", "글", "길")
# The golden set speaks of other things: the firewall would find it in the training set otherwise.
GOLDEN_FILLER = ("구름", "바다", "버스", "산책", "창문", "커피", "의자", "수첩", "노트", "점심")


def chat(
    count: int, seed: int, name: str = "t", filler: tuple[str, ...] = FILLER
) -> list[Labelled]:
    """`count` labelled texts, the emotions in turn, told by one word each."""
    draws = Random(seed)  # noqa: S311  (no secret)
    rows = []
    for place in range(count):
        emotion = EMOTIONS[place % 6]
        words = [draws.choice(filler) for _ in range(draws.randint(2, 6))]
        words.insert(draws.randrange(len(words)), WORDS[emotion])
        rows.append(Labelled(f"{name}{place}", f"{' '.join(words)} {place}", emotion))
    return rows


def row(
    number: int, reason: str = "low_margin", margin: float = 0.1, version: str = "1"
) -> dict[str, Any]:
    """A review sample, as a snapshot holds it."""
    return {
        "id": f"chat-0-{number}",
        "text": f"글 {number}",
        "emotion": EMOTIONS[number % 6],
        "confidence": 0.5,
        "margin": margin,
        "reason": reason,
        "inclusion_probability": 1.0 if reason == "low_margin" else 0.01,
        "model_name": "maum",
        "model_version": version,
        "classified_at": f"2026-11-2{version}T04:00:00.000Z",
    }


def tsv(path: Path, rows: list[Labelled]) -> Path:
    """Write labelled rows."""
    lines = ["id\temotion\ttext", *(f"{row.id}\t{row.emotion}\t{row.text}" for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@contextmanager
def full_after(bytes_: int) -> Iterator[None]:
    """No file can grow beyond this, as on a disk that has no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model, as in the worker's tests."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny.save(folder)
    return folder


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings from outside, and nothing left outside."""
    for name in list(os.environ):
        if name.startswith(("WORKER_", "KAFKA_", "TRAINER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def s3_at(endpoint: str) -> dict[str, Any]:
    """What s3fs has to know of an S3 that believes everybody and is asked once."""
    return {
        "endpoint_url": endpoint,
        "key": "anybody",
        "secret": "anything",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The address of an S3 on this machine, with a bucket of the name `bucket`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    fsspec.filesystem("s3", **s3_at(endpoint)).mkdir("bucket")
    yield endpoint
    server.stop()


@pytest.fixture
def bucket(
    object_store: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """A URL there, of nobody else, that trainer and worker reach without being told more."""
    monkeypatch.setitem(fsspec.config.conf, "s3", s3_at(object_store))
    return f"s3://bucket/{abs(hash(request.node.nodeid))}"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of what is synced to the disk, in order."""
    found: list[int] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        found.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return found


@pytest.fixture
def options(tmp_path: Path, tiny_model: Path) -> TrainerSettings:
    """Settings for a fit that takes a second or two."""
    return TrainerSettings(
        registry=str(tmp_path / "registry"),
        work=tmp_path / "runs",
        teacher=str(tiny_model),
        student=str(tiny_model),
        max_length=32,
        epochs=6,
        batch_size=16,
        teacher_learning_rate=3e-3,
        student_learning_rate=3e-3,
        threads=1,
        resamples=200,
        golden=tsv(tmp_path / "golden.tsv", chat(120, 99, "g", GOLDEN_FILLER)),
        labelled=tsv(tmp_path / "labelled.tsv", chat(240, 1)),
    )


@pytest.fixture(params=["folder", "memory", "s3"])
def given(request: pytest.FixtureRequest, options: TrainerSettings) -> TrainerSettings:
    """Settings with a registry on a disk, in memory, and in an object store."""
    if request.param == "folder":
        return options
    if request.param == "s3":
        return options.model_copy(update={"registry": request.getfixturevalue("bucket")})
    fsspec.filesystem("memory").store.clear()
    return options.model_copy(update={"registry": "memory://models"})


@pytest.fixture
def topic(servers: str, options: TrainerSettings) -> Topic:
    """A review topic of two partitions, and one of models."""
    found = Topic(servers, options)
    found.create()
    return found


@pytest.fixture
def said() -> list[str]:
    """The lines that `collected` says."""
    return []


@pytest.fixture
def collected(options: TrainerSettings, said: list[str]) -> Recipe:
    """A recipe with one snapshot of twelve samples."""

    def make(folder: Path) -> Numbers:
        tables.write(folder / "samples.parquet", [row(number) for number in range(12)])
        return {}

    stage.run(options.work, "collect", {}, {}, make)
    return Recipe(options, said.append, {})
