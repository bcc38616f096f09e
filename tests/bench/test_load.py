"""What the open-loop load makes of what it saw."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from bench import hot_swap, infinity, load, peers, plots, public, scale
from bench.__main__ import (
    BENCHES,
    BROKERS,
    DOCS,
    NAMES,
    beside,
    drawn,
    keep,
    main,
    publish,
    published,
)
from bench.classify import PRECISIONS, CannotRunError, Row
from bench.load import Seen, Step
from bench.targets import CLUSTER, MANY, NOT_MEASURED
from deploy.broker import BrokerError
from tests.worker.fakes import Clock


def step(rate: float, seconds: float) -> Step:
    return Step(rate, [seconds] * 10, reordered=0, twice=0, before=1.0, memory=1.0)


def event(number: int, offset: int, partition: int = 0) -> bytes:
    source = {"topic": "in", "partition": partition, "offset": offset}
    return orjson.dumps({"message_id": f"m-{number}", "source": source})


def test_the_knee_is_the_last_load_before_the_first_that_is_not_kept_pace_with() -> None:
    steps = [step(100, 0.05), step(200, 0.2), step(400, 3.0), step(500, 0.2)]
    assert load.find_knee(steps) == 200


@pytest.mark.parametrize(
    ("able", "tried", "knee"),
    [
        (270, [300, 250], 250),
        (390, [300, 350], 350),
        (210, [300, 250], 200),
        (1000, [], 500),  # all were kept pace with
        (50, [], 100),  # none was
    ],
)
async def test_the_knee_is_closed_in_on_between_the_last_good_load_and_the_first_bad_one(
    able: float, tried: list[float], knee: float
) -> None:
    asked: list[float] = []

    def took(rate: float) -> Step:
        return step(rate, 0.1 if rate <= able else 3.0)

    async def load_of(rate: float) -> Step:
        asked.append(rate)
        return took(rate)

    steps = await load.bisect([took(rate) for rate in (100, 200, 400, 500)], load_of)
    assert asked == tried
    assert [each.rate for each in steps] == sorted(each.rate for each in steps)
    assert load.find_knee(steps) == knee


def test_of_several_runs_the_one_with_the_median_p99_counts() -> None:
    assert load.middle([step(1, 0.3), step(2, 0.1), step(3, 0.2)]).rate == 3


async def test_after_a_burst_and_the_same_again_memory_is_looked_at_once_it_is_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, looks = Clock(), {0.0: 100.0, 10.0: 130.0, 20.0: 130.0}

    async def sleep(seconds: float) -> None:
        now.passes(seconds)

    async def burst(self: load.Load, plan: object) -> Step:  # noqa: ARG001
        memory = looks[now()]
        return Step(1.0, [0.1], reordered=0, twice=0, before=memory, memory=900.0)

    monkeypatch.setattr(load.Load, "step", burst)
    monkeypatch.setattr(load, "resident", lambda _: looks[now()])
    monkeypatch.setattr("bench.load.asyncio.sleep", sleep)
    loading = load.Load(None, "in", ["글"], 0)
    bursts = [load.row(name, await loading.burst(5.0), 9.0) for name in (load.BURSTY, load.AGAIN)]
    assert [each["resident memory over that before"] for each in bursts] == [1.3, 1.0]


def test_events_out_of_order_twice_and_missing_are_told_apart() -> None:
    seen = Seen(due=[0.0] * 4, took=[float("inf")] * 4)
    for number, offset, partition in ((0, 0, 0), (2, 2, 0), (1, 1, 0), (1, 1, 0), (2, 0, 1)):
        seen.take(event(number, offset, partition))
    assert (seen.events, seen.reordered) == (5, 1)
    assert Step(1.0, seen.took, seen.reordered, 0, 1.0, 1.0).lost == 1


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
    rows = [load.row(load.STEADY, step(rate, rate / 1e4), 400) for rate in (100, 200, 400)]
    (drawn,) = load.draw(rows, tmp_path)
    assert drawn.read_text(encoding="utf-8").startswith("<svg")
    bars = plots.throughput({"마음 int8": 10.0, "인피니티": 1.0}, "처리량", tmp_path / "bars.svg")
    assert bars.stat().st_size < 100_000


def test_without_both_results_no_peers_are_drawn(tmp_path: Path) -> None:
    assert peers.draw(tmp_path, tmp_path) == []


def test_plots_that_cannot_be_drawn_anew_stay_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.__main__.RESULTS", tmp_path / "results")
    monkeypatch.setattr("bench.__main__.PLOTS", tmp_path / "plots")
    assert drawn("infinity", []) == []
    (tmp_path / "plots").mkdir()
    for place in (1, 0):
        (tmp_path / "plots" / f"throughput-{place}.svg").touch()
    assert drawn("classify", []) == []
    assert drawn("infinity", []) == [
        f"![throughput-{place}](plots/throughput-{place}.svg)" for place in (0, 1)
    ]


@pytest.mark.parametrize("spelt", ["infinity-emb", "infinity_emb"])
@pytest.mark.parametrize("name", ["infinity", "public", "classify"])
def test_beside_infinity_the_versions_of_its_own_environment_are_told(
    name: str, spelt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for package, version in (("infinity_emb", "0.0.77"), ("transformers", "4.57.9")):
        about = packages / f"{package}-{version}.dist-info"
        about.mkdir(parents=True)
        named = spelt if package == "infinity_emb" else package
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {named}\nVersion: {version}\n"
        )
    monkeypatch.setattr(infinity, "ENVIRONMENT", tmp_path)
    told = "; beside infinity-emb 0.0.77, transformers 4.57.9"
    assert beside(name) == ("" if name == "classify" else told)


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


def test_results_of_different_days_are_not_drawn_side_by_side(tmp_path: Path) -> None:
    for name, day in (("classify", "2026-11-27"), ("infinity", "2026-11-25")):
        text = json.dumps({"machine": f"{day}, 2 cores; 5 rounds", "rows": []})
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
    assert peers.draw(tmp_path, tmp_path) == []


def test_public_texts_come_from_their_column(tmp_path: Path) -> None:
    table = "question\tanswer\tlabel\n12시 땡!\t하루가 또 가네요.\t0\n"
    (tmp_path / "chatbot.tsv").write_text(table, encoding="utf-8")
    assert public.read(tmp_path / "chatbot.tsv") == ["12시 땡!"]
    (tmp_path / "chatbot.tsv").write_text(table + table.partition("\n")[2], encoding="utf-8")
    assert public.read(tmp_path / "chatbot.tsv") == ["12시 땡!"]  # ours would infer it once
    with pytest.raises(CannotRunError, match="kote_44"):
        public.read(tmp_path / "kote_44.tsv")
    with pytest.raises(CannotRunError, match="--data"):
        public.run(None, 1)


@pytest.mark.parametrize("content", [b"", b"q\tanswer\na\tb\n", b"\xff\xfe", b"a\tquestion\nb\n"])
def test_a_public_file_of_another_kind_is_one_line_and_no_success(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kote_44.tsv").write_text("text\n좋다\n", encoding="utf-8")
    (tmp_path / "chatbot.tsv").write_bytes(content)
    assert main(["public", "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().out == (
        "public: chatbot.tsv is no tab-separated UTF-8 with a column question\n"
    )


def test_every_benchmark_has_its_place_in_the_docs() -> None:
    document = DOCS.read_text(encoding="utf-8")
    assert [name for name in NAMES if f"<!-- bench {name} -->" not in document] == []
    assert {"hot_swap", "pseudo_label"} <= set(BENCHES)


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
        ("classify", "1 texts of mine.txt; 7 rounds"),
        ("load", "1 texts of mine.txt; one run, of half load three"),
        ("gpu", "random tokens; one run"),
        ("ready", "no texts; 7 rounds"),
        ("scale", "1 texts of mine.txt; 7 rounds, of memory one"),
    ],
)
def test_the_head_of_a_table_tells_the_texts_and_the_rounds_that_were_run(
    name: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: list[str], __: int) -> list[Row]:
        return [{"msg/s": 1.0}]

    monkeypatch.setattr("bench.__main__.RESULTS", tmp_path)
    monkeypatch.setitem(BENCHES, name, run)
    (tmp_path / "mine.txt").write_text("글\n", encoding="utf-8")
    assert main([name, "--rounds", "7", "--texts", str(tmp_path / "mine.txt")]) == 0
    kept = orjson.loads((tmp_path / f"{name}.json").read_bytes())
    assert kept["machine"].endswith(f"; {told}{BROKERS}")


def test_scale_takes_all_rounds_but_of_memory_one(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, int] = {}
    for name in ("memory", "partitions", "rooms"):

        def measure(*_: object, name: str = name) -> Callable[[int], float]:
            def once(size: int) -> float:
                taken[name] = taken.get(name, 0) + 1
                return float(size)

            return once

        monkeypatch.setattr(scale, name, measure)
    monkeypatch.setattr(scale, "classpath", lambda: "jars")
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    scale.run([], 5)
    assert taken == {"memory": 2 * 2, "partitions": 2 * 5, "rooms": 2 * 5}


def test_memory_is_not_measured_on_apache_kafka_where_it_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise BrokerError("there is none")

    monkeypatch.setattr(scale, "classpath", none)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert [bool(running) for running in scale.brokers().values()] == [False, True]
    assert scale.unknown(CLUSTER)[MANY] == NOT_MEASURED
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "somewhere:9092")
    assert [bool(running) for running in scale.brokers().values()] == [True, False]


def test_the_swaps_of_all_rounds_are_added_up_and_the_longest_gap_is_told() -> None:
    rounds: list[Row] = [
        {"round": f"{number}", "sent": "900", "lost": "1", "longest gap near the swap, ms": gap}
        for number, gap in enumerate((54.0, 61.5, 40.0), start=1)
    ]
    assert hot_swap.together(rounds) == {
        "round": "all",
        "sent": "2700",
        "lost": "3",
        "longest gap near the swap, ms": 61.5,
    }


def test_results_are_kept_with_their_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.__main__.RESULTS", tmp_path / "results")
    keep("load", "two cores", [{"msg/s": 1.0}])
    kept = orjson.loads((tmp_path / "results" / "load.json").read_bytes())
    assert kept == {"machine": "two cores", "rows": [{"msg/s": 1.0}]}
