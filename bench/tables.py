"""How figures are shown: as Markdown tables, under what they were made with."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.classify import Row
from worker.limits import available_cores

# What int8 is computed by, best first: it makes more of a difference than the processor's name.
INSTRUCTIONS: Final = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "avx512f": "AVX-512",
    "avx2": "AVX2 (no VNNI)",
}
LIBRARIES: Final = ("torch", "transformers", "onnxruntime", "aiokafka")


def machine() -> str:
    """Where and with what the figures were made."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    told = {
        name.strip(): value.strip() for name, _, value in (each.partition(":") for each in lines)
    }
    model = told.get("model name") or platform.processor() or platform.machine()
    flags = told.get("flags", "").split()
    model += next((f" with {name}" for flag, name in INSTRUCTIONS.items() if flag in flags), "")
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {available_cores()} cores of {model}, "
        f"Python {platform.python_version()}, {libraries}"
    )


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; numbers to three figures."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [figure(cell) if isinstance(cell, float) else cell for cell in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(number: float) -> str:
    """Three figures, and no exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"  # noqa: PLR2004
