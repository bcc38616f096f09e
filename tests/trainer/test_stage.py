"""A stage is done once, is whole or absent, and goes on where it was killed."""

import signal
import subprocess
import sys
from collections.abc import Callable
from errno import EACCES, ENOLCK
from pathlib import Path

import pytest

from trainer import stage
from trainer.settings import TrainerSettings
from trainer.stage import Numbers, StageError

from .commands import without_rights

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "input.txt"
    path.write_text("one")
    return path


def test_a_disk_without_locks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(StageError, match="cannot be locked: No locks available"),
        stage.alone(tmp_path),
    ):
        pass


def test_a_stage_whose_outputs_cannot_be_read_is_not_done(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> dict[str, str]:
        raise PermissionError(EACCES, "Permission denied")

    done = run(tmp_path, source, Maker(source))
    assert stage.read(done.folder) is not None
    monkeypatch.setattr(stage, "build_files", refuse)
    assert stage.read(done.folder) is None


class Maker:
    """Copies the input, and counts how often it is asked to."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.calls = 0

    def __call__(self, folder: Path) -> Numbers:
        self.calls += 1
        (folder / "copy.txt").write_text(self.source.read_text())
        return {"letters": 3.0}


def run(
    tmp_path: Path, source: Path, make: Callable[[Path], Numbers], threshold: float = 0.5
) -> stage.Done:
    inputs = {"source": source}
    return stage.run(tmp_path / "work", "copy", inputs, {"threshold": threshold}, make, seed=7)


def test_a_stage_whose_inputs_are_unchanged_is_skipped(tmp_path: Path, source: Path) -> None:
    make = Maker(source)
    first, second = run(tmp_path, source, make), run(tmp_path, source, make)
    assert (first.skipped, second.skipped, make.calls) == (False, True, 1)
    assert first.folder == second.folder
    assert second.manifest == first.manifest
    assert second.manifest.numbers == {"letters": 3.0}


@pytest.mark.parametrize("change", ["input", "setting", "output", "output gone"])
def test_a_stage_is_done_again_when_something_changed(
    tmp_path: Path, source: Path, change: str
) -> None:
    make = Maker(source)
    first = run(tmp_path, source, make)
    threshold = 0.5
    if change == "input":
        source.write_text("two")
    elif change == "setting":
        threshold = 0.6
    elif change == "output":
        (first.folder / "copy.txt").write_text("three")
    else:
        (first.folder / "copy.txt").unlink()
    second = run(tmp_path, source, make, threshold)
    assert (second.skipped, make.calls) == (False, 2)
    assert (second.folder / "copy.txt").read_text() == source.read_text()


def test_what_a_stage_came_from_is_in_its_manifest(tmp_path: Path, source: Path) -> None:
    first = run(tmp_path, source, Maker(source))
    second = stage.run(
        tmp_path / "work",
        "next",
        {"copy": first.folder},
        {},
        lambda _: {},
        offsets={"0": [5, 9]},
    )
    assert second.manifest.parents == [f"copy/{first.folder.name}"]
    assert second.manifest.offsets == {"0": [5, 9]}
    assert first.manifest.seed == 7
    assert set(first.manifest.outputs) == {"copy.txt"}


def test_what_a_manifest_vouches_for_is_on_the_disk_before_it(
    tmp_path: Path, synced: list[int]
) -> None:
    def make(folder: Path) -> Numbers:
        (folder / "model").mkdir()
        (folder / "model/weights").write_text("heavy")
        (folder / "curve").write_text("steep")
        return {}

    folder = stage.run(tmp_path / "work", "teach", {}, {}, make).folder
    before = synced[: synced.index((folder / stage.MANIFEST).stat().st_ino)]
    for name in ("", "model", "model/weights", "curve"):
        assert (folder / name).stat().st_ino in before
    assert synced[-2:] == [each.stat().st_ino for each in (folder.parent, tmp_path / "work")]


def test_a_stage_that_fails_leaves_no_finished_folder(tmp_path: Path, source: Path) -> None:
    def fail(folder: Path) -> Numbers:
        (folder / "half.txt").write_text("half")
        raise StageError("no luck")

    with pytest.raises(StageError, match="no luck"):
        run(tmp_path, source, fail)
    finished = [each for each in (tmp_path / "work/copy").iterdir() if each.name[0] != "."]
    assert finished == []


def test_a_stage_killed_with_9_goes_on_in_what_it_left(tmp_path: Path, source: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from trainer import stage\n"
        "def make(folder):\n"
        "    (folder / 'half.txt').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "work, source = map(Path, sys.argv[1:])\n"
        "stage.run(work, 'copy', {'source': source}, {'threshold': 0.5}, make, seed=7)\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "work"), str(source)]
    done = subprocess.run(arguments, check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    found: list[str] = []

    def go_on(folder: Path) -> Numbers:
        found.extend(path.name for path in folder.iterdir())
        return {}

    again = run(tmp_path, source, go_on)
    assert found == ["half.txt"]
    assert set(again.manifest.outputs) == {"half.txt"}


@pytest.mark.parametrize("moment", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.rename"])
def test_a_stage_killed_while_its_manifest_is_written_is_found_done_later(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The manifest half written, not in its place yet, and in its place in the partial folder."""

    class Killed(BaseException):
        """Stands for SIGKILL: what is on the disk is all that is left."""

    def killed(*_: object) -> None:
        raise Killed

    make = Maker(source)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "sync_all", lambda _: None)  # the next sync is the manifest's
        patch.setattr(moment, killed)
        with pytest.raises(Killed):
            run(tmp_path, source, make)
    assert list((tmp_path / "work/copy").glob(".partial-*/*stage.json*"))
    done, later = run(tmp_path, source, make), run(tmp_path, source, make)
    assert (done.skipped, later.skipped) == (False, True)
    assert set(later.manifest.outputs) == {"copy.txt"}


def test_a_full_disk_is_one_line(tmp_path: Path, source: Path) -> None:
    def fill(folder: Path) -> Numbers:
        raise OSError(28, "No space left on device", str(folder / "copy.txt"))

    with pytest.raises(StageError, match=r"copy\.txt: No space left on device"):
        run(tmp_path, source, fill)


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "none" / "file"
    with (
        pytest.raises(StageError, match="file cannot be written: No such file or directory"),
        stage.writing(path),
    ):
        stage.write_durably(path, b"")


def test_an_error_that_has_no_number_is_told_all_the_same(tmp_path: Path, source: Path) -> None:
    def fail(_: Path) -> Numbers:
        raise OSError("half of it is missing")

    with pytest.raises(StageError, match="half of it is missing"):
        run(tmp_path, source, fail)


def test_an_input_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="cannot be read: No such file"):
        run(tmp_path, tmp_path / "none", lambda _: {})


def test_two_trainers_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with (
        stage.alone(tmp_path / "work"),
        pytest.raises(StageError, match="another trainer is at work"),
        stage.alone(tmp_path / "work"),
    ):
        pass
    with stage.alone(tmp_path / "work"):  # let go of
        pass


def test_a_folder_without_write_rights_is_one_line(options: TrainerSettings) -> None:
    options.work.mkdir(mode=0o500)
    done = without_rights(options, "teach")
    told = f"trainer: {options.work} cannot be written to: Permission denied\n"
    assert (done.returncode, done.stderr) == (1, told)
