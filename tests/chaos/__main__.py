"""`python -m tests.chaos`: the fault matrix on three brokers of Apache Kafka."""

import argparse
import asyncio
import hashlib
import logging
import re
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import orjson

from deploy.kafka.cluster import Cluster
from deploy.process import BrokerError
from tests.chaos import table
from tests.chaos.cells import CELLS, Cell
from tests.chaos.judge import Result
from tests.chaos.play import cluster_for, play

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ("worker", "schemas", "tests/chaos", "tests/kafka", "deploy/kafka")


async def run(
    cells: list[tuple[int, Cell]], messages: int, seed: str, pace: float, out: Path
) -> list[Result]:
    """Play `cells`, each with the number of its round; results go to `out` as they come.

    What `out` has of the same code, seed, size and pace is not played again.
    """
    code = _code()
    asked = (code, seed, messages, pace)
    known = _played(out, asked)
    results = []
    brokers = Cluster()
    try:
        await brokers.start()
        for number, cell in cells:
            result = known.get((number, cell.name))
            if result is None:
                async with cluster_for(cell, brokers) as cluster:
                    result = await play(cluster, cell, messages, f"{seed}-{number}", pace=pace)
                row = {"asked": asked, "round": number, "result": asdict(result)}
                with out.open("ab") as file:
                    file.write(orjson.dumps(row) + b"\n")
            results.append(result)
            _print(result, number)
    finally:
        brokers.stop()
    return results


def _order(cells: list[Cell], rounds: int, others: int) -> list[tuple[int, Cell]]:
    """Main cells round by round, then the others round by round."""
    return [
        (number, cell)
        for main, count in ((True, rounds), (False, others))
        for number in range(1, count + 1)
        for cell in cells
        if cell.main is main
    ]


def _code() -> str:
    """A hash of the worker and of all that judges it: results of other code are not these."""
    digest = hashlib.sha256()
    for path in sorted(each for folder in CODE for each in (ROOT / folder).rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _played(out: Path, asked: tuple[str | int | float, ...]) -> dict[tuple[int, str], Result]:
    lines = out.read_bytes().splitlines() if out.exists() else []
    rows = [orjson.loads(line) for line in lines]
    return {
        (row["round"], row["result"]["cell"]): Result(**row["result"])
        for row in rows
        if row.get("asked") == list(asked)
    }


def _print(result: Result, number: int) -> None:
    print(f"{number} {result.line()}")
    for line in (*result.faults, *(f"PROBLEM {each}" for each in result.problems)):
        print(f"    {line}")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", default=secrets.token_hex(4), help="the same faults again")
    parser.add_argument("--rounds", type=int, default=3, help="of each cell (3)")
    parser.add_argument("--others", type=int, help="rounds of those that are not main ones")
    parser.add_argument("--messages", type=int, default=100_000, help="of a main cell")
    parser.add_argument(
        "--pace",
        type=float,
        default=1.0,
        help="of main cells: 2 sends at half the rate, for a slower machine (1)",
    )
    parser.add_argument("--only", default="", help="cells whose name matches this expression")
    parser.add_argument("--write", type=Path, help="the page that gets the table")
    parser.add_argument("--out", type=Path, default=Path(".kafka/chaos.jsonl"))
    options = parser.parse_args()
    cells = [cell for cell in CELLS if re.search(options.only, cell.name)]
    # The subscriber's and the feeder's complaints of what is done to their brokers on purpose.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    options.out.parent.mkdir(exist_ok=True)
    print(f"seed {options.seed}: {len(cells)} cells, {options.rounds} rounds", flush=True)
    try:
        others = options.rounds if options.others is None else options.others
        played = _order(cells, options.rounds, others)
        results = asyncio.run(
            run(played, options.messages, options.seed, options.pace, options.out)
        )
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    if options.write and options.only:
        print(f"{options.write} is left as it is: its table is of all cells")
    elif options.write:
        asked = f"--seed {options.seed} --rounds {options.rounds} --others {others}"
        asked += f" --messages {options.messages} --pace {options.pace:g}"
        table.write(options.write, results, asked, _code())
    broken = {cell.name for cell in cells if cell.broken}
    # Each control has to be caught once; it need not do harm each time.
    caught = {each.cell for each in results if each.caught}
    failed = any(each.problems for each in results if each.cell not in broken)
    return int(failed or not broken <= caught)


if __name__ == "__main__":
    sys.exit(main())
