"""A pause after an answer to a fetch that brought nothing, for brokers that don't wait.

A fetch asks the broker to wait half a second for records. Apache Kafka does; the embedded broker
answers at once, and aiokafka asks again at once: each idle consumer would take most of a core from
whatever shares the machine with it. With a broker that waits, nothing of this is felt.
"""

import asyncio
from typing import Any, Final

from aiokafka.consumer.fetcher import Fetcher

EMPTY_SECONDS: Final = 0.005  # from one question to the next, where the answer held nothing
_ask: Final = Fetcher._proc_fetch_request  # noqa: SLF001  (it has no other seam)


def install() -> None:
    """Let every consumer of this process pause so."""
    Fetcher._proc_fetch_request = _paced  # noqa: SLF001


async def _paced(self: Any, *asked: Any) -> bool:  # noqa: ANN401  (aiokafka is untyped)
    clock = asyncio.get_running_loop().time
    began = clock()
    found = bool(await _ask(self, *asked))
    if not found:
        try:
            await asyncio.sleep(EMPTY_SECONDS - (clock() - began))
        except asyncio.CancelledError:
            return False  # as it answers itself: the partitions are gone, or the consumer ends
    return found
