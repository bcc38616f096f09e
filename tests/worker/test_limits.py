"""Cores and memory, as affinity, cgroups and the machine leave them."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.emotion import EMOTIONS
from schemas.manifest import Int8Check
from worker import limits
from worker.engines import EngineError, Source, agreement, choice, graph
from worker.engines.torch import TorchEngine

MB = 1_000_000
PLENTY = {"meminfo": "MemTotal: 9765625 kB\nMemAvailable: 7812500 kB\nSwapFree: 0 kB\n"}  # 8,000 MB


SWAPPING = {"meminfo": "MemAvailable: 7812500 kB\nSwapFree: 976562 kB\n"}  # and 1,000 MB


def swap(limit: str, used: int) -> dict[str, str]:
    return {"memory.swap.max": limit, "memory.swap.current": f"{used}"}


def both(limit: int, used: int) -> dict[str, str]:
    """Of memory and swap together, in MB, as version 1 tells it."""
    return {
        "memory.memsw.limit_in_bytes": f"{limit * MB}",
        "memory.memsw.usage_in_bytes": f"{used * MB}",
    }


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        # Of the process's own group, and of one above it; the smallest counts.
        ({"own": "0::/a.slice/b\n", "a.slice/b/cpu.max": "300000 100000\n"}, 3),
        ({"own": "0::/a.slice/b\n", "a.slice/cpu.max": "400000 100000\n"}, 4),
        (
            {
                "own": "0::/a.slice/b\n",
                "a.slice/b/cpu.max": "max 100000\n",
                "a.slice/cpu.max": "200000 100000\n",
                "cpu.max": "500000 100000\n",
                "c/cpu.max": "100000 100000\n",  # another's
            },
            2,
        ),
        (
            {
                "own": "7:memory:/a\n4:cpu,cpuacct:/a/b\n1:cpuset:/a\n0::/\n",
                "cpu/a/cpu.cfs_quota_us": "600000\n",
                "cpu/a/cpu.cfs_period_us": "100000\n",
            },
            6,
        ),
        ({"own": "0::/../elsewhere\n", "cpu.max": "200000 100000\n"}, 2),
    ],
)
def test_threads_are_the_cores_that_affinity_and_quota_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    write(tmp_path, files)
    assert limits.available_cores(tmp_path, tmp_path / "own") == cores


def group(limit: int | str, usage: int, cached: int = 0) -> dict[str, str]:
    """The files of a group in version 2, of MB; half of what is cached was used lately."""
    stat = f"anon 7\nactive_file {cached * MB // 2}\ninactive_file {cached * MB // 2}\n"
    allowed = limit if isinstance(limit, str) else limit * MB
    return {
        "memory.max": f"{allowed}\n",
        "memory.current": f"{usage * MB}\n",
        "memory.stat": stat,
    }


def below(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


OLD = {
    "memory.limit_in_bytes": f"{900 * MB}\n",
    "memory.usage_in_bytes": f"{800 * MB}\n",
    "memory.stat": f"inactive_file 1\ntotal_inactive_file {50 * MB}\ntotal_active_file 0\n",
}
UNLIMITED = {"memory.limit_in_bytes": "9223372036854771712\n", "memory.usage_in_bytes": "7\n"}


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        (PLENTY, 8_000),
        (PLENTY | group("max", 100), 8_000),
        (PLENTY | group(500, 100), 400),
        (PLENTY | group(500, 510), 0),
        (PLENTY | group(500, 490, cached=200), 210),  # pages of files make room
        (PLENTY | {"memory.max": "500000000\n", "memory.current": "100000000\n"}, 8_000),
        (group(500, 100), 400),  # no meminfo
        (PLENTY | below("memory", OLD), 150),
        (PLENTY | below("memory", UNLIMITED | {"memory.stat": ""}), 8_000),
        (
            PLENTY
            | {"own": "0::/a.slice/b\n"}
            | below("a.slice/b", group("max", 100))
            | below("a.slice", group(300, 100))
            | below("c", group(200, 200))  # another's
            | group(900, 100),
            200,
        ),
        (PLENTY | {"own": "7:memory:/a\n0::/\n"} | below("memory/a", OLD), 150),
        (SWAPPING | group(500, 100), 1_400),
        (SWAPPING | group(500, 100) | swap("0", 0), 400),
        (SWAPPING | group(500, 100) | swap(f"{300 * MB}", 100 * MB), 600),
        (SWAPPING | group(500, 100) | swap("max", 0), 1_400),
        (  # a limit of swap counts though the group that has it has none of memory
            SWAPPING
            | {"own": "0::/a.slice/b\n"}
            | below("a.slice/b", group(500, 100) | swap("max", 0))
            | below("a.slice", group("max", 100) | swap("0", 0)),
            400,
        ),
        (SWAPPING | group("max", 100) | swap("0", 0), 8_000),
        (  # without limits, as most groups of version 1 are
            SWAPPING
            | below("memory", UNLIMITED | {"memory.stat": ""})
            | below("memory", {name.replace("y.", "y.memsw."): n for name, n in UNLIMITED.items()}),
            9_000,
        ),
        (SWAPPING | below("memory", OLD), 1_150),
        (SWAPPING | below("memory", OLD | both(1_200, 900)), 350),  # 900 of memory, 300 of swap
    ],
)
def test_memory_is_what_the_machine_and_the_groups_leave_with_swap(
    tmp_path: Path, files: dict[str, str], left: int | None
) -> None:
    write(tmp_path, files)
    found = limits.available_memory(tmp_path, tmp_path / "own", tmp_path / "meminfo")
    assert (None if found is None else round(found / MB)) == left


def leave(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    monkeypatch.setattr(limits, "available_memory", lambda: left)


def size(folder: Path) -> int:
    return (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("precision", ["auto", "int8", "fp32", "bf16"])
def test_weights_that_no_memory_is_left_for_are_refused_in_one_line_that_says_both(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    precision: str,
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "large"))
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1_600 * MB)
    leave(monkeypatch, 300 * MB)
    source = Source(folder, 1, EMOTIONS, lambda texts: [(0, 2)] * len(texts), tmp_path / "cache")
    with pytest.raises(EngineError) as caught:
        choice.load(source, "cpu", precision, 1)
    told = {"bf16": "load it takes 800", "fp32": "load it takes 6,400"}
    taken = told.get(precision, "make its int8 graph takes 7,200")
    assert str(caught.value) == (
        f"the model in {folder} does not fit into memory: to {taken} MB and "
        "300 MB are left; give the worker more memory or take a smaller model"
    )
    assert "PyTorch serves" not in capsys.readouterr().out


def test_weights_that_just_fit_are_not_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = limits.weights(tiny_model)[1]
    assert 0.99 * size(tiny_model) < whole < size(tiny_model)  # all but the header
    leave(monkeypatch, whole * 4)
    graph.build(tiny_model)
    leave(monkeypatch, whole * 4 - 1)
    with pytest.raises(limits.TooLargeError):
        graph.build(tiny_model)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_weights_in_half_precision_weigh_what_they_become(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "half"))
    weights = load_file(folder / "model.safetensors")
    halved = {name: each.to(getattr(torch, kind)) for name, each in weights.items()}
    save_file(halved, folder / "model.safetensors", {"format": "pt"})
    whole = 4 * sum(each.numel() for each in weights.values())
    assert size(folder) < 0.6 * whole
    leave(monkeypatch, 4 * whole - 1)
    with pytest.raises(limits.TooLargeError):
        graph.build(folder)
    leave(monkeypatch, whole - 1)
    with pytest.raises(limits.TooLargeError):
        TorchEngine.load(folder, 1, "cpu", "fp32", 1)
    leave(monkeypatch, whole)
    assert TorchEngine.load(folder, 1, "cpu", "fp32", 1).precision == "fp32"
    leave(monkeypatch, 0)
    assert TorchEngine.load(tiny_model, 1, "cpu", "fp32", 1).precision == "fp32"  # in its file


def test_half_of_the_weights_is_enough_for_two_bytes_each(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, size(tiny_model) // 2 + 1)
    assert TorchEngine.load(tiny_model, 1, "cpu", "bf16", 1).precision == "bf16"


def test_a_graph_that_is_ready_asks_for_no_room_for_the_weights(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agrees = Int8Check(agreement=1.0, macro_f1_delta=0.0, used=True)
    monkeypatch.setattr(agreement, "compare", lambda *_: agrees)
    source = Source(tiny_model, 1, EMOTIONS, lambda texts: [(0, 2)] * len(texts), tmp_path)
    choice.load(source, "cpu", "int8", 1)
    (made,) = tmp_path.glob("engines/*/int8.onnx")
    leave(monkeypatch, made.stat().st_size * 2)
    assert choice.load(source, "cpu", "int8", 1).precision == "int8"
    leave(monkeypatch, made.stat().st_size * 2 - 1)
    with pytest.raises(limits.TooLargeError, match="to open its int8 graph takes"):
        choice.load(source, "cpu", "int8", 1)


def test_where_nothing_tells_how_much_is_left_nothing_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "available_memory", lambda: None)
    limits.check_room(tiny_model, 4.0, "load it")
