"""The fault matrix: what goes wrong in each cell, while its messages stream."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from deploy.kafka.cluster import Role
from deploy.kafka.node import Node
from tests.chaos.proxy import Network
from tests.chaos.scene import SESSION_MS, Scene

ROLES: Final[tuple[Role, ...]] = ("leader", "group", "transaction", "controller")
BEYOND_SESSION: Final = SESSION_MS / 1000 + 3
WAITING_SECONDS: Final = 20.0  # more, until each has said that Kafka keeps it waiting
HANGS: Final = 9.0  # seconds at most that a frozen broker does
Faults = Callable[[Scene], Awaitable[None]]
Kind = Literal["mixed", "poison", "transactional", "compacted", "sentences"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A row of the matrix."""

    name: str
    faults: Faults
    workers: int = 3
    seconds: float = 20.0  # over which the messages are sent
    share: float = 1.0  # of the messages of a main cell
    input: Kind = "mixed"
    settings: Mapping[str, Any] = field(default_factory=dict)
    sabotage: Mapping[str, Any] = field(default_factory=dict)  # of the first worker
    brokers: Mapping[str, str] = field(default_factory=dict)  # overrides: a cluster of its own
    recovery: float | None = None  # seconds of silence allowed after the fault
    aborts: bool = False  # without an aborted transaction the fault did not happen
    broken: bool = False  # a negative control: the verifier has to object
    long: bool = False  # left out where time is short
    twin: str | None = ""  # its name at least once, where it differs; None: transactions alone

    @property
    def main(self) -> bool:
        """Whether it is one of those that the promise of exactly once rests on."""
        return self.share == 1.0 and self.settings.get("delivery") != "at_least_once"

    @property
    def at_least_once(self) -> bool:
        """Whether repeats are allowed."""
        return self.settings.get("delivery") == "at_least_once" and not self.broken


async def nothing(scene: Scene) -> None:
    await scene.pause(0.1)


async def add(scene: Scene) -> None:
    await scene.pause(3, 6)
    scene.note("add")
    await scene.ready(scene.add())


async def clean_stop(scene: Scene) -> None:
    for _ in range(1 if scene.short else 2):
        await scene.pause(2, 5)
        await scene.stop(scene.any_worker())
        await scene.pause(2, 4)
        await scene.ready(scene.add())


async def kill_at_random(scene: Scene) -> None:
    for number in range(1 if scene.short else 2):
        if number:
            await scene.flowing()  # each fault is one of its own
        await scene.pause(2, 4)
        scene.kill(scene.any_worker())
        await scene.ready(scene.add())


async def kill_amid(scene: Scene) -> None:
    """What they work at was there before them: some of it is done, most of it is not."""
    for part in (0.1,) if scene.short else (0.1, 0.2):
        await scene.seen(int(scene.messages * part))
        scene.kill(scene.any_worker())
        await scene.ready(scene.add())


async def kill_itself(scene: Scene) -> None:
    await scene.killed(scene.copiers[0])
    await scene.ready(scene.add())


async def zombie_at_random(scene: Scene) -> None:
    await scene.pause(2, 5)
    worker = scene.any_worker()
    scene.freeze(worker)
    async with scene.replaced(worker):
        await scene.pause(BEYOND_SESSION)
    scene.thaw(worker)


async def zombie_by_itself(scene: Scene) -> None:
    worker = scene.copiers[0]
    await scene.frozen(worker)
    async with scene.replaced(worker):
        await scene.pause(BEYOND_SESSION)
    scene.thaw(worker)


async def rescale(scene: Scene) -> None:
    await scene.pause(1, 3)
    scene.note("1 to 3")
    await scene.ready(scene.add(), scene.add())
    await scene.pause(2, 4)
    await scene.stop(scene.any_worker())


