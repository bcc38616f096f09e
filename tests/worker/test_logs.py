"""What is said, and how often."""

import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from worker import logs
from worker.logs import REMEMBERED, REPEAT_SECONDS, Sparing


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """What `configure` does to the root logger is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


def line(text: str, name: str = "aiokafka.conn") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, "Unable connect to %s", (text,), None)


def test_a_library_says_the_same_once_in_a_while_and_we_say_all_we_have_to() -> None:
    now = [0.0]
    passes = Sparing(lambda: now[0]).filter
    assert [passes(line("node 1")) for _ in range(3)] == [True, False, False]
    assert passes(line("node 2"))
    assert [passes(line("node 1", "worker.lane")) for _ in range(2)] == [True, True]
    now[0] = REPEAT_SECONDS
    assert [passes(line("node 1")) for _ in range(2)] == [True, False]


def test_lines_that_are_never_the_same_fill_no_memory() -> None:
    sparing = Sparing(lambda: 0.0)
    for number in range(3 * REMEMBERED):
        assert sparing.filter(line(f"node {number}"))
    assert len(sparing._said) <= REMEMBERED


def test_it_is_in_place_once_logging_is_set_up() -> None:
    stream = StringIO()
    logs.configure("json", "info", stream)
    for _ in range(3):
        logging.getLogger("aiokafka.conn").error("Unable connect to %s", "node 1")
    assert stream.getvalue().count("Unable connect to node 1") == 1
