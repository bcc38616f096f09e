"""What the benchmarks with a broker share: topics, a backlog, processes, and how far a group is."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, Final, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from worker import kafka, topics
from worker.settings import KafkaSettings, WorkerSettings

DEADLINE_SECONDS: Final = 240
GLANCE_SECONDS: Final = 0.05  # a look takes a millisecond or so of the same cores, so
FAR_SECONDS: Final = 0.5  # there are fewer
FAR: Final = 0.8  # until so much is done
ROOMS: Final = 64
STOP_SECONDS: Final = 30
WORKER: Final = (sys.executable, "-m", "worker", "run")
INSTANT: Final = (sys.executable, "-m", "bench.instant")
UNCHECKED: Final = (sys.executable, "-m", "bench.unchecked")  # and a folder, and a precision


@dataclass(frozen=True, slots=True)
class Stream:
    """The topics of one benchmark, and a group for each run; a given broker may have had others."""

    servers: str
    name: str
    partitions: int = 8
    tag: str = field(default_factory=lambda: secrets.token_hex(3))

    def settings(self, run: str) -> WorkerSettings:
        """Topics and group of `run`; all runs share the input."""
        name = f"{self.name}-{self.tag}"
        out = f"{name}.{run}"
        return WorkerSettings(
            group_id=out,
            input_topic=f"{name}.in",
            emotion_topic=f"{out}.out",
            review_topic=f"{out}.review",
            dead_letter_topic=f"{out}.dlq",
            models_topic=f"{name}.models",
        )

    def environment(self, run: str, **changes: str) -> dict[str, str]:
        """The same for a process; `changes` are further variables."""
        options = self.settings(run)
        names = ("group_id", "input_topic", "emotion_topic", "review_topic", "dead_letter_topic")
        return (
            os.environ
            | {f"WORKER_{name.upper()}": str(getattr(options, name)) for name in names}
            | {
                "KAFKA_BOOTSTRAP_SERVERS": self.servers,
                "WORKER_ADMIN_PORT": "0",
                "WORKER_DELIVERY": "exactly_once",  # as the tables say, whatever is set here
                "WORKER_LOG_LEVEL": "error",
            }
            | changes
        )

    async def create(self, run: str) -> None:
        """Make the topics of `run`, where they are missing."""
        connection = kafka.connection(KafkaSettings(bootstrap_servers=self.servers))
        await topics.create(connection, topics.wanted(self.settings(run), self.partitions), 0)

    async def remove(self) -> None:
        """Delete the topics of all runs from a given broker; any other ends with its bench."""
        if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
            return
        admin = AIOKafkaAdminClient(
            **kafka.connection(KafkaSettings(bootstrap_servers=self.servers))
        )
        await admin.start()
        try:
            ours = [each for each in await admin.list_topics() if self.tag in each]
            await admin.delete_topics(ours)
        finally:
            await admin.close()

    async def fill(self, messages: Sequence[bytes], rooms: int = ROOMS) -> None:
        """Put `messages` on the input topic, keyed by room."""
        keys = [f"room-{room}".encode() for room in range(rooms)]
        topic = self.settings("").input_topic
        producer = AIOKafkaProducer(
            bootstrap_servers=self.servers, linger_ms=5, max_batch_size=131_072
        )
        async with producer:
            for number, message in enumerate(messages):
                await producer.send(topic, message, keys[number % rooms])


@contextmanager
def opened(servers: str, name: str, partitions: int = 8) -> Iterator[Stream]:
    """A stream for the length of the block."""
    stream = Stream(servers, name, partitions)
    try:
        yield stream
    finally:
        asyncio.run(stream.remove())


def message(number: int, text: str, rooms: int = ROOMS) -> bytes:
    """A whole ChatMessage, as a platform would send it; a millisecond after the one before."""
    minute, second, millisecond = number // 60_000 % 60, number // 1000 % 60, number % 1000
    return orjson.dumps(
        {
            "message_id": f"m-{number}",
            "room_id": f"room-{number % rooms}",
            "user_id": f"user-{number % 1009}",
            "text": text,
            "sent_at": f"2026-11-24T09:{minute:02d}:{second:02d}.{millisecond:03d}+09:00",
        }
    )


def distinct(texts: Sequence[str], count: int) -> list[bytes]:
    """`count` messages, no two with the same text."""
    return [message(number, f"{texts[number % len(texts)]} {number}") for number in range(count)]


@contextmanager
def process(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `command` for the length of the block, and end it in order."""
    child = subprocess.Popen(command, env=environment)  # noqa: S603  (ours)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Work(NamedTuple):
    """How a backlog was worked off."""

    rate: float  # messages a second
    cost: float  # microseconds of CPU a message, of the process that did it


async def rate(
    servers: str, group: str, count: int, child: "subprocess.Popen[bytes]", began: float = 0.0
) -> Work:
    """Watch `group` from `began` (by default its first commit) until `count` messages are done.

    Its committed offsets are what is looked at: that costs next to nothing, and what is committed
    is published. Raises RuntimeError where nothing can be said.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        done = first = 0
        watching, used = bool(began), cpu_seconds(child.pid)
        deadline = monotonic() + DEADLINE_SECONDS
        while done < count:
            if child.poll() is not None:
                raise RuntimeError(f"{group}: ended by itself, exit code {child.returncode}")
            if monotonic() > deadline:
                raise RuntimeError(f"{group}: {done} of {count} in {DEADLINE_SECONDS} s")
            far = watching and done < FAR * count
            await asyncio.sleep(FAR_SECONDS if far else GLANCE_SECONDS)
            done = await _committed(admin, group)
            if done and not watching:
                first, began, used = done, perf_counter(), cpu_seconds(child.pid)
                watching = True
        if first >= count:
            raise RuntimeError(f"{group}: all of it was done at the first look; send more messages")
        seconds, used = perf_counter() - began, cpu_seconds(child.pid) - used
        return Work((count - first) / seconds, used * 1e6 / (count - first))
    finally:
        await admin.close()


async def _committed(admin: AIOKafkaAdminClient, group: str) -> int:
    offsets: Mapping[Any, Any] = await admin.list_consumer_group_offsets(group)
    return sum(max(0, each.offset) for each in offsets.values())


def resident(pid: int) -> float:
    """Bytes of memory that the process holds (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def cpu_seconds(pid: int) -> float:
    """Seconds of all cores that the process has used (Linux)."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
