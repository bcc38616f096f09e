"""The benchmark of workers that share a GPU, without one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import gpu_workers
from bench.classify import CannotRunError
from bench.stream import Stream


def test_without_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(CannotRunError, match="gpu_workers: torch sees no CUDA device here"):
        gpu_workers.run(["안녕"], 1)


def test_each_round_has_every_number_of_workers_and_the_last_is_held_against_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, int]] = []

    @contextmanager
    def running() -> Iterator[str]:
        yield f"broker {len(asked) // 3}"

    async def through(stream: Stream, _: Path, messages: list[bytes], count: int) -> float:
        asked.append((stream.servers, count))
        return float(len(messages) * count * len(asked))

    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setattr("bench.gpu_workers.broker.running", running)
    monkeypatch.setattr(gpu_workers, "through_kafka", through)
    row = gpu_workers.compare("model", Path("x"), [b"a", b"b"], 2)
    assert asked == [(f"broker {turn}", count) for turn in range(2) for count in (1, 2, 4)]
    assert row["1 worker, msg/s"] == (2 + 8) / 2
    assert row["4 workers, msg/s"] == (24 + 48) / 2
    assert row["4 over one"] == (12 + 6) / 2
