"""One cell while it runs: its topics, its workers as processes, and what is done to them."""

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.kafka.cluster import Cluster as Brokers
from deploy.kafka.cluster import Role
from deploy.kafka.node import Node
from deploy.process import Process
from tests.chaos.feed import PARTITIONS
from tests.chaos.sender import Sender
from tests.chaos.watch import Watcher
from tests.kafka import harness, verifier
from worker import topics

if TYPE_CHECKING:
    from worker.settings import WorkerSettings

ROOT: Final = Path(__file__).parents[2]
SESSION_MS: Final = 6000  # the shortest that Apache Kafka allows by default
READY_SECONDS: Final = 60.0
EXIT_SECONDS: Final = 30.0
LEFT_SECONDS: Final = 15.0
TAKEN_SECONDS: Final = 30.0
MOVED_SECONDS: Final = 15.0


@dataclass(slots=True)
class Copier:
    """A worker process."""

    name: str
    process: Process
    log_file: Path
    sabotage: dict[str, Any] = field(default_factory=dict)  # what was planted in it
    wanted_exits: set[int] = field(default_factory=lambda: {0})

    def says(self, event: str) -> int:
        """How often it logged `event`."""
        return self.log_file.read_bytes().count(b'"event": "%s' % event.encode())

    @property
    def taken_in(self) -> int:
        """Messages whose texts it has tokenised."""
        path = self.log_file.with_suffix(".count")
        return int.from_bytes(path.read_bytes()) if path.exists() else 0

    def tail(self) -> str:
        """Its last lines."""
        return "\n".join(self.log_file.read_text(encoding="utf-8").splitlines()[-6:])


