"""Whether a consumer polls, counted right where a poll ends with an error.

aiokafka leaves the group when nobody has polled for `max_poll_interval_ms`, and holds nobody for
idle while a poll is under way. It forgets to count down one that raises or is cancelled, so after
the first of them (an offset that is not known yet will do) a worker that hangs would keep its
partitions for as long as its heartbeats go on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from aiokafka.consumer.subscription_state import SubscriptionState


def install() -> None:
    """Let every consumer of this process count so."""
    SubscriptionState.fetch_context = _polling


@contextmanager
def _polling(self: Any) -> Iterator[None]:  # noqa: ANN401  (aiokafka is untyped)
    self._fetch_count += 1
    try:
        yield
    finally:
        self._fetch_count -= 1
        self._last_fetch_ended = monotonic()
