"""The numbered messages of a cell."""

import random
from collections.abc import Iterator

from tests.kafka.harness import TRACEPARENT, Input, chat
from tests.kafka.test_delivery import POISON

PARTITIONS = 9
ROOMS = 50


def mixed(count: int, poison: float = 0.01) -> Iterator[Input]:
    """Message `n` in partition `n % 9`: rooms as keys, low margins, tombstones, some poison."""
    randomly = random.Random(count)  # noqa: S311  (the same messages each time)
    for number in range(count):
        key = f"room{number % ROOMS}".encode() if number % 3 else None
        headers = [("traceparent", TRACEPARENT)] if number % 16 == 0 else []
        value: bytes | None = chat(number, room_id=f"room{number % ROOMS}", sent_at=number)
        chance = randomly.random()
        if chance < poison:
            value = POISON[number % len(POISON)][0]
        elif chance < poison + 0.005:
            value, key = None, key or b"gone"
        elif chance < 0.1:
            value = chat(number, f"e{number % 6} low n{number % 4096}")
        yield Input(value, key, headers, number % PARTITIONS)


def sentences(count: int, texts: list[str]) -> Iterator[Input]:
    """Real sentences, for the real classifier."""
    for number in range(count):
        text = texts[number % len(texts)]
        key = f"room{number % ROOMS}".encode()
        yield Input(chat(number, text), key, (), number % PARTITIONS)
