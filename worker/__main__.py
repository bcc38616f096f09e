"""The composition root: settings → parts → run. `python -m worker --help` tells the rest.

Heavy libraries are imported where they are needed, so that --help and mistakes answer at once.
"""

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

from schemas.arguments import Parser
from worker import __version__, settings
from worker.settings import KafkaSettings, SettingsError, WorkerSettings

DONE: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
END_SECONDS: Final = 1.0  # of threads, after a worker has stopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except SettingsError as error:
        for mistake in error.mistakes:
            print(f"worker: {mistake}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m worker",
        description="Streams Korean chat messages through an emotion classifier, exactly once.",
        epilog="Settings, from the environment or a .env file:\n\n"
        + settings.describe(KafkaSettings, WorkerSettings)
        + "\n\nExit codes: 0 done, 1 failed while running, 2 settings or arguments are wrong.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("run", help="consume, classify, publish, until SIGTERM")
    command.set_defaults(command=_run)
    command = commands.add_parser(
        "classify", help="one ChatMessage JSON or plain text a line in, one EmotionEvent a line out"
    )
    command.add_argument("file", nargs="?", help="a file; standard input by default")
    command.set_defaults(command=_classify)
    command = commands.add_parser("topics", help="create the topics; safe to repeat")
    command.add_argument(
        "--partitions", type=_positive, help="each (default: as many as the input topic has, or 8)"
    )
    command.add_argument(
        "--replication", type=_positive, default=0, help="copies (default 3, or one a broker)"
    )
    command.set_defaults(command=_topics)
    command = commands.add_parser("check", help="try settings, Kafka and model; exit 0 or 1")
    command.set_defaults(command=_check)
    return parser


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError("must be a whole number, at least 1")
    return int(text)


def _run(_: argparse.Namespace) -> int:
    from worker import serve  # noqa: PLC0415

    kafka_settings, options = settings.load_both(KafkaSettings, WorkerSettings)

    async def run() -> int:
        return _end_soon(await serve.run(kafka_settings, options))

    return asyncio.run(run())


def _end_soon(code: int) -> int:
    """All that matters is done, but Python waits for threads: of a device that hangs, of a pipe."""
    end = threading.Timer(END_SECONDS, os._exit, [code])
    end.daemon = True
    end.start()
    return code


def _classify(arguments: argparse.Namespace) -> int:
    options = settings.load(WorkerSettings)
    from worker import logs, parts  # noqa: PLC0415
    from worker.classify import Run  # noqa: PLC0415
    from worker.config import ModelError  # noqa: PLC0415
    from worker.engines import DeviceLostError, EngineError, InferenceError  # noqa: PLC0415
    from worker.inference import HopelessError  # noqa: PLC0415
    from worker.metrics import Metrics  # noqa: PLC0415

    logs.configure(options.log_format, options.log_level)
    try:
        given = open(arguments.file, "rb") if arguments.file else nullcontext(sys.stdin.buffer)  # noqa: SIM115, PTH123  (closed below)
    except OSError as error:
        raise SettingsError([f"{arguments.file} cannot be read: {error.strerror}"]) from None

    def write(event: bytes) -> None:
        sys.stdout.buffer.write(event + b"\n")

    def complain(line: str) -> None:
        print(line, file=sys.stderr)

    async def classify() -> int:
        with given as file:
            try:
                inference = parts.inference(options, parts.classifier(options), Metrics())
                run = Run(inference, options, write, complain, sys.stdout.buffer.flush)
                bad = await run.classify(file)
                sys.stdout.buffer.flush()
            except (
                ModelError,
                EngineError,
                InferenceError,
                DeviceLostError,
                HopelessError,
            ) as error:
                sys.stdout.buffer.flush()
                complain(f"worker: {error}")
                return _end_soon(FAILED)
            return FAILED if bad else DONE

    # Ctrl-C ends it as it ends any filter: Python would wait for the thread that reads, and that
    # for the next line.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return asyncio.run(classify())
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the reader left; there is nothing to tell
        return FAILED


def _topics(arguments: argparse.Namespace) -> int:
    from worker import serve  # noqa: PLC0415

    kafka_settings, options = settings.load_both(KafkaSettings, WorkerSettings)
    return asyncio.run(
        serve.create_topics(kafka_settings, options, arguments.partitions, arguments.replication)
    )


def _check(_: argparse.Namespace) -> int:
    from worker import serve  # noqa: PLC0415

    kafka_settings, options = settings.load_both(KafkaSettings, WorkerSettings)
    return asyncio.run(serve.check(kafka_settings, options))


if __name__ == "__main__":
    sys.exit(main())
