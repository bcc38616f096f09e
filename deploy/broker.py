"""The development broker, wherever one can be had.

`KAFKA_BOOTSTRAP_SERVERS` where it is set; else Apache Kafka in Docker where an engine answers;
else the embedded broker. None of them is for production.
"""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Protocol
from urllib.parse import SplitResult, urlsplit

from deploy.embedded import EmbeddedBroker
from deploy.process import HOST, BrokerError

if TYPE_CHECKING:
    from types import FrameType

    from testcontainers.community.kafka import KafkaContainer

__all__ = ["Broker", "BrokerError", "DockerBroker", "EmbeddedBroker", "GivenBroker", "running"]

DOCKER_IMAGE: Final = "confluentinc/cp-kafka:7.9.2"  # Apache Kafka 3.9, as testcontainers wants it
DOCKER_PROBE_SECONDS: Final = 2
DOCKER_START_SECONDS: Final = 90


class Broker(Protocol):
    """A running broker. `stop` may be called twice."""

    @property
    def kind(self) -> Literal["given", "docker", "embedded"]:
        """Which of the three it is."""

    @property
    def bootstrap_servers(self) -> str:
        """Comma-separated `host:port`, for a client."""

    def stop(self) -> None:
        """End it in order, and remove what it left. A given broker stays as it is."""

    def kill(self) -> None:
        """End it as a crash would. Raises BrokerError for a given broker."""


@dataclass(frozen=True, slots=True)
class GivenBroker:
    """Someone else's broker: used as it is."""

    bootstrap_servers: str
    kind: Literal["given"] = "given"

    def stop(self) -> None:
        """Do nothing."""

    def kill(self) -> None:
        """Refuse."""
        raise BrokerError(f"the broker at {self.bootstrap_servers} is not ours to kill")


class DockerBroker:
    """Kafka in a container, removed at `stop`; its reaper removes it if we die."""

    kind: Final = "docker"

    def __init__(self, container: "KafkaContainer") -> None:
        self._container = container
        self.bootstrap_servers: str = container.get_bootstrap_server()

    def stop(self) -> None:
        """Stop and remove the container."""
        self._container.stop()

    def kill(self) -> None:
        """Kill the container's process; `stop` is still due."""
        self._container.get_wrapped_container().kill()


@contextmanager
def running(data_dir: Path | None = None) -> Iterator[str]:
    """Yield the bootstrap servers of a broker that runs for the length of the block.

    `data_dir` keeps the records between runs; only the embedded broker can, so it takes Docker's
    place. Raises BrokerError where no broker can be started.
    """
    broker = start(data_dir)
    try:
        yield broker.bootstrap_servers
    finally:
        broker.stop()


def start(data_dir: Path | None = None) -> Broker:
    """Start the first kind that can be had, as `running` does; the caller stops it."""
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return GivenBroker(given)
    if data_dir is None and docker_answers():
        try:
            return _start_docker()
        except Exception as error:  # noqa: BLE001  (an engine without a registry, a proxy in between…)
            sys.stderr.write(
                f"Docker answers, but Kafka did not start in it ({type(error).__name__}: {error}); "
                "using the embedded broker\n"
            )
    embedded = EmbeddedBroker(data_dir)
    embedded.start()
    return embedded


def docker_answers() -> bool:
    """Whether a Docker engine answers a ping within a moment, where `DOCKER_HOST` says or usual.

    Asked by hand: Docker's own client takes longer to import, and leaks its socket on a refusal.
    """
    address = urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    try:
        with _connect(address) as engine:
            engine.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in engine.recv(64)
    except OSError:
        return False


def _connect(address: SplitResult) -> socket.socket:
    if address.scheme == "tcp" and address.hostname:
        target = (address.hostname, address.port or 2375)
        return socket.create_connection(target, DOCKER_PROBE_SECONDS)
    if address.scheme != "unix":
        raise OSError(f"no quick way to ask {address.scheme}")
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(DOCKER_PROBE_SECONDS)
        connection.connect(address.path)
    except OSError:
        connection.close()
        raise
    return connection


def _start_docker() -> DockerBroker:
    from testcontainers.community.kafka import KafkaContainer  # noqa: PLC0415  (lazy, as above)

    container = KafkaContainer(DOCKER_IMAGE).with_kraft()
    # One node: the defaults (three replicas, two in sync) would refuse every transaction.
    container.with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
    container.with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
    try:
        container.start(timeout=DOCKER_START_SECONDS)
        return DockerBroker(container)
    except BaseException:
        container.stop()
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the embedded broker in the foreground until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.broker",
        description="Run a Kafka broker on this machine, for development only.",
    )
    parser.add_argument("--port", type=int, default=9092, help="port to listen on (9092)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="folder that keeps the records (default: a temporary one, removed at the end)",
    )
    options = parser.parse_args(arguments)

    signal.signal(signal.SIGTERM, _interrupt)
    broker = EmbeddedBroker(options.data_dir, options.port)
    try:
        broker.start()
        kept = f"records in {options.data_dir}" if options.data_dir else "records are not kept"
        sys.stdout.write(
            f"Kafka for development only at {HOST}:{broker.port} ({kept}). Ctrl-C stops it.\n"
        )
        sys.stdout.flush()
        status = broker.wait()
        sys.stderr.write(f"the broker ended by itself, status {status}:\n{broker.log_tail()}\n")
    except BrokerError as error:
        sys.stderr.write(f"{error}\n")
    except KeyboardInterrupt:
        return 0
    finally:
        broker.stop()
    return 1


def _interrupt(_number: int, _frame: "FrameType | None") -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
