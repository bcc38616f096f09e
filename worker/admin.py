"""The admin port: /live, /ready, /metrics, /model.

Served by a thread, so it answers when the loop hangs.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from time import monotonic
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

LOOP_SECONDS: Final = 10.0  # without a beat of the event loop, the process is not well
DEVICE_SECONDS: Final = 120.0  # a batch that takes longer hangs

StartResponse = Callable[[str, list[tuple[str, str]]], object]


@dataclass(slots=True)
class Health:
    """What the worker tells of itself; written on the event loop, read by the admin thread."""

    beat: float  # monotonic seconds of the event loop's last beat
    model: dict[str, str] | None = None
    device_busy_since: float | None = None  # monotonic seconds
    joined: bool = False
    kafka_reachable: bool = False

    def live(self) -> dict[str, bool]:
        """Checks of /live."""
        now = monotonic()
        busy = self.device_busy_since
        return {
            "event_loop": now - self.beat < LOOP_SECONDS,
            "inference": busy is None or now - busy < DEVICE_SECONDS,
        }

    def ready(self) -> dict[str, bool]:
        """Checks of /ready."""
        return {
            **self.live(),
            "model": self.model is not None,
            "kafka": self.kafka_reachable,
            "partitions": self.joined,
        }


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  (the base's)
        """Probes come every second; they are not worth a line each."""


class Admin:
    """Serves `health` and `registry` until closed."""

    def __init__(self, host: str, port: int, health: Health, registry: CollectorRegistry) -> None:
        """Bind. Raises OSError when the address is taken."""
        self._health = health
        self._registry = registry
        self._server = make_server(host, port, self._answer, _Server, _Silent)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="admin", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        status, kind, body = self._page(str(environ.get("PATH_INFO", "/")))
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def _page(self, path: str) -> tuple[str, str, bytes]:
        if path == "/live":
            return _checks(self._health.live())
        if path == "/ready":
            return _checks(self._health.ready())
        if path == "/metrics":
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path == "/model":
            if self._health.model is None:
                return "503 Service Unavailable", "application/json", b'{"model":null}'
            return "200 OK", "application/json", orjson.dumps(self._health.model)
        pages = orjson.dumps({"paths": ["/live", "/ready", "/metrics", "/model"]})
        return "404 Not Found", "application/json", pages


def _checks(checks: dict[str, bool]) -> tuple[str, str, bytes]:
    status = "200 OK" if all(checks.values()) else "503 Service Unavailable"
    return status, "application/json", orjson.dumps(checks)
