"""The whole thing on one machine: broker, worker, sample chat in, emotions out, a summary.

`make demo`, or `python -m examples.demo`. The broker is the one that `KAFKA_BOOTSTRAP_SERVERS`
names (with topics of the demo's own, removed at the end), else Kafka in Docker, else the embedded
one. Exits 0 where every record got exactly one result, 1 where not, 130 on Ctrl-C.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy import broker
from examples import command, serving, stack
from examples.screen import Screen
from examples.stack import DemoError
from examples.tally import Tally
from schemas import deadletter
from schemas.emotion import EmotionEvent

CHAT: Final = Path(__file__).with_name("chat.tsv")
RECORDS_A_SECOND: Final = 40
SILENCE_SECONDS: Final = 15.0  # so long after the last result, and still some are missing: give up
REPEAT_SECONDS: Final = 1.0  # how long to read on when all are there: a repeat would show
# What the worker cannot read: for the dead letters.
POISON: Final = (
    '{"message_id": "p1", "text": "옛날 인코딩"}'.encode("euc-kr"),
    "JSON이 아니라 그냥 글".encode(),
    '{"message_id": "p3", "user_id": "본문 없는 사람"}'.encode(),
    '{"message_id": "p4", "text": "같은 이름이", "text": "두 번"}'.encode(),
    b'{"message_id": "p5", "text": 42}',
    '["객체가", "아니라", "목록"]'.encode(),
)


class Record(NamedTuple):
    """One record to send: a chat message, or `poison` in its place."""

    room: str
    user: str
    text: str
    poison: bytes | None = None

    def value(self, message_id: str) -> bytes:
        """What goes to Kafka."""
        if self.poison is not None:
            return self.poison
        message = {
            "message_id": message_id,
            "room_id": self.room,
            "user_id": self.user,
            "text": self.text,
            "sent_at": time.time_ns() // 1_000_000,
        }
        return json.dumps(message, ensure_ascii=False).encode()


def records(limit: int | None = None) -> list[Record]:
    """The chat's first `limit` messages, with the poison spread evenly among them."""
    lines = CHAT.read_text(encoding="utf-8").splitlines()[1:][:limit]
    wanted = [Record(room, user, text) for room, user, text in (line.split("\t") for line in lines)]
    for number, value in reversed(list(enumerate(POISON, start=1))):
        place = number * len(lines) // (len(POISON) + 1)
        wanted.insert(place, Record(wanted[place].room, "", "", value))
    return wanted


async def send(producer: AIOKafkaProducer, topic: str, wanted: list[Record], tally: Tally) -> None:
    """Send at an even pace. A room is a key: it stays in one partition, and so in order."""
    acknowledged, start = [], time.monotonic()
    for number, record in enumerate(wanted):
        await asyncio.sleep(start + number / RECORDS_A_SECOND - time.monotonic())
        sent_at, value = time.monotonic(), record.value(f"demo-{number}")
        future = await producer.send(topic, value, key=record.room.encode())
        acknowledged.append((record, sent_at, future))
    for record, sent_at, future in acknowledged:
        there = await future
        tally.sent[there.partition, there.offset] = sent_at
        if record.poison is not None:
            tally.poison.add((there.partition, there.offset))


async def stream(
    connection: dict[str, Any],
    told: dict[str, str],
    wanted: list[Record],
    screen: Screen,
    check_worker: Callable[[], None],
) -> Tally:
    """Send everything, and read until every record has its result. Raises DemoError, KafkaError."""
    tally = Tally()
    topics = [told[f"WORKER_{name}_TOPIC"] for name in ("EMOTION", "DEAD_LETTER", "REVIEW")]
    reading = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    async with (
        AIOKafkaConsumer(*topics, **connection, **reading) as consumer,
        AIOKafkaProducer(**connection, enable_idempotence=True) as producer,
    ):
        sending = asyncio.create_task(send(producer, told["WORKER_INPUT_TOPIC"], wanted, tally))
        heard, patience = time.monotonic(), SILENCE_SECONDS
        try:
            while not sending.done() or time.monotonic() - heard < patience:
                check_worker()
                for source, batch in (await consumer.getmany(timeout_ms=200)).items():
                    heard = time.monotonic()
                    for output in batch:
                        take(output, topics.index(source.topic), wanted, tally, screen)
                patience = REPEAT_SECONDS if len(tally.seen) >= len(wanted) else SILENCE_SECONDS
            await sending
        finally:
            sending.cancel()
    return tally


def take(output: Any, kind: int, wanted: list[Record], tally: Tally, screen: Screen) -> None:  # noqa: ANN401  (aiokafka's ConsumerRecord)
    """Count and show one output record: an emotion event (0), a dead letter (1), a review (2)."""
    if kind == 0:
        event = EmotionEvent.model_validate_json(output.value)
        record = wanted[int(event.message_id.removeprefix("demo-"))]
        tally.take((event.source.partition, event.source.offset), dead=False)
        tally.emotions[event.emotion] += 1
        tally.low_margin += event.low_margin
        mark = "  low margin" if event.low_margin else ""
        text = f"{record.user}: {record.text}"
        screen.event(record.room, text, event.emotion, event.confidence, mark)
    elif kind == 1:
        marks = {name: value.decode() for name, value in output.headers}
        place = int(marks[deadletter.PARTITION]), int(marks[deadletter.OFFSET])
        tally.take(place, dead=True)
        text = output.value.decode(errors="replace")
        screen.dead_letter(output.key.decode(), text, marks[deadletter.REASON])
    else:
        tally.reviews += 1


def demonstrate(limit: int | None, screen: Screen) -> int:
    """Start everything, stream, sum up, stop everything."""
    started = ExitStack()
    try:
        folder = Path(started.enter_context(TemporaryDirectory(prefix="maum-demo-")))
        with screen.step("starting a broker"):
            running = broker.start()
            started.callback(running.stop)
        told, log = stack.environment(running), folder / "worker.log"
        with screen.step(f"creating topics ({running.kind} broker, {running.bootstrap_servers})"):
            connection = started.enter_context(stack.topics(running, told))
        with screen.step("starting the worker, exactly once"):
            worker = started.enter_context(serving.worker(told, log))
            serving.wait_until_ready(worker, told, log)
        screen.say()
        tally = asyncio.run(
            stream(connection, told, records(limit), screen, lambda: serving.check(worker, log))
        )
        screen.summary(tally)
        if tally.faults():
            raise DemoError(f"not exactly once; {serving.last_lines(log)}")
    finally:
        command.ignore_signals()  # a second Ctrl-C must not cut this short
        with started, screen.step("stopping everything"):  # even where nobody reads the screen
            started.close()
    if worker.status:
        raise DemoError(f"the worker did not stop in order: status {worker.status}")
    return command.DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--limit", type=int, help="send only so many of the messages")
    options = parser.parse_args(arguments)
    if options.limit is not None and options.limit < 1:
        parser.error("--limit: at least 1")
    return command.run("demo", lambda: demonstrate(options.limit, Screen()))


if __name__ == "__main__":
    sys.exit(main())
