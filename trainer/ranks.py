"""A fit in several processes on one machine: `Trainer` in each of them makes one fit of it.

The trainer writes the job into the fit's folder and starts `trainer.launch`, which starts
`trainer.rank` once for each process. The lock on the job is the trainer's: they end when it does.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from pydantic import TypeAdapter

from trainer import checkpoint
from trainer import fit as alone
from trainer.job import FitError, Fitted, Job, read_fitted
from trainer.launch import JOB
from trainer.settings import TrainerSettings
from worker import hub
from worker.limits import available_cores

PACKAGES: Final = Path(__file__).resolve().parent.parent


def fit(job: Job, folder: Path) -> Fitted:
    """`fit.fit`, in as many processes as TRAINER_PROCESSES says. Raises FitError.

    A fit that was killed after its end is not done again.
    """
    found = read_fitted(folder) or _fit(job, folder)
    shutil.rmtree(folder / checkpoint.FOLDER, ignore_errors=True)
    (folder / JOB).unlink(missing_ok=True)
    return found


def _fit(job: Job, folder: Path) -> Fitted:
    count = processes(job.options)
    if count == 1:
        return alone.fit(job, folder)
    threads = job.options.threads or max(1, available_cores() // count)
    options = job.options.model_copy(update={"threads": threads})
    shared = replace(job, spec=_absolute(job.spec), options=options, processes=count)
    with _held(folder / JOB, TypeAdapter(Job).dump_json(shared)):
        # What was cut short goes before the ranks look.
        checkpoint.last_whole(folder / checkpoint.FOLDER)
        wrong = _launched(folder, count)
    found = read_fitted(folder)
    if wrong is not None or found is None:
        raise FitError(wrong or "the fit ended, and nothing came of it")
    return found


def processes(options: TrainerSettings) -> int:
    """Of one fit on this machine. Raises FitError where there are fewer devices."""
    devices = torch.cuda.device_count()
    wanted = options.processes or max(devices, 1)
    if 0 < devices < wanted:
        raise FitError(f"TRAINER_PROCESSES is {wanted}, and there are {devices} CUDA devices")
    return wanted


def read(folder: Path) -> Job:
    """The job that `fit` left for the ranks."""
    return TypeAdapter(Job).validate_json((folder / JOB).read_bytes())


def _launched(folder: Path, count: int) -> str | None:
    """What went wrong, in one line."""
    path = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    # This very package, whatever the current folder holds; no advice of DDP's.
    stated = {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
    done = subprocess.run(  # noqa: S603  (a module of ours)
        [sys.executable, "-m", "trainer.launch", str(folder.resolve()), str(count)],
        env=os.environ | stated | quiet,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    return done.stdout.strip() or f"the launcher of the fit ended: exit code {done.returncode}"


@contextmanager
def _held(path: Path, body: bytes) -> Iterator[None]:
    """Hold `path` with `body` in it; waits until what a killed trainer started has ended."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(body)
        file.flush()
        yield


def _absolute(spec: str) -> str:
    """A folder's whole path; a hub id as it is."""
    folder = hub.folder(spec)
    return str(folder.resolve()) if folder else spec
