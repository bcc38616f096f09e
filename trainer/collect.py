"""The review topic → a de-duplicated Parquet snapshot; offsets are committed once it is durable."""

import asyncio
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from trainer import backlog, broker, records, samples, snapshot, stage
from trainer.settings import TrainerSettings
from trainer.stage import Done, Numbers

KEPT: Final = "the snapshot is kept, and the next run commits it"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Too few samples for a run: `count` at most, unless it is `exact`. Nothing was consumed."""

    count: int
    exact: bool = True


class TooFewError(Exception):
    """Among the records there are only `count` new, sound samples, and `repeats`."""

    def __init__(self, count: int, repeats: int) -> None:
        super().__init__(f"{count} samples")
        self.count = count
        self.repeats = repeats


def _warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  (beside the bar, apart from the answer)


def collect(
    connection: dict[str, Any],
    options: TrainerSettings,
    known: Iterable[Path] = (),
    warn: Callable[[str], None] = _warn,
) -> Done | Waiting:
    """Snapshot what waits on the review topic, but for what the folders `known` hold already.

    Where more waits than the limit takes, the oldest are used up however few of them are sound:
    they would stand before the others for ever. Without a single one there is no `SAMPLES` file.
    `warn` takes a line. Raises CollectError, StageError, DataError.
    """
    whole = broker.ask(lambda: backlog.look(connection, options, warn), connection, options)
    count = backlog.count(whole)
    if count < options.min_samples:
        return Waiting(count, exact=count == 0)
    waiting = backlog.limited(whole, options.max_samples)
    at_least = options.min_samples if waiting == whole else 0
    log = broker.ask(lambda: records.mark(connection, options, waiting), connection, options)
    contents = snapshot.contents(known)

    def make(folder: Path) -> Numbers:
        found = asyncio.run(records.read(connection, options, waiting))
        sifted = samples.sift(found, contents)
        if len(sifted.samples) < at_least:
            raise TooFewError(len(sifted.samples), sifted.repeats)
        snapshot.write(folder, sifted)
        return sifted.numbers

    offsets = {str(partition): list(span) for partition, span in sorted(waiting.items())}
    told = {
        "topic": options.review_topic,
        "log": log,  # a topic that was made anew has the same name, and soon the same offsets
        "offsets": orjson.dumps(offsets).decode(),
    }
    try:
        done = stage.run(options.work, "collect", {}, told, make, offsets=offsets)
    except TooFewError as error:
        if error.repeats:
            warn(f"collect: {error.repeats} of the records repeat samples that are kept already")
        return Waiting(error.count)
    broker.ask(lambda: backlog.commit(connection, options, waiting), connection, options, left=KEPT)
    return done
