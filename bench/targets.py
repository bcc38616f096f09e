"""What was aimed at, beside what the published tables say was reached."""

import re
from typing import Final, NamedTuple

from bench.classify import Row

NOT_MEASURED: Final = "not measured yet"


class Target(NamedTuple):
    """A figure of a published table: in the row whose first cell is `row`, under `column`."""

    what: str
    table: str
    row: str
    column: str
    aim: float
    at_most: bool = False

    def reached(self, document: str) -> str:
        """The figure as it stands in `document`. Raises LookupError where the table lacks it."""
        _, begun, rest = document.partition(f"<!-- bench {self.table} -->\n")
        section, ended, _ = rest.partition("<!-- end -->")
        if not (begun and ended):
            message = f"there is no table of {self.table}"
            raise LookupError(message)
        if section.startswith(NOT_MEASURED):
            return NOT_MEASURED
        head, _, *rows = (cells(line) for line in section.splitlines() if line.startswith("|"))
        row = next((each for each in rows if each[0] == self.row), None)
        if row is None or self.column not in head:
            message = f"the table of {self.table} has no {self.column!r} of {self.row!r}"
            raise LookupError(message)
        return row[head.index(self.column)]

    def day(self, document: str) -> str:
        """When its table was made. Raises LookupError as `reached`."""
        self.reached(document)
        head = document.partition(f"<!-- bench {self.table} -->\n")[2]
        return head.partition(",")[0]

    def is_met_by(self, figure: str) -> bool:
        """Whether that is what was aimed at."""
        number = float(figure.replace(",", ""))
        return number <= self.aim if self.at_most else number >= self.aim


BASE: Final = "RoBERTa-base shape"
BUNDLED: Final = "bundled model"
PIPELINE: Final = "classify over pipeline"
BARE: Final = "classify over bare forward"
INFINITY: Final = "classify over Infinity's best"
WORKER: Final = "worker over classify"
LOOP: Final = "worker over bare loop"
BURST: Final = "a burst of ten times the rate for 5 s"
AGAIN: Final = "the same again"
MANY: Final = "many over few"
PEAK: Final = "resident memory at its peak, MB, messages behind"
CLUSTER: Final = f"{PEAK}; Apache Kafka"  # or whatever brokers are given
EMBEDDED: Final = f"{PEAK}; embedded broker"
BEHIND: Final = "resident memory with 1,000,000 messages behind over that with 1,000"
TARGETS: Final = (
    Target(f"{PIPELINE}, {BASE}, int8", "classify", f"{BASE}, int8", PIPELINE, 9),
    Target(f"{PIPELINE}, {BASE}, fp32", "classify", f"{BASE}, fp32", PIPELINE, 3.8),
    Target(f"{BARE}, {BASE}, int8", "classify", f"{BASE}, int8", BARE, 0.95),
    Target(f"{BARE}, {BASE}, fp32", "classify", f"{BASE}, fp32", BARE, 0.95),
    Target(f"{BARE}, {BUNDLED}, int8", "classify", f"{BUNDLED}, int8", BARE, 0.95),
    Target(f"{BARE}, {BUNDLED}, fp32", "classify", f"{BUNDLED}, fp32", BARE, 0.95),
    Target(f"{INFINITY}, {BASE}, int8", "infinity", BASE, INFINITY, 2.2),
    Target(f"{INFINITY}, {BUNDLED}, int8", "infinity", BUNDLED, INFINITY, 2.2),
    Target(f"{WORKER}, {BASE}", "throughput", f"{BASE}, int8", WORKER, 0.95),
    Target(f"{WORKER}, {BUNDLED}", "throughput", f"{BUNDLED}, int8", WORKER, 0.8),
    Target(f"{LOOP}, exactly once", "overhead", "exactly once", LOOP, 0.5),
    Target(f"{LOOP}, at least once", "overhead", "at least once", LOOP, 0.5),
    Target("repeated messages once, over each by itself, int8", "cache", "int8", "ratio", 2),
    Target(
        "the same over the cache alone turned off, int8",
        *("cache", "int8", "over the cache off alone", 2),
    ),
    Target("p99 at half load, ms", "load", "Poisson, half load", "p99, ms", 150, at_most=True),
    Target("lost in a burst", "load", BURST, "lost", 0, at_most=True),
    Target("reordered in a burst", "load", BURST, "reordered", 0, at_most=True),
    Target(
        "resident memory after the same burst again over that before it",
        *("load", AGAIN, "resident memory over that before", 1),
        at_most=True,
    ),
    Target(f"{BEHIND}; Apache Kafka", "scale", CLUSTER, MANY, 1.1, at_most=True),
    Target(f"{BEHIND}; embedded broker", "scale", EMBEDDED, MANY, 1.1, at_most=True),
    Target(
        "CPU a message, 64 partitions over 4",
        *("scale", "µs of CPU a message, partitions", MANY, 1.15),
        at_most=True,
    ),
    Target(
        "CPU a message, 16,384 rooms over 16",
        *("scale", "µs of CPU a message, rooms", MANY, 1.05),
        at_most=True,
    ),
    Target("start to /ready, s", "ready", "auto", "start to /ready, s", 4, at_most=True),
    Target(
        "longest gap around a hot swap, ms",
        *("hot_swap", "all", "longest gap near the swap, ms", 250),
        at_most=True,
    ),
    Target(
        "pseudo-labelling over classify",
        *("pseudo_label", f"{BUNDLED}, int8", "pseudo-label over classify", 0.95),
    ),
)


def rows(document: str) -> list[Row]:
    """A row a target. Raises LookupError where `document` lacks one's table."""
    found: list[Row] = []
    for target in TARGETS:
        figure = target.reached(document)
        measured = figure != NOT_MEASURED
        found.append(
            {
                "what": target.what,
                "aimed at": f"at {'most' if target.at_most else 'least'} {target.aim:g}",
                "reached": figure,
                "met": ("yes" if target.is_met_by(figure) else "no") if measured else "",
                "on": target.day(document) if measured else "",
            }
        )
    return found


def cells(line: str) -> list[str]:
    """Of a row of a Markdown table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
