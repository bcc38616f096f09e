"""One trainer at a time writes to a registry: the lock it holds, and that a crash may leave."""

import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson
from fsspec.implementations.local import LocalFileSystem

from trainer.depot import Depot, RegistryError, in_one_line
from worker import storage

LOCK: Final = "promote.lock"
LOCK_SECONDS: Final = 900.0  # a lock of another machine older than this was left by a crash


@contextmanager
def held(depot: Depot) -> Iterator[None]:
    """Hold the folder of a registry. Raises RegistryError where that cannot be."""
    files, path = depot.files, f"{depot.root}/{LOCK}"
    body = orjson.dumps(_holder())
    with in_one_line(f"{depot.root} cannot be written to"):
        try:
            files.makedirs(depot.root, exist_ok=True)
            _break_stale(files, path)
            _create(files, path, body)
        except FileExistsError:
            message = f"another trainer is writing to {depot.root}; {path}"
            raise RegistryError(message) from None
        except ValueError as error:
            raise RegistryError(str(error)) from None
    try:
        yield
    finally:
        # What cannot be let go of is broken by the next as a dead trainer's is.
        with suppress(*storage.errors()):
            if files.cat_file(path) == body:  # who took us for dead has it now
                files.rm_file(path)


def _holder() -> dict[str, str | int | float | None]:
    """Who holds it: this process, now."""
    me = os.getpid()
    return {"host": socket.gethostname(), "pid": me, "began": _began(me), "since": time.time()}


def _create(files: Any, path: str, body: bytes) -> None:  # noqa: ANN401  (fsspec's)
    """Write a file that must not be there, all of it or nothing. Raises FileExistsError."""
    if not isinstance(files, LocalFileSystem):
        files.pipe_file(path, body, mode="create")
        return
    partial = Path(f"{path}.{secrets.token_hex(4)}.partial")
    try:
        partial.write_bytes(body)
        try:
            os.link(partial, path)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links
            _create_in_place(Path(path), body)
    finally:
        partial.unlink(missing_ok=True)


def _create_in_place(path: Path, body: bytes) -> None:
    with path.open("xb") as file:
        try:
            file.write(body)
            file.flush()
        except OSError:
            path.unlink()  # half a lock is nobody's, and would stop everybody
            raise


def _break_stale(files: Any, path: str) -> None:  # noqa: ANN401
    try:
        body = files.cat_file(path)
    except FileNotFoundError:
        return
    try:
        holder: dict[str, Any] = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ValueError(f"{path} is no lock of a trainer; remove it") from None
    here = holder.get("host") == socket.gethostname()
    old = time.time() - float(holder.get("since", 0)) > LOCK_SECONDS
    if (here and not _is_alive(holder)) or (not here and old):
        aside = f"{path}.{secrets.token_hex(4)}.stale"
        with suppress(FileNotFoundError):  # another trainer moved it first
            files.mv(path, aside)
            moved = files.cat_file(aside)
            files.rm_file(aside)
            if moved != body:  # another trainer broke it since, and holds this one
                _create(files, path, moved)


def _is_alive(holder: Mapping[str, Any]) -> bool:
    """Whether the process that took a lock on this machine still runs.

    Its number alone does not tell: in a container that was started anew the first process has it,
    too, and after a reboot any other.
    """
    pid = int(holder.get("pid", 0))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    known = {holder.get("began"), _began(pid)} - {None}  # what nobody tells is no difference
    return pid > 0 and len(known) < 2  # noqa: PLR2004  (two differ)


def _began(pid: int) -> str | None:
    """When a process began, by the clock of this boot; None where nobody tells (no Linux)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"
