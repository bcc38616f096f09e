"""A demo as a command: signals end it as Ctrl-C does, failures are one line, and exit codes."""

import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiokafka.errors import KafkaError

from deploy.broker import BrokerError
from examples.stack import DemoError
from worker import kafka
from worker.settings import SettingsError

if TYPE_CHECKING:
    from types import FrameType

DONE: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
STOPPED: Final = 128  # and the signal's number


def run(name: str, show: Callable[[], int]) -> int:
    """Show it; the exit code. Whatever `show` started must be stopped on its way out."""
    heard: list[int] = []

    def like_ctrl_c(number: int, _frame: "FrameType | None") -> None:
        heard.append(number)
        signal.raise_signal(signal.SIGINT)

    # A shell starts background jobs with SIGINT ignored; asyncio handles only Python's default.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, like_ctrl_c)
    signal.signal(signal.SIGHUP, like_ctrl_c)
    try:
        return show()
    except SettingsError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return MISUSED
    except (DemoError, BrokerError, KafkaError) as error:
        told = kafka.line(error) if isinstance(error, KafkaError) else str(error)
        print(f"{name}: {told}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("stopped; nothing is left running", file=sys.stderr)
        return STOPPED + (heard or [signal.SIGINT])[0]


def ignore_signals() -> None:
    """From here on, to the end of the process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
