"""The admin port, through real HTTP."""

from collections.abc import Iterator
from http.client import HTTPConnection
from time import monotonic

import orjson
import pytest

from worker.admin import Admin, Health
from worker.metrics import Metrics


@pytest.fixture
def health() -> Health:
    model = {"name": "maum", "version": "7", "since": "2024-05-01T12:00:00.123Z"}
    return Health(monotonic(), model, joined=True, kafka_reachable=True)


@pytest.fixture
def admin(health: Health) -> Iterator[Admin]:
    serving = Admin("127.0.0.1", 0, health, Metrics().registry)
    yield serving
    serving.close()


def get(admin: Admin, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", admin.port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_healthy_worker_is_live_and_ready(admin: Admin) -> None:
    assert get(admin, "/live")[0] == 200
    status, body = get(admin, "/ready")
    assert status == 200
    assert all(orjson.loads(body).values())


def test_an_event_loop_that_hangs_is_not_live(admin: Admin, health: Health) -> None:
    health.beat = monotonic() - 60
    status, body = get(admin, "/live")
    assert (status, orjson.loads(body)) == (503, {"event_loop": False, "inference": True})
    assert get(admin, "/ready")[0] == 503


def test_a_batch_that_hangs_is_not_live(admin: Admin, health: Health) -> None:
    health.device_busy_since = monotonic() - 600
    status, body = get(admin, "/live")
    assert (status, orjson.loads(body)) == (503, {"event_loop": True, "inference": False})


@pytest.mark.parametrize(
    ("field", "value", "check"),
    [
        ("model", None, "model"),
        ("joined", False, "partitions"),
        ("kafka_reachable", False, "kafka"),
    ],
)
def test_what_is_missing_is_named_and_the_worker_lives_on(
    admin: Admin, health: Health, field: str, value: object, check: str
) -> None:
    setattr(health, field, value)
    status, body = get(admin, "/ready")
    assert status == 503
    assert [name for name, well in orjson.loads(body).items() if not well] == [check]
    assert get(admin, "/live")[0] == 200


def test_the_model_is_told_once_there_is_one(admin: Admin, health: Health) -> None:
    status, body = get(admin, "/model")
    assert (status, orjson.loads(body)) == (200, health.model)
    health.model = None
    assert get(admin, "/model") == (503, b'{"model":null}')


def test_metrics_are_in_the_prometheus_format(admin: Admin) -> None:
    status, body = get(admin, "/metrics")
    assert status == 200
    assert b"# TYPE maum_records_total counter" in body


def test_other_paths_are_not_found_and_the_right_ones_named(admin: Admin) -> None:
    status, body = get(admin, "/admin")
    assert status == 404
    assert orjson.loads(body) == {"paths": ["/live", "/ready", "/metrics", "/model"]}
