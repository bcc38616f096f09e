"""What the open-loop load makes of what it saw."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from bench import load, peers, plots, public, scale
from bench.__main__ import BENCHES, BROKERS, DOCS, NAMES, keep, main, publish, published
from bench.classify import PRECISIONS, CannotRunError, Row
from bench.load import Seen, Step


def step(rate: float, seconds: float) -> Step:
    return Step(rate, [seconds] * 10, reordered=0, twice=0, memory=1.0)


def event(number: int, offset: int, partition: int = 0) -> bytes:
    source = {"topic": "in", "partition": partition, "offset": offset}
    return orjson.dumps({"message_id": f"m-{number}", "source": source})


def test_the_knee_is_the_last_load_before_the_first_that_is_not_kept_pace_with() -> None:
    steps = [step(100, 0.05), step(200, 0.2), step(400, 3.0), step(500, 0.2)]
    assert load.find_knee(steps) == 200


def test_events_out_of_order_twice_and_missing_are_told_apart() -> None:
    seen = Seen(due=[0.0] * 4, took=[float("inf")] * 4)
    for number, offset, partition in ((0, 0, 0), (2, 2, 0), (1, 1, 0), (1, 1, 0), (2, 0, 1)):
        seen.take(event(number, offset, partition))
    assert (seen.events, seen.reordered) == (5, 1)
    assert Step(1.0, seen.took, seen.reordered, 0, 1.0).lost == 1


def test_a_message_counts_from_when_it_was_due_and_by_its_first_event() -> None:
    seen = Seen(due=[-1e6], took=[float("inf")])
    seen.take(event(0, 0))
    first = seen.took[0]
    seen.take(event(0, 0))
    assert seen.took == [first]
    assert first > 1e6


def test_arrivals_follow_the_plan() -> None:
    arrivals = list(load.Load(None, "in", ["글"], 0)._poisson([(10.0, 50.0), (5.0, 500.0)]))
    assert all(early <= late for early, late in pairwise(arrivals))
    calm = sum(each < 10.0 for each in arrivals)
    assert 400 < calm < 600
    assert 2250 < len(arrivals) - calm < 2750


def test_plots_have_korean_letters(tmp_path: Path) -> None:
    # A letter that the font lacks is a warning, and warnings are errors here.
    rows = [load.row(load.STEADY, step(rate, rate / 1e4), 400, 1.0) for rate in (100, 200, 400)]
    (drawn,) = load.draw(rows, tmp_path)
    assert drawn.read_text(encoding="utf-8").startswith("<svg")
    bars = plots.throughput({"마음 int8": 10.0, "인피니티": 1.0}, "처리량", tmp_path / "bars.svg")
    assert bars.stat().st_size < 100_000


def test_without_both_results_no_peers_are_drawn(tmp_path: Path) -> None:
    assert peers.draw(tmp_path, tmp_path) == []


def test_our_int8_is_drawn_from_the_run_with_the_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {
        "classify, msg/s": 1.0,
        "pipeline one by one, fp32, msg/s": 2.0,
        "bare forward, msg/s": 3.0,
    }
    theirs = {
        "classify, int8, msg/s": 4.0,
        "Infinity float32, msg/s": 5.0,
        "Infinity int8, msg/s": 6.0,
    }
    monkeypatch.setattr("bench.__main__.RESULTS", tmp_path)
    keep("classify", "", [{"model": f"{m}, {p}", **ours} for m in peers.MODELS for p in PRECISIONS])
    keep("infinity", "", [{"model": model, **theirs} for model in peers.MODELS])
    drawn: list[dict[str, float]] = []

    def throughput(bars: dict[str, float], _: str, path: Path) -> Path:
        drawn.append(bars)
        return path

    monkeypatch.setattr(plots, "throughput", throughput)
    peers.draw(tmp_path, tmp_path)
    assert [bars["마음 int8"] for bars in drawn] == [4.0, 4.0]
    assert [bars["마음 fp32"] for bars in drawn] == [1.0, 1.0]


def test_public_texts_come_from_their_column(tmp_path: Path) -> None:
    table = "question\tanswer\tlabel\n12시 땡!\t하루가 또 가네요.\t0\n"
    (tmp_path / "chatbot.tsv").write_text(table, encoding="utf-8")
    assert public.read(tmp_path / "chatbot.tsv") == ["12시 땡!"]
    with pytest.raises(CannotRunError, match="kote_44"):
        public.read(tmp_path / "kote_44.tsv")
    with pytest.raises(CannotRunError, match="--data"):
        public.run(None, 1)


def test_every_benchmark_has_its_place_in_the_docs() -> None:
    document = DOCS.read_text(encoding="utf-8")
    assert [name for name in NAMES if f"<!-- bench {name} -->" not in document] == []


def test_figures_are_published_in_their_place_and_known_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "performance.md"
    page.write_text("<!-- bench load -->\nnot measured yet\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr("bench.__main__.DOCS", page)
    publish("load", "not measured yet: no broker")
    assert not published("load")
    publish("load", "| 1 |")
    assert published("load")
    assert page.read_text(encoding="utf-8") == "<!-- bench load -->\n| 1 |\n<!-- end -->\n"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("classify", "7 rounds"),
        ("load", "one run"),
        ("gpu", "one run"),
        ("scale", "7 rounds, of memory one"),
    ],
)
def test_the_head_of_a_table_tells_the_rounds_that_were_run(
    name: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: list[str], __: int) -> list[Row]:
        return [{"msg/s": 1.0}]

    monkeypatch.setattr("bench.__main__.RESULTS", tmp_path)
    monkeypatch.setitem(BENCHES, name, run)
    (tmp_path / "mine.txt").write_text("글\n", encoding="utf-8")
    assert main([name, "--rounds", "7", "--texts", str(tmp_path / "mine.txt")]) == 0
    kept = orjson.loads((tmp_path / f"{name}.json").read_bytes())
    assert kept["machine"].endswith(f"; 1 texts of mine.txt; {told}{BROKERS}")


def test_scale_takes_all_rounds_but_of_memory_one(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, int] = {}
    for name in ("memory", "partitions", "rooms"):

        def measure(_: list[str], name: str = name) -> Callable[[int], float]:
            def once(size: int) -> float:
                taken[name] = taken.get(name, 0) + 1
                return float(size)

            return once

        monkeypatch.setattr(scale, name, measure)
    scale.run([], 5)
    assert taken == {"memory": 2, "partitions": 2 * 5, "rooms": 2 * 5}


def test_results_are_kept_with_their_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.__main__.RESULTS", tmp_path / "results")
    keep("load", "two cores", [{"msg/s": 1.0}])
    kept = orjson.loads((tmp_path / "results" / "load.json").read_bytes())
    assert kept == {"machine": "two cores", "rows": [{"msg/s": 1.0}]}
