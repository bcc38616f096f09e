"""What was aimed at is read off the published tables."""

import pytest

from bench.__main__ import DOCS
from bench.tables import table
from bench.targets import TARGETS, Target, rows

PAGE = """
<!-- bench speed -->
2026-11-26, a machine.

| model | msg/s | ratio |
|---|---|---|
| small | 1,306 | 0.95 |
| large | 60.6 | 0.949 |
<!-- end -->

<!-- bench gpu -->
not measured yet: no CUDA device
<!-- end -->
"""


def test_the_page_shows_what_its_tables_say_beside_what_was_aimed_at() -> None:
    document = DOCS.read_text(encoding="utf-8")
    shown = document.partition("<!-- bench targets -->\n")[2].partition("<!-- end -->")[0]
    assert shown == table(rows(document)) + "\n"
    assert len(rows(document)) == len(TARGETS)


def test_a_figure_is_found_by_row_and_column_and_held_against_its_aim() -> None:
    least, most = (
        Target("", "speed", "small", "msg/s", 1300),
        Target("", "", "", "", 0.95, at_most=True),
    )
    assert least.reached(PAGE) == "1,306"
    assert [least.is_met_by(figure) for figure in ("1,306", "1,300", "1,299")] == [1, 1, 0]
    assert [most.is_met_by(figure) for figure in ("0.949", "0.95", "0.951")] == [1, 1, 0]


def test_what_was_not_measured_is_not_reached_and_a_lost_table_is_told() -> None:
    assert Target("", "gpu", "small", "ratio", 1).reached(PAGE) == "not measured yet"
    lost = [("cache", "", ""), ("speed", "huge", "ratio"), ("speed", "small", "s")]
    for name, row, column in lost:
        with pytest.raises(LookupError, match="table of"):
            Target("", name, row, column, 1).reached(PAGE)
