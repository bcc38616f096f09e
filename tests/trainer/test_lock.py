"""One trainer at a time writes to a registry, whatever a crash of another left there."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fsspec
import pytest

from trainer import lock as locks
from trainer import promote
from trainer.depot import RegistryError
from trainer.lock import LOCK, LOCK_SECONDS
from trainer.registry import Registry
from trainer.settings import TrainerSettings

from .conftest import full_after
from .stored import Failing, put


def test_while_one_writes_the_other_is_refused(tiny_model: Path, given: TrainerSettings) -> None:
    store = Registry(given.registry, given.name)
    with store.alone(), pytest.raises(RegistryError, match="another trainer is writing"):
        put(tiny_model, given)
    assert store.alias("champion") is None
    put(tiny_model, given)


def test_what_a_killed_trainer_left_does_not_stop_the_next(
    tiny_model: Path, options: TrainerSettings
) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    lock = Path(options.registry) / LOCK
    lock.parent.mkdir()
    here = {"host": socket.gethostname(), "pid": int(dead.stdout), "since": time.time()}
    lock.write_text(json.dumps(here))
    put(tiny_model, options)
    assert not lock.exists()


def test_a_lock_of_the_same_process_number_in_an_earlier_life_is_nobodys(
    tiny_model: Path, options: TrainerSettings
) -> None:
    """A container that is started anew has its host's name, and its first process the number 1."""
    lock = Path(options.registry) / LOCK
    lock.parent.mkdir()
    before = {"host": socket.gethostname(), "pid": os.getpid(), "began": "before"}
    lock.write_text(json.dumps(before | {"since": time.time()}))
    put(tiny_model, options)
    assert not lock.exists()


def test_what_is_no_lock_of_a_trainer_is_one_line(
    tiny_model: Path, options: TrainerSettings
) -> None:
    lock = Path(options.registry) / LOCK
    lock.parent.mkdir()
    lock.write_bytes(b"")
    with pytest.raises(RegistryError, match="is no lock of a trainer; remove it"):
        put(tiny_model, options)


def lock_of(given: TrainerSettings) -> tuple[Any, str]:
    """The file system of the registry, and where its lock stands."""
    files, root = fsspec.core.url_to_fs(given.registry)
    files.makedirs(root, exist_ok=True)
    return files, f"{root}/{LOCK}"


def test_of_two_that_find_a_dead_trainers_lock_one_gets_it(
    given: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, path = lock_of(given)
    dead = {"host": socket.gethostname(), "pid": 0, "since": time.time()}
    files.pipe_file(path, json.dumps(dead).encode())
    is_alive = locks._is_alive
    first, second = (Registry(given.registry, given.name) for _ in range(2))
    with ExitStack() as held:

        def overtaken(_: object) -> bool:
            """The second has looked at the lock; before it does anything, the first has it all."""
            monkeypatch.setattr(locks, "_is_alive", is_alive)
            held.enter_context(first.alone())
            return False

        monkeypatch.setattr(locks, "_is_alive", overtaken)
        with pytest.raises(RegistryError, match="another trainer is writing"), second.alone():
            pass
        assert json.loads(files.cat_file(path))["pid"] == os.getpid()
    assert not files.exists(path)
    assert not [each for each in files.find(path.rpartition("/")[0]) if "stale" in each]


@pytest.mark.parametrize("left", [b"somebody else's", None])
def test_a_lock_that_was_taken_over_is_left_to_who_has_it(
    given: TrainerSettings, left: bytes | None
) -> None:
    files, path = lock_of(given)
    with Registry(given.registry, given.name).alone():
        files.rm_file(path)
        if left:
            files.pipe_file(path, left)
    assert files.exists(path) == bool(left)


@pytest.mark.parametrize(("age", "stopped"), [(0.0, True), (LOCK_SECONDS + 1, False)])
def test_the_lock_of_another_machine_holds_for_a_while(
    tiny_model: Path, options: TrainerSettings, *, age: float, stopped: bool
) -> None:
    lock = Path(options.registry) / LOCK
    lock.parent.mkdir()
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": time.time() - age}))
    if stopped:
        with pytest.raises(RegistryError, match="another trainer is writing"):
            put(tiny_model, options)
    else:
        put(tiny_model, options)


@pytest.mark.parametrize("links", [True, False], ids=["with hard links", "without"])
def test_a_disk_that_has_no_room_for_a_lock_is_one_line_and_the_next_try_gets_it(
    tiny_model: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    if not links:

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    first = put(tiny_model, options)
    with full_after(9), pytest.raises(RegistryError, match="cannot be written to: ") as caught:
        promote.rollback(options, first.version)
    assert "\n" not in str(caught.value)
    assert not list(Path(options.registry).glob(f"{LOCK}*"))
    second = put(tiny_model, options, "2026-11-25", expected=first.version)
    assert Registry(options.registry, options.name).alias("champion") == second


def test_a_lock_that_cannot_be_let_go_of_spoils_nothing(
    tiny_model: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written stands; whoever comes next breaks the lock of a process that is gone."""
    store = Registry(options.registry, options.name)
    with monkeypatch.context() as away, store.alone():
        away.setattr(store._depot.files, "rm_file", Failing(store._depot.files, "rm_file").rm_file)
    assert (Path(options.registry) / LOCK).exists()
    monkeypatch.setattr(locks, "_is_alive", lambda _: False)
    put(tiny_model, options)
