"""Starts the processes of a fit: `python -m trainer.launch FOLDER PROCESSES`.

Torch's own launcher in a process of its own, as it takes over signals and logs. What goes wrong
is one line on stdout. Nothing heavy beside torch is imported here.
"""

import fcntl
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

JOB: Final = "job.json"
OURS: Final = ("FitError", "OSError")  # what a fit says in one line; the disk is full


def main(folder: Path, count: int) -> int:
    """Start the ranks and wait for them."""
    logging.disable(logging.CRITICAL)  # the launcher's account of a failure is a page
    end_with_the_trainer(folder)
    with TemporaryDirectory() as logs:
        # Stdout is for the line that the trainer reads; the first rank alone shows its bar.
        streams = {rank: Std.ALL if rank else Std.OUT for rank in range(count)}
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(logs, redirects=streams),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "trainer.rank", str(folder))
        except ChildFailedError as error:
            sys.stdout.write(told(list(error.failures.values())))
            return 1
        except SignalException as error:
            sys.stdout.write(f"the fit was stopped: {error.sigval.name}")
            return 1
    return 0


def told(failures: list[ProcessFailure]) -> str:
    """The failure that made the others fail, in one line; where a surprise arose, to stderr."""
    _, line, stack = min(map(_ranked, failures))
    sys.stderr.write(stack)
    return line


def end_with_the_trainer(folder: Path) -> None:
    """End this process at once when the trainer, which holds the job, is gone; by kill -9, too."""

    def wait() -> None:
        with (folder / JOB).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _ranked(failure: ProcessFailure) -> tuple[int, str, str]:
    """The lower, the nearer to the cause: ours; a kill; what ranks say when another is gone."""
    recorded = failure.error_file_data.get("message")
    if not isinstance(recorded, dict):
        code = failure.exitcode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return 1, f"a process of the fit ended: {how}", ""
    line = " ".join(str(recorded["message"]).split())
    kind, _, rest = line.partition(": ")
    if kind in OURS:
        return 0, rest, ""
    stack = str(recorded["extraInfo"]["py_callstack"])
    return 2, f"a process of the fit failed: {line[:300]}", stack


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
