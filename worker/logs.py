"""Logging: structlog, for eyes (console) or machines (json). Never a message's text."""

import logging
import sys
from collections.abc import Callable
from time import monotonic
from typing import Final, TextIO

import structlog

CHATTY: Final = "aiokafka"
REPEAT_SECONDS: Final = 10.0  # between two equal lines of a library
REMEMBERED: Final = 1000  # lines


class Sparing(logging.Filter):
    """Lets an equal line of aiokafka pass once in `REPEAT_SECONDS`.

    While a broker is away it says so ten times a second, for each connection.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """`clock` tells seconds."""
        super().__init__()
        self._clock = clock
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is to be said."""
        if not record.name.startswith(CHATTY):
            return True
        line, now = record.getMessage(), self._clock()
        if now - self._said.get(line, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[line] = now
        return True


def configure(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Set up structlog, and send the standard library's records (aiokafka's) the same way.

    `stream`: standard error as it is now, if not given.
    """
    stream = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[*shared, structlog.processors.format_exc_info],
        )
    )
    handler.addFilter(Sparing())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    # aiokafka logs each lookup at info and prints payloads at debug: neither is wanted.
    logging.getLogger(CHATTY).setLevel(max(number, logging.WARNING))
