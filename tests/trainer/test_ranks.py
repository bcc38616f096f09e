"""One fit in two processes: it learns, is saved once, survives a kill, and fails in one line."""

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from trainer import checkpoint, launch, ranks, select
from trainer.job import FITTED, FitError, Fitted, Job
from trainer.settings import TrainerSettings

from .conftest import chat

ROOT = Path(__file__).resolve().parents[2]
STEPS = 6 * 6  # 180 texts, 16 a process, six epochs
TRAINING = """
import sys
from pathlib import Path
from trainer import ranks, select
from trainer.job import FitError, Job
from trainer.settings import TrainerSettings
from tests.trainer.conftest import chat

options = TrainerSettings.model_validate_json(sys.argv[1])
train, validation = select.human(chat(180, 1)), select.human(chat(60, 2))
try:
    ranks.fit(Job(options.teacher, train, validation, options, 6e-3), Path(sys.argv[2]))
except FitError as error:
    sys.exit(f"one line: {error}")
"""


@pytest.fixture
def two(options: TrainerSettings) -> TrainerSettings:
    """Two processes, and a checkpoint every other step."""
    return options.model_copy(update={"processes": 2, "checkpoint_steps": 2, "patience": 99})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the fit."""
    made = tmp_path / "fit"
    made.mkdir()
    return made


def run(folder: Path, options: TrainerSettings) -> Fitted:
    train, validation = select.human(chat(180, 1)), select.human(chat(60, 2))
    return ranks.fit(Job(options.teacher, train, validation, options, 6e-3), folder)


def started(folder: Path, options: TrainerSettings) -> subprocess.Popen[bytes]:
    """A trainer of its own."""
    command = [sys.executable, "-c", TRAINING, options.model_dump_json(), str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)


def await_step(trainer: subprocess.Popen[bytes], step: int) -> None:
    """Read the first rank's bar as it comes."""
    assert trainer.stderr is not None
    told = b""
    while max(shown(told.decode(errors="replace")), default=0) < step:
        more = os.read(trainer.stderr.fileno(), 65536)
        assert more, told.decode()
        told += more


def process_of(folder: Path, rank: int) -> int:
    """Its number."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        ours = b"trainer.rank" in command and os.fsencode(folder) in command
        if ours and b"LOCAL_RANK=%d" % rank in environment:
            return int(process.name)
    raise AssertionError(f"no process is rank {rank}")


def shown(bar: str) -> list[int]:
    """The steps that a bar told of."""
    return [int(step) for step in re.findall(rf"\b([1-9]\d*)/{STEPS}\b", bar)]


def test_two_processes_make_one_fit_that_goes_on_after_its_trainer_was_killed_with_9(
    folder: Path, two: TrainerSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    with started(folder, two) as trainer:
        try:
            await_step(trainer, 3)
        finally:
            trainer.send_signal(signal.SIGKILL)
        assert trainer.stderr is not None
        trainer.stderr.read()  # to its end: the launcher and the first rank have ended, too
    assert trainer.returncode == -signal.SIGKILL
    whole = checkpoint.last_whole(folder / checkpoint.FOLDER)
    assert whole is not None
    made = int(whole.name.rpartition("-")[2])
    capfd.readouterr()
    found = run(folder, two)
    assert min(shown(capfd.readouterr().err)) > made >= 2
    assert found.steps == STEPS
    assert found.macro_f1 > 0.6  # chance is a sixth
    losses = [entry["loss"] for entry in found.curve if "loss" in entry]
    assert len(losses) == STEPS / 2
    assert all(map(math.isfinite, losses))
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        FITTED,
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "model/tokenizer_config.json",
    }


def test_a_process_killed_with_9_is_told_in_one_line_and_costs_one_checkpoint_at_most(
    folder: Path, two: TrainerSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    with started(folder, two) as trainer:
        try:
            await_step(trainer, 5)
            os.kill(process_of(folder, 1), signal.SIGKILL)
            assert trainer.stderr is not None
            last = trainer.stderr.read().decode()
        finally:
            trainer.kill()
    assert trainer.returncode == 1
    assert last.endswith("one line: a process of the fit ended: SIGKILL\n")
    assert "Traceback" not in last
    capfd.readouterr()
    assert run(folder, two).steps == STEPS
    # A checkpoint every other step: the one of step 4 was whole, as step 5 was done.
    assert min(shown(capfd.readouterr().err)) >= 5


def test_what_stops_a_process_is_one_line(
    tmp_path: Path, two: TrainerSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = two.model_copy(update={"teacher": str(tmp_path / "none")})
    with pytest.raises(FitError, match=r"none cannot be loaded") as caught:
        run(tmp_path, missing)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def failure(folder: Path, rank: int, message: str) -> ProcessFailure:
    """What a rank leaves on record."""
    said = {"message": message, "extraInfo": {"timestamp": "1", "py_callstack": "where\n"}}
    file = folder / f"{rank}.json"
    file.write_text(json.dumps({"message": said}))
    return ProcessFailure(rank, pid=1, exitcode=1, error_file=str(file))


def test_the_failure_that_is_told_is_the_one_that_made_the_others_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = failure(tmp_path, 0, "RuntimeError: Connection closed\nby peer")
    full = failure(tmp_path, 1, "FitError: is the disk full?")
    killed = ProcessFailure(2, pid=1, exitcode=-9, error_file="")
    assert launch.told([alone, killed, full]) == "is the disk full?"
    full = failure(tmp_path, 1, "OSError: [Errno 28] No space left on device: 'model'")
    assert launch.told([alone, full]) == "[Errno 28] No space left on device: 'model'"
    assert launch.told([alone, killed]) == "a process of the fit ended: SIGKILL"
    assert capsys.readouterr().err == ""
    told = "a process of the fit failed: RuntimeError: Connection closed by peer"
    assert launch.told([alone]) == told
    assert capsys.readouterr().err == "where\n"


def test_without_a_device_there_is_one_process_unless_it_is_said_otherwise(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_(devices: int, wanted: int) -> int:
        monkeypatch.setattr("torch.cuda.device_count", lambda: devices)
        return ranks.processes(options.model_copy(update={"processes": wanted}))

    assert [with_(0, 0), with_(0, 1), with_(0, 3), with_(4, 0), with_(4, 2)] == [1, 1, 3, 4, 2]
    with pytest.raises(FitError, match="TRAINER_PROCESSES is 3, and there are 2 CUDA devices"):
        with_(2, 3)
