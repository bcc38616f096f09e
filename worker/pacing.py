"""A pause after an answer to a fetch that brought nothing, for brokers that don't wait.

A fetch asks the broker to wait half a second for records. Apache Kafka does; the embedded broker
answers at once, and aiokafka asks again at once: each idle consumer would take most of a core from
whatever shares the machine with it. With a broker that waits, nothing of this is felt.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

from aiokafka.consumer.fetcher import Fetcher

SHORTEST: Final = 0.002  # seconds from one question to the next, where the answer held nothing:
SHORT: Final = 0.016  # as long as nothing came, up to this,
PART: Final = 1 / 16  # and of a longer silence so much, which who ends it does not feel,
LONGEST: Final = 0.064  # up to this
_ask: Final = Fetcher._proc_fetch_request  # noqa: SLF001  (it has no other seam)


def install() -> None:
    """Let every consumer of this process pause so."""
    Fetcher._proc_fetch_request = _paced  # noqa: SLF001


async def _paced(self: Any, *asked: Any) -> bool:  # noqa: ANN401  (aiokafka is untyped)
    clock = asyncio.get_running_loop().time
    began = clock()
    if await _ask(self, *asked):
        self.maum_heard = clock()
        return True
    self.maum_heard = getattr(self, "maum_heard", began)
    silent = began - self.maum_heard
    pause = max(min(max(silent, SHORTEST), SHORT), min(PART * silent, LONGEST))
    # Cancelled where its partitions are gone or the consumer ends; it answers the same itself.
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(pause - (clock() - began))
    return False
