"""`python -m deploy.kafka up` and `down`: three brokers that stay, for trying things by hand."""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy.kafka.cluster import Cluster
from deploy.kafka.node import STOP_SECONDS
from deploy.process import BrokerError

STATE: Final = "cluster.json"


async def up(data_dir: Path) -> int:
    """Start three brokers on `data_dir`; they run until `down`."""
    state = data_dir / STATE
    if state.exists():
        known = json.loads(state.read_text(encoding="utf-8"))
        ended = [pid for pid in known["pids"] if not _is_ours(pid, data_dir)]
        if not ended:
            print(f"runs already: KAFKA_BOOTSTRAP_SERVERS={known['servers']}")
            return 0
        if len(ended) < len(known["pids"]):  # two of three serve, but not as three would
            raise BrokerError(
                f"{len(ended)} of {len(known['pids'])} brokers on {data_dir} ended by themselves; "
                "stop the others (make kafka-down), then start all: the records stay"
            )
    cluster = Cluster(data_dir)
    try:
        await cluster.start(outliving=True)
    except BaseException:
        cluster.stop()
        raise
    pids = [node.pid for node in cluster.nodes.values()]
    known = {"servers": cluster.bootstrap_servers, "pids": pids}
    state.write_text(json.dumps(known), encoding="utf-8")
    print(f"three brokers of Apache Kafka run on {data_dir}; `make kafka-down` stops them")
    print(f"KAFKA_BOOTSTRAP_SERVERS={cluster.bootstrap_servers}")
    return 0


def down(data_dir: Path) -> int:
    """Stop what `up` started; the records stay."""
    state = data_dir / STATE
    if not state.exists():
        print(f"nothing runs on {data_dir}")
        return 0
    pids = [
        pid
        for pid in json.loads(state.read_text(encoding="utf-8"))["pids"]
        if _is_ours(pid, data_dir)
    ]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while any(_is_ours(pid, data_dir) for pid in pids):
        if time.monotonic() > deadline:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    state.unlink()
    print(f"stopped; the records stay in {data_dir}")
    return 0


def _is_ours(pid: int, data_dir: Path) -> bool:
    """Whether `pid` is a node of this folder, and not another's process of the same number."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return str(data_dir.resolve()).encode() in command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit code 0, or 1 after one clear line."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.kafka",
        description="Three brokers of Apache Kafka on this machine, from its published jars.",
    )
    parser.add_argument("command", choices=("up", "down", "fetch"), help="fetch: the jars alone")
    parser.add_argument(
        "--data-dir", type=Path, default=Path(".kafka"), help="folder of the records (.kafka)"
    )
    options = parser.parse_args(arguments)
    try:
        if options.command == "down":
            return down(options.data_dir)
        if options.command == "up":
            return asyncio.run(up(options.data_dir.resolve()))
        Cluster(nodes=0).stop()
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