class Scene:
    """Topics of its own, workers, a watcher; what is done to them is noted in `faults`."""

    def __init__(
        self, brokers: Brokers, seed: str, changes: dict[str, Any], *, real: bool = False
    ) -> None:
        self.brokers = brokers
        self.random = random.Random(seed)  # noqa: S311  (repeatable, not secret)
        self.cluster = harness.Cluster(brokers.bootstrap_servers)
        self.settings: WorkerSettings = self.cluster.settings(
            **{
                "session_timeout_ms": SESSION_MS,
                "commit_interval_ms": 50.0,  # as workers have it by themselves
                "commit_records": 500,
                "review_sample_rate": 0.05,
                "max_batch_tokens": 1024,
                "max_message_bytes": 3000,
                "cache_entries": 20_000,
                **changes,
            }
        )
        self.real = real
        self.faults: list[tuple[str, float]] = []
        self.problems: list[str] = []
        self.copiers: list[Copier] = []
        self.messages = 0  # of this cell, as planned
        self.short = False  # each fault once
        self.partitions = PARTITIONS  # of the input, now
        self.closers: list[Callable[[], Awaitable[None]]] = []
        self.folder = Path(tempfile.mkdtemp(prefix="maum-chaos-"))
        outputs = [
            self.settings.emotion_topic,
            self.settings.review_topic,
            self.settings.dead_letter_topic,
        ]
        self.watcher = Watcher(brokers.bootstrap_servers, outputs)
        self.sender = Sender(brokers.bootstrap_servers, self.settings.input_topic)

    # Workers

    def add(self, *, servers: str | None = None, **sabotage: Any) -> Copier:  # noqa: ANN401
        """Start a worker process, with a fault planted in it where `sabotage` names one."""
        name = f"w{len(self.copiers) + 1}"
        log_file = self.folder / f"{name}.log"
        given = self.settings.model_dump(exclude_unset=True)
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": servers or self.brokers.bootstrap_servers,
            **{f"WORKER_{field.upper()}": str(value) for field, value in given.items()},
            "WORKER_LOG_FORMAT": "json",
            "WORKER_ADMIN_PORT": "0",
            "WORKER_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "CHAOS": orjson.dumps(
                {"real": self.real, "count": log_file.with_suffix(".count"), **sabotage},
                default=str,
            ).decode(),
        }
        command = [sys.executable, "-m", "tests.chaos.copier"]
        process = Process(command, log_file, self.folder, environment=environment)
        copier = Copier(name, process, log_file, sabotage)
        self.copiers.append(copier)
        return copier

    async def ready(self, *copiers: Copier) -> None:
        """Wait until they own what the group gave them."""
        waiting = copiers or tuple(self.alive)
        await self.until(lambda: all(each.says("ready") for each in waiting), "not all are ready")

    @property
    def alive(self) -> list[Copier]:
        """Those that run."""
        return [each for each in self.copiers if each.process.status is None]

    def any_worker(self) -> Copier:
        """One that runs, by the seed."""
        return self.random.choice(self.alive)

    def note(self, fault: str) -> None:
        """Something is done now."""
        self.faults.append((fault, monotonic()))

    async def stop(self, copier: Copier) -> None:
        """SIGTERM, and wait for its end."""
        self.note(f"stop {copier.name}")
        copier.process.send(signal.SIGTERM)
        await self.until(lambda: copier.process.status is not None, f"{copier.name} did not stop")

    def kill(self, copier: Copier) -> None:
        """SIGKILL."""
        self.note(f"kill {copier.name}")
        copier.wanted_exits = {-signal.SIGKILL}
        copier.process.end(signal.SIGKILL)

    async def sabotaged(self, copier: Copier) -> None:
        """Wait until what was planted in it has happened."""
        await self.until(lambda: copier.says("sabotage") > 0, f"{copier.name} is unharmed")
        self.note(f"{copier.name} is held up")

    async def killed(self, copier: Copier) -> None:
        """Wait until its sabotage has killed it."""
        await self.until(lambda: copier.process.status is not None, f"{copier.name} was not killed")
        copier.wanted_exits = {-signal.SIGKILL}
        self.note(f"{copier.name} killed itself")

    async def frozen(self, copier: Copier) -> None:
        """Wait until its sabotage has stopped it."""
        stat = Path(f"/proc/{copier.process.pid}/stat")
        await self.until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "not frozen")
        self.note(f"{copier.name} froze")

    def freeze(self, copier: Copier) -> None:
        """SIGSTOP."""
        self.note(f"freeze {copier.name}")
        copier.process.send(signal.SIGSTOP)

    def thaw(self, copier: Copier) -> None:
        """SIGCONT."""
        self.note(f"thaw {copier.name}")
        copier.process.send(signal.SIGCONT)

    @asynccontextmanager
    async def replaced(self, copier: Copier) -> AsyncIterator[None]:
        """Soon after the block the others must have taken its partitions over."""
        others = [each for each in self.alive if each is not copier]

        def taken() -> int:
            return sum(each.says("partition taken over") for each in others)

        before = taken()
        yield
        with suppress(TimeoutError):
            await self.until(lambda: taken() > before, "", TAKEN_SECONDS)
        if taken() == before:
            self.problems.append(f"nobody took over from {copier.name}: nothing is proven")

    @asynccontextmanager
    async def dropping(self, copier: Copier) -> AsyncIterator[None]:
        """By the end of the block it must have left work in flight to the next owner."""
        left = "work in flight is left to the next owner"
        before = copier.says(left)
        yield
        with suppress(TimeoutError):
            await self.until(lambda: copier.says(left) > before, "", LEFT_SECONDS)
        if copier.says(left) == before:
            self.problems.append(f"{copier.name} left nothing in flight: nothing is proven")

    # Brokers

    def duty(self, role: Role) -> tuple[Role, str, int]:
        """What a node in that role does for this cell: the arguments of the cluster's `holder`."""
        partition = self.random.randrange(9)
        name = {
            "leader": self.settings.input_topic,
            "group": self.settings.group_id,
            "transaction": f"{self.settings.group_id}.{self.settings.input_topic}.{partition}",
            "controller": "",
        }[role]
        return role, name, partition

    async def moved(self, duty: tuple[Role, str, int], node: Node) -> None:
        """Wait until another node does what `node` did."""
        deadline = monotonic() + MOVED_SECONDS
        while await self.brokers.holder(*duty) is node:
            if monotonic() > deadline:
                self.problems.append(f"no node took over as {duty[0]}: nothing is proven")
                return
            await self.pause(0.2)

    # Time

    async def pause(self, least: float, most: float | None = None) -> None:
        """Let some time pass, random by the seed."""
        await asyncio.sleep(self.random.uniform(least, most or least))

    async def until(
        self, true: Callable[[], bool], otherwise: str, seconds: float = READY_SECONDS
    ) -> None:
        """Wait for it. Raises TimeoutError with `otherwise` and the workers' last lines."""
        deadline = monotonic() + seconds
        while not true():
            if monotonic() > deadline:
                tails = "\n".join(f"{each.name}: {each.tail()}" for each in self.copiers)
                raise TimeoutError(f"{otherwise}\n{tails}")
            await asyncio.sleep(0.05)

    async def seen(self, least: int) -> None:
        """Wait until `least` results are visible."""
        await self.until(lambda: self.watcher.count >= least, f"fewer than {least} results")

    async def flowing(self) -> None:
        """Wait until every partition of the input has had an event from now on."""
        topic, now = self.settings.emotion_topic, monotonic()
        await self.until(
            lambda: len(self.watcher.heard(topic, now)) == self.partitions, "some are silent"
        )

    # Beginning and end

    async def begin(self, *, compacted: bool = False) -> None:
        """Create the topics and begin to watch."""
        await self.cluster.create(self.settings, PARTITIONS)
        if compacted:
            await self._compact()
        await self.sender.producer.start()
        await self.watcher.start()

    async def _compact(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers.bootstrap_servers)
        await admin.start()
        config = {
            "cleanup.policy": "compact",
            "segment.ms": "500",
            "min.cleanable.dirty.ratio": "0.01",
            "delete.retention.ms": "3600000",
        }
        try:
            topic = ConfigResource(ConfigResourceType.TOPIC, self.settings.input_topic, config)
            await admin.alter_configs([topic])
        finally:
            await admin.close()

    async def finish(self, seconds: float) -> None:
        """Wait for the last commit, and stop everybody: each must end as it should."""
        try:
            await verifier.settled(self.brokers.bootstrap_servers, self.settings, seconds)
            await self._drained()
        except TimeoutError as error:
            self.problems.append(f"not finished within {seconds:.0f} s: {error}")
        for copier in self.alive:
            copier.process.send(signal.SIGTERM)
        with suppress(TimeoutError):
            await self.until(lambda: not self.alive, "they do not stop", EXIT_SECONDS)
        for copier in self.copiers:
            status = copier.process.status
            if status is None:
                copier.process.end(signal.SIGKILL)
                self.problems.append(f"{copier.name} did not stop:\n{copier.tail()}")
            elif status not in copier.wanted_exits:
                self.problems.append(f"{copier.name} ended with {status}:\n{copier.tail()}")

    async def _drained(self) -> None:
        """The watcher has read all that is committed."""
        ends = {}
        for topic in self.watcher._topics:
            found = await verifier.ends(self.brokers.bootstrap_servers, topic, "read_committed")
            for number, end in found.items():
                ends[TopicPartition(topic, number)] = end
        consumer = self.watcher._consumer
        deadline = monotonic() + 20
        while behind := [at for at, end in ends.items() if await consumer.position(at) < end]:
            if monotonic() > deadline:
                raise TimeoutError(f"the watcher is behind on {behind}")
            await asyncio.sleep(0.1)

    async def close(self, *, keep: bool) -> None:
        """Leave nothing running; `keep` the workers' logs and the topics."""
        for copier in self.copiers:
            copier.process.end(signal.SIGKILL)
        await self.watcher.stop()
        await self.sender.producer.stop()
        for closer in self.closers:
            await closer()
        if not keep:
            shutil.rmtree(self.folder)
            await self._remove()

    async def _remove(self) -> None:
        """Its topics: a broker that starts after a crash looks through all that it has."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_topics([each.name for each in topics.wanted(self.settings, 1)])
        finally:
            await admin.close()
