"""The parts of `run` that need no Kafka."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from worker import serve
from worker.admin import Health
from worker.classifier import ModelId
from worker.metrics import Metrics
from worker.settings import KafkaSettings, WorkerSettings

from .fakes import FakeEngine, fake_classifier, inference_of

ROOT = Path(__file__).parents[2]


def models(metrics: Metrics) -> list[tuple[dict[str, str], float]]:
    """The labels and the value of each model that is told of."""
    return [
        (sample.labels, sample.value)
        for family in metrics.registry.collect()
        if family.name == "maum_model_info"
        for sample in family.samples
    ]


def test_the_model_that_serves_is_told_and_no_other() -> None:
    metrics, health = Metrics(), Health(beat=monotonic())
    old = fake_classifier(FakeEngine(), ModelId("maum", "7"))
    new = fake_classifier(FakeEngine(precision="int8"), ModelId("maum", "8"))
    inference = inference_of(old)
    assert models(metrics) == []
    serve.show(old, metrics, health)
    told = {"name": "maum", "version": "7", "engine": "fake-cpu", "precision": "fp32"}
    assert models(metrics) == [(told, 1.0)]
    serve.swap(inference, new, metrics, health)
    assert models(metrics) == [(told | {"version": "8", "precision": "int8"}, 1.0)]
    assert inference.classifier is new
    assert health.model is not None
    assert {name: value for name, value in health.model.items() if name != "since"} == models(
        metrics
    )[0][0]


def test_an_admin_port_that_is_in_use_is_a_wrong_setting_in_one_line(tmp_path: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WORKER_", "KAFKA_"))}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "worker", "run"],
            cwd=tmp_path,
            env=kept | {"PYTHONPATH": str(ROOT), "WORKER_ADMIN_PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"worker: WORKER_ADMIN_PORT: 127.0.0.1:{port} cannot be used (")
    assert line.endswith("); choose another, or 0 for none")
    assert done.stdout == ""


async def test_a_worker_that_is_cancelled_from_within_has_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(serve, "serve", cancelled)
    kafka_settings = KafkaSettings(bootstrap_servers="nowhere:1", _env_file=None)
    options = WorkerSettings(admin_port=0, _env_file=None)
    assert await serve.run(kafka_settings, options) == 1
    assert "cancelled from within" in capsys.readouterr().err


def serves_admin(port: int) -> bool:
    options = WorkerSettings(admin_port=port, _env_file=None)
    admin = serve._open_admin(options, Health(beat=monotonic()), Metrics())
    if admin is None:
        return False
    with socket.create_connection(("127.0.0.1", admin.port), timeout=10):
        admin.close()
    return True


def test_the_admin_port_0_turns_it_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    assert not serves_admin(0)
    assert serves_admin(free)
