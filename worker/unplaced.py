"""A partition without a place, found so twice before anybody heard of it.

aiokafka asks a partition's leader where to read on. Where the leader moves meanwhile, and the old
one hangs, it asks the new one as well; both answer that no offset is known, and the second answer
meets an assertion that ends all fetching of the consumer for good.
"""

from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher

_keep: Final = Fetcher._set_error  # noqa: SLF001  (it has no other seam)


def install() -> None:
    """Let every consumer of this process keep the first of the two."""
    Fetcher._set_error = _once  # noqa: SLF001


def _once(self: Any, place: TopicPartition, error: Exception) -> None:  # noqa: ANN401
    if place not in self._records:
        _keep(self, place, error)
