"""A pause after an answer to a fetch that brought nothing, for brokers that don't wait.

A fetch asks the broker to wait half a second for records. Apache Kafka does; the embedded broker
answers at once, and aiokafka asks again at once: each idle consumer would take most of a core from
whatever shares the machine with it. With a broker that waits, nothing of this is felt.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

from aiokafka.consumer.fetcher import Fetcher

SHORTEST: Final = 0.002  # seconds from one question to the next, where the answer held nothing;
SHORT: Final = 0.016  # twice as many after each further one, up to this;
PART: Final = 1 / 16  # after a longer silence so much of it, which who ends it does not feel,
LONGEST: Final = 0.064  # up to this
_ask: Final = Fetcher._proc_fetch_request  # noqa: SLF001  (it has no other seam)


def install() -> None:
    """Let every consumer of this process pause so."""
    Fetcher._proc_fetch_request = _paced  # noqa: SLF001


async def _paced(self: Any, *asked: Any) -> bool:  # noqa: ANN401  (aiokafka is untyped)
    clock = asyncio.get_running_loop().time
    began = clock()
    if await _ask(self, *asked):
        self.maum_pause, self.maum_heard = 0.0, clock()
        return True
    if not hasattr(self, "maum_heard"):
        self.maum_heard = began
    silent = began - self.maum_heard
    short = min(max(2 * getattr(self, "maum_pause", 0.0), SHORTEST), SHORT)
    pause = min(max(short, PART * silent), LONGEST)
    self.maum_pause = pause
    # Cancelled where its partitions are gone or the consumer ends; it answers the same itself.
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(pause - (clock() - began))
    return False