async def rescale_in_transactions(scene: Scene) -> None:
    """Others come, and one goes, while a worker has not committed what it has sent."""
    first = scene.copiers[0]
    await scene.sabotaged(first)
    async with scene.dropping(first):
        held_up = scene.add(**first.sabotage)
        await scene.ready(held_up, scene.add())
    await scene.sabotaged(held_up)
    async with scene.dropping(held_up):
        await scene.stop(scene.random.choice([each for each in scene.alive if each is not held_up]))


async def stuck(scene: Scene) -> None:
    """The first worker hangs on the device; others come while it does."""
    await scene.sabotaged(scene.copiers[0])
    await scene.pause(0.5)
    scene.note("add")
    async with scene.dropping(scene.copiers[0]):
        await scene.ready(scene.add())


async def overrun(scene: Scene) -> None:
    """The first worker's sabotage does it all: it takes too long somewhere."""
    await scene.sabotaged(scene.copiers[0])
    await scene.pause(10)


async def thrown_out(scene: Scene) -> None:
    """The first worker does not poll for too long, and the group gives its partitions away."""
    await scene.sabotaged(scene.copiers[0])
    async with scene.replaced(scene.copiers[0]):
        await scene.pause(10)


async def bounce(scene: Scene) -> None:
    for role in _roles(scene):
        duty = scene.duty(role)
        node = await scene.brokers.holder(*duty)
        scene.note(f"stop the {role} node {node.number}")
        await asyncio.to_thread(node.stop)
        await scene.moved(duty, node)
        await scene.pause(1, 2)
        await _back(scene, node)


async def kill_brokers(scene: Scene) -> None:
    for role in _roles(scene):
        duty = scene.duty(role)
        node = await scene.brokers.holder(*duty)
        scene.note(f"kill the {role} node {node.number}")
        await asyncio.to_thread(node.kill)
        await scene.moved(duty, node)
        await scene.pause(1, 2)
        await _back(scene, node)


async def freeze_brokers(scene: Scene) -> None:
    """A node is deposed without knowing it, and answers as before once it thaws."""
    for number, role in enumerate(_roles(scene)):
        if number:
            # What was sent to the last one waited until it thawed: each fault is one of its own.
            await scene.flowing()
            await scene.pause(1, 2)
        duty = scene.duty(role)
        node = await scene.brokers.holder(*duty)
        scene.note(f"freeze the {role} node {node.number}")
        node.pause()
        await scene.pause(7, HANGS)  # longer than the other nodes wait for it, and for a controller
        scene.note(f"thaw the {role} node {node.number}")
        node.resume()
        await scene.brokers.answered()
        await scene.moved(duty, node)  # it has heard, too


async def _back(scene: Scene, node: Node) -> None:
    node.start()
    await scene.brokers.answered()
    await scene.pause(1, 2)


def _roles(scene: Scene) -> list[Role]:
    """All, one after another; one of them, by the seed, where time is short."""
    return [scene.random.choice(ROLES)] if scene.short else list(ROLES)


async def coordinator_at_commit(scene: Scene) -> None:
    """The coordinator dies before the commit: the transaction's, or without one the group's."""
    role: Role = "transaction" if scene.settings.delivery == "exactly_once" else "group"
    flag = scene.folder / "flag"
    await scene.until(flag.exists, "the point was not reached")
    name = flag.read_text(encoding="utf-8")
    node = await scene.brokers.holder(role, name)
    scene.note(f"kill the {role} node {node.number}")
    await asyncio.to_thread(node.kill)
    flag.unlink()
    await scene.moved((role, name, 0), node)
    await _back(scene, node)


