"""What this process may use of the machine: cores and memory, as its cgroups leave them."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from math import prod
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from worker.engines import EngineError

CGROUP: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")
MEMINFO: Final = Path("/proc/meminfo")
MB: Final = 1_000_000
FLOAT32: Final = 4  # bytes
UNLIMITED: Final = 1 << 62  # bytes; version 1 writes no "max" but the largest number of pages
LONGEST_HEADER: Final = 100_000_000  # bytes, by the format of safetensors

# Files of a group, by the version of its hierarchy.
CPU: Final = {1: ("cpu.cfs_quota_us", "cpu.cfs_period_us"), 2: ("cpu.max",)}
MEMORY: Final = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: ("memory.max", "memory.current"),
}
SWAP: Final = {
    1: ("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes"),
    2: ("memory.swap.max", "memory.swap.current"),
}
# Of its usage, what the kernel takes back before it kills: pages of files.
PAGES: Final = {
    1: ("total_active_file", "total_inactive_file"),
    2: ("active_file", "inactive_file"),
}


class TooLargeError(EngineError):
    """A model takes more than the memory that is left: to begin would be to be killed."""


def available_cores(cgroup: Path = CGROUP, own: Path = OWN) -> int:
    """Cores that this process may use: the fewest that its affinity and its cgroups leave."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min([cores or 1, *quotas(cgroup, own)])


def quotas(cgroup: Path, own: Path) -> Iterator[int]:
    """Whole cores that the group of this process allows, and each group above it."""
    for version, group in groups("cpu", cgroup, own):
        with suppress(OSError, ValueError):  # no such group or version, or "max"
            words = " ".join(_read(group / name) for name in CPU[version])
            quota, period = map(int, words.split())
            if quota > 0:
                yield max(1, quota // period)


def available_memory(cgroup: Path = CGROUP, own: Path = OWN, meminfo: Path = MEMINFO) -> int | None:
    """Bytes that this process may still use, swap included; None where nothing tells."""
    left, swap = [], 0
    with suppress(OSError, ValueError, KeyError):  # no Linux
        told = {name: int(words.split()[0]) * 1024 for name, words in _pairs(meminfo, ":")}
        swap = swap_left(told["SwapFree"], cgroup, own)
        left.append(told["MemAvailable"] + swap)
    return min([*left, *rests(cgroup, own, swap)], default=None)


def rests(cgroup: Path, own: Path, swap: int) -> Iterator[int]:
    """Bytes that the group of this process has left, and each group above it.

    With what it may have of the machine's `swap`.
    """
    for version, group in groups("memory", cgroup, own):
        with suppress(OSError, ValueError):  # as above
            limit, usage = (int(_read(group / name)) for name in MEMORY[version])
            told = dict(_pairs(group / "memory.stat", " "))
            pages = sum(int(told.get(name, 0)) for name in PAGES[version])
            yield max(0, limit - usage + pages) + swap


def swap_left(swap: int, cgroup: Path, own: Path) -> int:
    """Of the machine's `swap` what the group of this process leaves, and each group above it."""
    for version, group in groups("memory", cgroup, own):
        with suppress(OSError, ValueError):  # it sets no limit of swap
            limit, usage = (int(_read(group / name)) for name in SWAP[version])
            if limit >= UNLIMITED:
                continue
            if version == 1:  # which counts memory in
                memory = [int(_read(group / name)) for name in MEMORY[version]]
                limit, usage = limit - memory[0], usage - memory[1]
            swap = min(swap, max(0, limit - usage))
    return swap


def groups(controller: str, cgroup: Path, own: Path) -> Iterator[tuple[int, Path]]:
    """Version and folder of this process's group for `controller`, and of each group above it.

    `own` tells the group, a line a hierarchy: `0::/a/b` in version 2, `4:cpu,cpuacct:/a/b` in 1.
    In a container the root of what is mounted may be the group, whatever `own` says.
    """
    lines = ["0::/", f"0:{controller}:/"]
    with suppress(OSError):
        lines += own.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            version, root = 2, cgroup
        elif controller in controllers.split(","):
            version, root = 1, cgroup / controller
        else:
            continue
        inner = PurePosixPath(group.lstrip("/"))
        for each in (inner, *inner.parents):
            yield version, root / each


def check_room(folder: Path, times: float, what: str) -> None:
    """Refuse the model in `folder` where there is no room in memory to do `what` with it.

    `times`: what that takes at its height, in sizes of the weights in float32. Raises
    TooLargeError.
    """
    _, whole = weights(folder)
    require_room(folder, whole * times, what)


def weights(folder: Path) -> tuple[int, int]:
    """Bytes of the weights in `folder`: in their files, and in float32, as they are worked with."""
    stored = whole = 0
    for path in folder.glob("*.safetensors"):
        size = path.stat().st_size
        stored += size
        with path.open("rb") as file:  # safetensors would map all of it, and need the room
            numbers = _numbers(file, size)
        whole += size if numbers is None else FLOAT32 * numbers
    return stored, whole


def _numbers(file: BinaryIO, size: int) -> int | None:
    """How many numbers the header of a safetensors file names; None where it names other bytes.

    Whoever loads such a file says what is wrong with it.
    """
    try:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, LONGEST_HEADER)))
        tensors = [each for name, each in header.items() if name != "__metadata__"]
        end = max(each["data_offsets"][1] for each in tensors)
        numbers = sum(prod(each["shape"]) for each in tensors)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    return numbers if 8 + length + end == size else None


def require_room(folder: Path, needed: float, what: str) -> None:
    """The same by bytes. Raises TooLargeError."""
    left = available_memory()
    if left is not None and needed > left:
        message = (
            f"the model in {folder} does not fit into memory: to {what} takes "
            f"{-(-needed // MB):,.0f} MB and {left // MB:,} MB are left; "
            f"give the worker more memory or take a smaller model"
        )
        raise TooLargeError(message)


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii")


def _pairs(path: Path, between: str) -> Iterator[tuple[str, str]]:
    """The lines of `path` as names and values."""
    for line in _read(path).splitlines():
        name, _, value = line.partition(between)
        yield name, value
