"""Infinity in its own virtual environment: classifies when asked, and says how long it took.

Run by `bench/infinity.py`: `python infinity_server.py FOLDER DTYPE`. Reads the texts as a JSON line
first; then each line that comes in is one round, and one line of seconds goes out. Its engine is
called within the process: what HTTP would cost comes on top.
"""

import asyncio
import json
import sys
from time import perf_counter

from infinity_emb import (  # type: ignore[import-not-found]  # of its own environment
    AsyncEmbeddingEngine,
    EngineArgs,
)


async def serve(folder: str, dtype: str) -> None:
    """Serve until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # its libraries print what they like
    texts = json.loads(sys.stdin.readline())
    engine = AsyncEmbeddingEngine.from_args(
        EngineArgs(
            model_name_or_path=folder,
            engine="torch",
            device="cpu",
            dtype=dtype,
            model_warmup=False,
            trust_remote_code=False,
            bettertransformer=False,
        )
    )
    async with engine:
        while await asyncio.to_thread(sys.stdin.readline):
            started = perf_counter()
            predictions, _ = await engine.classify(sentences=texts)
            if len(predictions) != len(texts):
                message = f"{len(predictions)} answers for {len(texts)} texts"
                raise RuntimeError(message)
            print(perf_counter() - started, file=answers, flush=True)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:3]))