async def two_of_three(scene: Scene) -> None:
    await scene.pause(2, 4)
    # The broker that is left answers for the partitions it leads, but takes no results for them:
    # who has none to send tells of the partitions that the others led.
    waits = ("Kafka does not answer", "Kafka keeps us waiting")
    lines = (*waits, "a partition does not tell where its log ends")

    def told(some: tuple[str, ...]) -> int:
        return sum(each.says(line) for each in scene.alive for line in some)

    before = {each.name: sum(map(each.says, lines)) for each in scene.alive}
    waited = told(waits)
    nodes = scene.random.sample(list(scene.brokers.nodes.values()), 2)
    scene.note("kill two nodes of three")
    for node in nodes:
        await asyncio.to_thread(node.kill)
    await scene.pause(12)

    def silent() -> list[str]:
        return [
            each.name for each in scene.alive if sum(map(each.says, lines)) <= before[each.name]
        ]

    with suppress(TimeoutError):
        await scene.until(lambda: not silent(), "", WAITING_SECONDS)
    if silent():
        scene.problems.append(f"{', '.join(silent())} did not say that it waits for Kafka")
    # Where exactly once is tested, so many messages come that some are in hand.
    if scene.settings.delivery == "exactly_once" and told(waits) == waited:
        scene.problems.append("nobody said that its results are not taken")
    for node in nodes:
        node.start()
    await scene.brokers.answered()


async def cut_off(scene: Scene) -> None:
    """Nothing gets through for longer than a session, and nobody is told."""
    async with _networked(scene) as network:
        await scene.pause(2, 4)
        scene.note("cut off")
        network.freeze()
        async with scene.replaced(scene.copiers[-1]):
            await scene.pause(BEYOND_SESSION)
        network.mend()
        scene.note("back")
        await scene.pause(3)


async def connections_reset(scene: Scene) -> None:
    async with _networked(scene) as network:
        for _ in range(4):
            await scene.pause(1, 3)
            scene.note("reset")
            if not network.reset():
                scene.problems.append("there was no connection: nothing is proven")
        await scene.pause(3)


