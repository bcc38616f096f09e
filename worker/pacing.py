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
LONGEST: Final = 0.064  # twice as many after each further one, up to this
_ask: Final = Fetcher._proc_fetch_request  # noqa: SLF001  (it has no other seam)


def install() -> None:
    """Let every consumer of this process pause so."""
    Fetcher._proc_fetch_request = _paced  # noqa: SLF001


async def _paced(self: Any, *asked: Any) -> bool:  # noqa: ANN401  (aiokafka is untyped)
    clock = asyncio.get_running_loop().time
    began = clock()
    if await _ask(self, *asked):
        self.maum_pause = 0.0
        return True
    pause = min(max(2 * getattr(self, "maum_pause", 0.0), SHORTEST), LONGEST)
    self.maum_pause = pause
    # Cancelled where its partitions are gone or the consumer ends; it answers the same itself.
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(pause - (clock() - began))
    return False
