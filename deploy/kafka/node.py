"""One node of Apache Kafka: broker and controller in one JVM."""

import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy import process
from deploy.kafka.jars import FOLDER, classpath, java
from deploy.process import HOST, BrokerError, Process

STOP_SECONDS: Final = 40.0  # a clean stop hands its leaderships over first
FORMAT_SECONDS: Final = 60.0
# Compiled lightly and collected by one thread: three nodes share two cores with their clients.
JVM: Final = ("-Xms192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
PASSWORD: Final = "secret"  # noqa: S105  (of a broker that lives for a test)
USERS: Final = ("admin", "worker")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a node listens: `plain` for all, `secured` asks who it is, `inner` is behind a proxy.

    Who bootstraps from `proxy` is told to come to `proxy` ever after; what listens there and
    forwards to `inner` can be cut off.
    """

    plain: int
    secured: int
    inner: int
    proxy: int
    controller: int

    @classmethod
    def free(cls) -> "Ports":
        """Ports on which nothing listens now."""
        return cls(*(process.free_port() for _ in range(5)))


class Node:
    """A broker process that can be stopped, killed, paused and started again on its records."""

    def __init__(  # noqa: PLR0913, PLR0917  (all that makes it one of its cluster)
        self,
        number: int,
        folder: Path,
        ports: Mapping[int, Ports],
        heap_mb: int,
        overrides: Mapping[str, str],
        temporary: Path | None,
    ) -> None:
        """`ports` of all nodes, by number; `overrides` of broker settings.

        `temporary`: a folder that is removed if this process dies.
        """
        self._temporary = temporary
        self.number = number
        self.folder = folder
        self.ports = ports[number]
        self.log_file = folder / "broker.log"
        self._config = folder / "server.properties"
        self._heap_mb = heap_mb
        self._process: Process | None = None
        folder.mkdir(parents=True, exist_ok=True)
        settings = {**_settings(number, folder, ports), **overrides}
        lines = (f"{name}={value}\n" for name, value in settings.items())
        self._config.write_text("".join(lines), encoding="utf-8")

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.status is None

    @property
    def pid(self) -> int | None:
        """Its process's number, while it has one."""
        return None if self._process is None else self._process.pid

    def answers(self) -> bool:
        """Whether it answers clients. Raises BrokerError when its process has ended."""
        if self._process is not None and self._process.status is not None:
            raise BrokerError(
                f"node {self.number} ended with status {self._process.status}:\n"
                f"{process.tail(self.log_file)}"
            )
        return process.answers(self.ports.plain)

    def format(self, cluster_id: str) -> "subprocess.Popen[bytes]":
        """Begin to prepare its folder; a folder that is prepared stays as it is."""
        command = [*self._java(), "kafka.tools.StorageTool", "format", "--ignore-formatted"]
        command += ["--cluster-id", cluster_id, "--config", str(self._config)]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  (our own arguments, no shell)
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def start(self, *, outliving: bool = False) -> None:
        """Start the process; `outliving` leaves it running when this one ends."""
        if self.running:
            return
        command = [*self._java(), "kafka.Kafka", str(self._config)]
        self._process = Process(command, self.log_file, self._temporary, outliving=outliving)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _java(self) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={FOLDER / 'log4j2.properties'}"
        return [java(), *JVM, f"-Xmx{self._heap_mb}m", log4j, "-cp", classpath()]

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise BrokerError(f"node {self.number} is not running")
        self._process.send(number)

    def _end(self, how: signal.Signals) -> None:
        running, self._process = self._process, None
        if running is not None:
            running.end(how, STOP_SECONDS)


def _settings(number: int, folder: Path, ports: Mapping[int, Ports]) -> dict[str, str]:
    own = ports[number]
    voters = ",".join(f"{node}@{HOST}:{each.controller}" for node, each in ports.items())
    listeners = {
        "PLAIN": own.plain,
        "SECURED": own.secured,
        "INNER": own.inner,
        "CONTROLLER": own.controller,
    }
    advertised = {"PLAIN": own.plain, "SECURED": own.secured, "INNER": own.proxy}
    users = " ".join(f'user_{user}="{PASSWORD}"' for user in USERS)
    replicas = str(len(ports))
    in_sync = str(min(2, len(ports)))
    return {
        "process.roles": "broker,controller",
        "node.id": str(number),
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAIN",
        "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items()),
        "advertised.listeners": ",".join(
            f"{name}://{HOST}:{port}" for name, port in advertised.items()
        ),
        "listener.security.protocol.map": (
            "PLAIN:PLAINTEXT,SECURED:SASL_PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "listener.name.secured.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secured.plain.sasl.jaas.config": (
            f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
        ),
        # Whoever comes by the open listeners may do anything; `worker` needs rights for all.
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:admin",
        "log.dirs": str(folder / "data"),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "num.partitions": "9",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "9",
        # An open transaction is aborted at its timeout, not up to ten seconds later.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
        "log.cleaner.dedupe.buffer.size": "16777216",
        "log.cleaner.backoff.ms": "500",
        "log.segment.delete.delay.ms": "1000",  # of deleted topics
        # Noticed dead within 3 s instead of 9, so that a round of faults is not all waiting.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "unclean.leader.election.enable": "false",
    }
