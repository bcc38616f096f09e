"""`python -m bench.unchecked FOLDER PRECISION`: a worker on a model that no check would let pass.

Random weights have nothing to agree on; their speed is that of trained ones.
"""

import asyncio
import sys
from pathlib import Path

from bench.classify import load
from worker import parts, serve
from worker.settings import KafkaSettings, WorkerSettings


def main() -> int:
    """Run until SIGTERM."""
    folder, precision = sys.argv[1:3]
    parts.classifier = lambda *_: load(Path(folder), precision)
    return asyncio.run(serve.run(KafkaSettings(), WorkerSettings()))


if __name__ == "__main__":
    sys.exit(main())
