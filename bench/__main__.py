"""`make bench`: run every benchmark, write bench/results/*.json and print the tables."""

import argparse
import json
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import classify, throughput
from worker.classifier import available_cores

RESULTS = Path(__file__).parent / "results"
CHAT = Path(__file__).parent.parent / "examples" / "chat.tsv"


def machine() -> str:
    """Where and with what the figures were made."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {available_cores()} cores of {model}, "
        f"Python {platform.python_version()}, {libraries}"
    )


def read_texts(path: Path | None) -> list[str]:
    """One text a line; by default the sample chat."""
    if path is not None:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [line.split("\t") for line in CHAT.read_text(encoding="utf-8").splitlines()]
    return [row[2] for row in rows[1:]]


def main() -> int:
    """Run them all; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--texts", type=Path, help="a text file, one text a line")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each; medians are shown")
    options = parser.parse_args()
    texts = read_texts(options.texts)
    where = machine()
    print(f"{where}; {len(texts)} texts; medians of {options.rounds} alternating runs\n")
    for name, bench in (("classify", classify), ("throughput", throughput)):
        rows = bench.run(texts, options.rounds)
        RESULTS.mkdir(exist_ok=True)
        result = {"machine": where, "rounds": options.rounds, "rows": rows}
        text = json.dumps(result, ensure_ascii=False, indent=1)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(table(rows) + "\n")
    return 0


def table(rows: list[dict[str, str | float]]) -> str:
    """Rows as a Markdown table; numbers to three figures."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [f"{cell:.3g}" if isinstance(cell, float) else cell for cell in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
