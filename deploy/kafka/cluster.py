"""Three nodes of Apache Kafka on this machine, for tests and for `make kafka-up`."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final, Literal

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError

from deploy import process
from deploy.kafka.jars import classpath
from deploy.kafka.node import FORMAT_SECONDS, Node, Ports
from deploy.process import HOST, BrokerError

NODES: Final = 3
HEAP_MB: Final = 448
START_SECONDS: Final = 120.0
CLUSTER_ID: Final = "bWF1bS1rYWZrYS10ZXN0cw"  # any 16 bytes in base64
_ACTIVE: Final = re.compile(r"Becoming the active controller at epoch (\d+)")

Role = Literal["leader", "group", "transaction", "controller"]


class Cluster:
    """Nodes 1 to `nodes`; `data_dir` outlives them, a temporary folder does not."""

    def __init__(
        self,
        data_dir: Path | None = None,
        nodes: int = NODES,
        overrides: Mapping[str, str] | None = None,
        heap_mb: int = HEAP_MB,
    ) -> None:
        """`overrides`: broker settings that differ. Raises BrokerError without Java and Maven."""
        classpath()  # before anything is left behind
        self._temporary = data_dir is None
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="maum-kafka-"))
        ports = {number: Ports.free() for number in range(1, nodes + 1)}
        temporary = self.data_dir if self._temporary else None
        self.nodes = {
            number: Node(
                number, self.data_dir / str(number), ports, heap_mb, overrides or {}, temporary
            )
            for number in ports
        }

    @property
    def bootstrap_servers(self) -> str:
        """For clients that nothing is known of."""
        return self._servers("plain")

    @property
    def secured_servers(self) -> str:
        """For clients that say who they are (SASL PLAIN)."""
        return self._servers("secured")

    @property
    def proxied_servers(self) -> str:
        """For clients that go through proxies, which someone has to run."""
        return self._servers("proxy")

    def _servers(self, listener: str) -> str:
        return ",".join(f"{HOST}:{getattr(node.ports, listener)}" for node in self.nodes.values())

    async def start(self, *, outliving: bool = False) -> None:
        """Start all nodes, and return when all answer. Raises BrokerError with a log's last lines.

        `outliving` leaves the nodes running when this process ends.
        """
        formatting = {number: node.format(CLUSTER_ID) for number, node in self.nodes.items()}
        for number, each in formatting.items():
            if await asyncio.to_thread(each.wait, FORMAT_SECONDS):
                log_file = self.nodes[number].log_file
                raise BrokerError(f"node {number} has no storage:\n{process.tail(log_file)}")
        for node in self.nodes.values():
            node.start(outliving=outliving)
        await self.answered()

    async def answered(self, seconds: float = START_SECONDS) -> None:
        """Wait until every running node answers, and knows of all others that run."""
        running = [node for node in self.nodes.values() if node.running]
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            if all(node.answers() for node in running) and await self._seen() >= len(running):
                return
            await asyncio.sleep(0.1)
        tails = "\n".join(process.tail(node.log_file) for node in running)
        raise BrokerError(f"not all nodes answered within {seconds:.0f} s:\n{tails}")

    async def _seen(self) -> int:
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap_servers)
        try:
            await client.bootstrap()
            return len(client.cluster.brokers())
        except KafkaError:
            return 0
        finally:
            await client.close()

    async def holder(self, role: Role, name: str = "", partition: int = 0) -> Node:
        """The node that leads partition `partition` of `name`, coordinates it, or controls all."""
        if role == "controller":
            return self._controller()
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap_servers)
        await client.bootstrap()
        try:
            if role == "leader":
                return self.nodes[await _leader(client, name, partition)]
            kind = CoordinationType.GROUP if role == "group" else CoordinationType.TRANSACTION
            return self.nodes[await _coordinator(client, kind, name)]
        finally:
            await client.close()

    def _controller(self) -> Node:
        """By the logs: clients are told of a broker that forwards, not of the controller."""
        epochs = {}
        for number, node in self.nodes.items():
            if node.running:
                found = _ACTIVE.findall(node.log_file.read_text(encoding="utf-8", errors="replace"))
                epochs[number] = max(map(int, found), default=-1)
        return self.nodes[max(epochs, key=epochs.__getitem__)]

    def stop(self) -> None:
        """End all nodes, those without work to save first; remove a temporary folder."""
        for node in self.nodes.values():
            if self._temporary:
                node.kill()
            else:
                node.stop()
        if self._temporary:
            shutil.rmtree(self.data_dir, ignore_errors=True)


@contextmanager
def running() -> Iterator[Cluster]:
    """A cluster that runs for the length of the block, on a folder that goes with it.

    Raises BrokerError.
    """
    cluster = Cluster()
    try:
        asyncio.run(cluster.start())
        yield cluster
    finally:
        cluster.stop()


async def _leader(client: AIOKafkaClient, name: str, partition: int) -> int:
    client.add_topic(name)
    deadline = monotonic() + START_SECONDS
    while True:
        await client.force_metadata_update()
        # No public way; -1 is a partition between two leaders.
        known = client.cluster._partitions.get(name, {}).get(partition)  # noqa: SLF001
        if known is not None and known.leader >= 0:
            return int(known.leader)
        if monotonic() > deadline:
            raise BrokerError(f"{name}-{partition} has had no leader for {START_SECONDS:g} s")
        await asyncio.sleep(0.2)


async def _coordinator(client: AIOKafkaClient, kind: CoordinationType, name: str) -> int:
    deadline = monotonic() + START_SECONDS
    while True:
        try:
            return int(await client.coordinator_lookup(kind, name))
        except KafkaError:  # its topic is only being made, or between two leaders
            if monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
