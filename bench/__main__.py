"""`make bench`: run every benchmark, write bench/results/*.json and print the tables."""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from bench import (
    cache,
    classify,
    gpu,
    gpu_peers,
    gpu_workers,
    hot_swap,
    infinity,
    load,
    overhead,
    peers,
    pseudo_label,
    public,
    ready,
    scale,
    targets,
    texts,
    throughput,
)
from bench.classify import CannotRunError, Row
from bench.tables import machine, table

RESULTS: Final = Path(__file__).parent / "results"
DOCS: Final = Path(__file__).parent.parent / "docs" / "performance.md"
PLOTS: Final = DOCS.parent / "plots"
BENCHES: Final = {
    "overhead": overhead.run,
    "throughput": throughput.run,
    "classify": classify.run,
    "infinity": infinity.run,
    "load": load.run,
    "scale": scale.run,
    "cache": cache.run,
    "ready": ready.run,
    "hot_swap": hot_swap.run,
    "pseudo_label": pseudo_label.run,
    "gpu": gpu.run,
    "gpu_peers": gpu_peers.run,
    "gpu_workers": gpu_workers.run,
}
ROUNDS: Final = {
    "load": "one run, of half load three",
    "gpu": "one run",
    "scale": "{} rounds, of memory one",
}
MADE: Final = {"gpu": "random tokens", "ready": "no texts"}  # else those that are given
# Most machines have none: what was published stays.
CUDA: Final = {"gpu", "gpu_peers", "gpu_workers"}
NAMES: Final = (*BENCHES, "public")
BROKERS: Final = "; brokers as given" if os.environ.get("KAFKA_BOOTSTRAP_SERVERS") else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them all, or those named; exit code 2 without texts, 1 where one named cannot run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", nargs="*", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--texts", type=Path, help="a text file, one text a line")
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("BENCH_DATA"),
        help="the folder with kote_44.tsv and chatbot.tsv, for `public` (BENCH_DATA)",
    )
    parser.add_argument(
        "--rounds", type=at_least_one, default=5, help="runs of each; medians are shown"
    )
    parser.add_argument(
        "--publish", action="store_true", help="write the tables into docs/performance.md as well"
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.bench) - set(NAMES))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    try:
        given = texts.read(options.texts)
    except texts.TextsError as error:
        print(f"--texts: {error}", file=sys.stderr)
        return 2
    named = options.texts.name if options.texts else "bench/texts.py"
    code = 0
    for name in options.bench or NAMES:
        started = monotonic()
        try:
            if name == "public":
                rows, source = public.run(options.data, options.rounds), "public texts"
            else:
                rows = BENCHES[name](given, options.rounds)
                source = MADE.get(name, f"{len(given)} texts of {named}")
        except CannotRunError as error:
            print(error, flush=True)
            code = 1 if name in options.bench else code
            if options.publish and name not in CUDA and not published(name):
                publish(name, f"{targets.NOT_MEASURED}: {error}")
            continue
        where = f"{machine()}{beside(name)}; {source}; {rounds(name, options.rounds)}{BROKERS}"
        keep(name, where, rows)
        print(f"{name}: {where}; {monotonic() - started:.0f} s\n\n{table(rows)}\n", flush=True)
        if options.publish:
            publish(name, "\n\n".join([f"{where}.", table(rows), *drawn(name, rows)]))
    if options.publish:
        publish("targets", table(targets.rows(DOCS.read_text(encoding="utf-8"))))
    return code


def at_least_one(text: str) -> int:
    """An argument. Raises ValueError, as argparse wants it."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def rounds(name: str, asked: int) -> str:
    """How many a table's figures come from."""
    return ROUNDS.get(name, "{} rounds").format(asked)


def beside(name: str) -> str:
    """What the peer of a table was made with, where it has an environment of its own."""
    return f"; beside {infinity.versions()}" if name in {"infinity", "public"} else ""


def keep(name: str, where: str, rows: list[Row]) -> None:
    """Write the result as JSON."""
    RESULTS.mkdir(exist_ok=True)
    result = {"machine": where, "rows": rows}
    text = json.dumps(result, ensure_ascii=False, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def drawn(name: str, rows: list[Row]) -> list[str]:
    """The plots that belong to a table, as Markdown."""
    made: list[Path] = []
    if name == "load":
        made = load.draw(rows, PLOTS)
    elif name in {"classify", "infinity"}:  # drawn from both, shown under the second
        # Results are not committed, but plots are: those that cannot be drawn anew stay.
        both = peers.draw(RESULTS, PLOTS) or peers.drawn(PLOTS)
        made = both if name == "infinity" else []
    return [f"![{path.stem}]({PLOTS.name}/{path.name})" for path in made]


def published(name: str) -> bool:
    """Whether the docs have figures of `name`, which a run without any must not remove."""
    marker = f"<!-- bench {name} -->\n"
    return (
        not DOCS.read_text(encoding="utf-8").partition(marker)[2].startswith(targets.NOT_MEASURED)
    )


def publish(name: str, text: str) -> None:
    """Put `text` between the markers of `name` in the docs."""
    document = DOCS.read_text(encoding="utf-8")
    marked = re.compile(rf"(<!-- bench {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    made, count = marked.subn(lambda found: f"{found[1]}{text}\n{found[2]}", document)
    if count != 1:
        message = f"{DOCS.name} has no place for the table of {name}"
        raise RuntimeError(message)
    DOCS.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