class _networked:  # noqa: N801  (reads as a verb)
    """A worker behind a network of its own, until the cell's last message is out."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._network = Network(node.ports for node in scene.brokers.nodes.values())

    async def __aenter__(self) -> Network:
        await self._network.start()
        self._scene.closers.append(self._network.stop)
        servers = self._scene.brokers.proxied_servers
        await self._scene.ready(self._scene.add(servers=servers))
        return self._network

    async def __aexit__(self, *_: object) -> None:
        """It stays until the end of the scene: the worker still needs it."""


async def more_partitions(scene: Scene) -> None:
    await scene.pause(1, 2)
    scene.note("9 to 12 partitions")
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.brokers.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_partitions({scene.settings.input_topic: NewPartitions(12)})
    finally:
        await admin.close()
    while len(await scene.sender.producer.partitions_for(scene.settings.input_topic)) < 12:
        await scene.sender.producer.client.force_metadata_update()
        await scene.pause(0.2)
    scene.partitions = 12
    await scene.pause(10)  # until consumers look at the topic again, every 5 s


async def idle(scene: Scene) -> None:
    """A stretch without messages, longer than the cluster remembers producers."""
    scene.sender.rest_at = half = scene.messages // 2
    await scene.until(
        lambda: not scene.sender.flowing.is_set(), "half of the messages are not sent yet"
    )
    await scene.seen(int(half * 0.9))
    await scene.pause(14)
    scene.note("on again")
    scene.sender.flowing.set()
    if scene.settings.delivery == "at_least_once":
        return  # outside of transactions the cluster takes a producer that it forgot for a new one
    await scene.until(
        lambda: any(each.says("partition interrupted") for each in scene.alive),
        "no producer was forgotten: nothing is proven",
    )


ONCE_MORE: Final = {"delivery": "at_least_once"}
KILL: Final = {"nth": 10, "do": "kill"}
SESSIONS: Final = 2 * SESSION_MS / 1000

EXACTLY_ONCE: Final = (
    # Where time is short, others show what those show that are left out.
    Cell("no fault", nothing, seconds=5, long=True),
    Cell("workers: one more", add, workers=2, recovery=5, long=True),
    Cell("workers: clean stops", clean_stop, seconds=25, recovery=5),
    Cell("workers: kill -9 at random", kill_at_random, seconds=30, recovery=SESSIONS),
    Cell(
        "workers: kill -9 after the send",
        kill_itself,
        sabotage={"at": "after_send", **KILL},
        aborts=True,
        recovery=SESSIONS,
        twin=None,
    ),
    Cell(
        "workers: kill -9 between offsets and commit",
        kill_itself,
        sabotage={"at": "before_commit", **KILL},
        aborts=True,
        recovery=SESSIONS,
        twin="kill -9 before the commit",
    ),
    Cell(
        "workers: kill -9 after the commit",
        kill_itself,
        sabotage={"at": "after_commit", **KILL},
        recovery=SESSIONS,
    ),
    Cell(
        "workers: zombie, frozen at random",
        zombie_at_random,
        seconds=25,
        recovery=SESSIONS,
        long=True,
    ),
    Cell(
        "workers: zombie, frozen after the send",
        zombie_by_itself,
        seconds=25,
        sabotage={"at": "after_send", "nth": 10, "do": "stop"},
        aborts=True,
        recovery=SESSIONS,
        twin=None,
    ),
    Cell(
        "workers: zombie, frozen before the commit",
        zombie_by_itself,
        seconds=25,
        sabotage={"at": "before_commit", "nth": 10, "do": "stop"},
        aborts=True,
        recovery=SESSIONS,
    ),
    Cell("workers: 1 to 3 to 2", rescale, workers=1, seconds=25, recovery=5),
    Cell(
        "workers: 1 to 3 to 2, transactions open",
        rescale_in_transactions,
        workers=1,
        seconds=25,
        # Longer than a worker waits for what is in flight when it has to give it up.
        sabotage={"at": "before_commit", "nth": 10, "do": "sleep", "seconds": 20.0},
        aborts=True,
        recovery=SESSIONS,
        twin="1 to 3 to 2, held up before the commit",
    ),
    Cell(
        "workers: a batch stuck through a revoke",
        stuck,
        workers=2,
        seconds=20,
        sabotage={"at": "engine", "nth": 20, "do": "sleep", "seconds": 20.0},
    ),
    Cell(
        "workers: a transaction outlives its timeout",
        overrun,
        sabotage={"at": "before_commit", "nth": 10, "do": "sleep", "seconds": 6.0},
        settings={"transaction_timeout_ms": 2000},
        aborts=True,
        recovery=SESSIONS,
        twin=None,
    ),
    Cell(
        "workers: slow inference, short transactions",
        overrun,
        sabotage={"at": "engine", "nth": 20, "do": "sleep", "seconds": 6.0},
        settings={"transaction_timeout_ms": 2000},
        long=True,
        twin="slow inference",
    ),
    Cell(
        "workers: max.poll.interval exceeded",
        thrown_out,
        sabotage={"at": "tokenizer", "nth": 5, "do": "sleep", "seconds": 9.0},
        settings={"max_poll_interval_ms": 3000},
    ),
    Cell("brokers: clean bounces", bounce, seconds=60, recovery=SESSIONS),
    Cell("brokers: kill -9", kill_brokers, seconds=60, recovery=SESSIONS),
    Cell(
        "brokers: frozen and thawed",
        freeze_brokers,
        seconds=60,
        # What was sent to it waits until it thaws: nobody knows sooner whether it was taken.
        recovery=HANGS + SESSIONS,
        long=True,
    ),
    Cell(
        "brokers: coordinator killed between offsets and commit",
        coordinator_at_commit,
        sabotage={"at": "before_commit", "nth": 10, "do": "wait"},
        recovery=SESSIONS,
        twin="brokers, coordinator killed before the commit",
    ),
    Cell("brokers: two of three lost", two_of_three, seconds=30, twin="two of three brokers lost"),
    Cell("network: cut off beyond the session", cut_off, workers=2, seconds=25),
    Cell("network: connections reset", connections_reset, workers=2, seconds=20),
    Cell("input: a quarter is poison", nothing, seconds=10, share=0.2, input="poison"),
    Cell(
        "input: transactional, a third aborted",
        kill_at_random,
        seconds=20,
        share=0.2,
        input="transactional",
        recovery=SESSIONS,
    ),
    Cell(
        "input: compacted, with holes",
        kill_amid,
        share=0.2,
        input="compacted",
        settings={"max_batch_tokens": 32},
        sabotage={"batch_seconds": 0.02},  # so that it lasts until the kill
    ),
    Cell("input: more partitions", more_partitions, seconds=20, share=0.2, recovery=10),
    Cell(
        "time: producer ids expired",
        idle,
        seconds=10,
        share=0.1,
        brokers={
            "transactional.id.expiration.ms": "5000",
            "transaction.remove.expired.transaction.cleanup.interval.ms": "1000",
            "producer.id.expiration.ms": "5000",
            "producer.id.expiration.check.interval.ms": "1000",
        },
    ),
    Cell(
        "real classifier: kill -9 at random",
        kill_at_random,
        workers=2,
        seconds=30,
        share=0.03,
        input="sentences",
        recovery=SESSIONS,
    ),
    Cell(
        "real classifier: brokers, kill -9",
        kill_brokers,
        seconds=60,
        share=0.03,
        recovery=SESSIONS,
        input="sentences",
        long=True,
    ),
)

SHORT_TWINS: Final = {  # played where time is short as well
    "brokers: kill -9",
    "network: cut off beyond the session",
    "workers: kill -9 between offsets and commit",
    "workers: zombie, frozen at random",
    "workers: 1 to 3 to 2",
}


def at_least_once(cell: Cell) -> Cell:
    """Its twin: the same faults with fewer messages, and repeats are allowed."""
    group, _, fault = cell.name.rpartition(": ")
    name = fault if group in {"", "workers", "network"} else f"{group}, {fault}"
    return replace(
        cell,
        name=f"at least once: {cell.twin or name}",
        share=min(cell.share, 0.2),
        settings={**cell.settings, **ONCE_MORE},
        aborts=False,
        long=cell.name not in SHORT_TWINS,
    )


# Cells whose fault one of the two things withstands that the promise rests on. Without the first,
# one producer a partition that fences the last owner's, zombies write; without the second, one
# transaction of results and offsets, what was done once is done again.
FENCED: Final = (
    "workers: zombie, frozen after the send",
    "workers: zombie, frozen before the commit",
    "workers: zombie, frozen at random",
    "network: cut off beyond the session",
)
ATOMIC: Final = (
    "workers: kill -9 between offsets and commit",
    "workers: kill -9 at random",
    "workers: zombie, frozen at random",
    "network: cut off beyond the session",
)
SHORT_CONTROLS: Final = {*FENCED[:2], ATOMIC[0]}


def unfenced(cell: Cell) -> Cell:
    """The same fault, and nobody is fenced."""
    return _broken(cell, "unfenced", sabotage={**cell.sabotage, "shared_producer": True})


def apart(cell: Cell) -> Cell:
    """The same fault at least once, judged as if it were exactly once."""
    return _broken(cell, "at least once", settings={**cell.settings, **ONCE_MORE})


def _broken(cell: Cell, how: str, **changes: Any) -> Cell:  # noqa: ANN401
    return replace(
        cell,
        name=f"negative control: {how}, {cell.name.rpartition(': ')[2]}",
        share=0.2,
        recovery=None,
        aborts=False,
        broken=True,
        long=cell.name not in SHORT_CONTROLS,
        **changes,
    )


BY_NAME: Final = {cell.name: cell for cell in EXACTLY_ONCE}
CONTROLS: Final = (
    *(unfenced(BY_NAME[name]) for name in FENCED),
    *(apart(BY_NAME[name]) for name in ATOMIC),
)

CELLS: Final = (
    *EXACTLY_ONCE,
    *(at_least_once(cell) for cell in EXACTLY_ONCE if cell.twin is not None),
    *CONTROLS,
)
