"""The table of docs/reliability.md, from what the cells came to."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

from deploy.kafka.jars import POM, java
from tests.chaos.cells import CELLS
from tests.chaos.judge import Result

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
HEADINGS = (
    "cell",
    "rounds",
    "messages",
    "lost",
    "repeated",
    "out of order",
    "transactions aborted",
    "processed again",
    "written in vain",
    "longest silence, s",
    "verdict",
)


def markdown(results: Sequence[Result], asked: str, code: str) -> str:
    """The results of all rounds, a row a cell, and how they were made."""
    head = [_made_by(asked, code), "", _row(HEADINGS), _row(["---"] * len(HEADINGS))]
    return "\n".join(head + rows(results))


def rows(results: Sequence[Result]) -> list[str]:
    """A row a cell."""
    by_cell: dict[str, list[Result]] = {}
    for result in results:
        by_cell.setdefault(result.cell, []).append(result)
    return [_row(_cells(rounds)) for rounds in by_cell.values()]


def write(path: Path, results: Sequence[Result], asked: str, code: str) -> None:
    """Put the table between its marks; `code` is the hash of what was tried, and of what judged it.

    Raises ValueError where the marks are missing.
    """
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    table = markdown(results, asked, code)
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _cells(rounds: Sequence[Result]) -> list[str]:
    broken = {cell.name for cell in CELLS if cell.broken}
    clean = sum(not each.problems for each in rounds)
    verdict = f"{clean} of {len(rounds)} clean"
    if rounds[0].cell in broken:
        verdict = f"{sum(each.caught for each in rounds)} of {len(rounds)} caught"
    return [
        rounds[0].cell,
        str(len(rounds)),
        f"{sum(each.messages for each in rounds):,}",
        str(sum(each.lost for each in rounds)),
        str(sum(each.repeated for each in rounds)),
        str(sum(each.out_of_order for each in rounds)),
        str(sum(each.aborted for each in rounds)),
        f"{sum(each.again for each in rounds):,}",
        f"{sum(each.in_vain for each in rounds):,}",
        f"{max(each.silence for each in rounds):.1f}",
        verdict,
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _made_by(asked: str, code: str) -> str:
    shown = subprocess.run([java(), "-version"], capture_output=True, text=True, check=True)
    pom = ET.parse(POM).getroot()  # noqa: S314  (our own file)
    kafka = pom.findtext(".//{*}dependency/{*}version")
    return (
        f'`make chaos ARGS="{asked}"`, {datetime.now(UTC):%Y-%m-%d}: Apache Kafka {kafka}, '
        f"three brokers on {shown.stderr.splitlines()[0]}, aiokafka {version('aiokafka')}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, all on one machine; code {code}."
    )
