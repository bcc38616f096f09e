"""Two nodes that are asked for the same partition's place end nothing."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher, OffsetResetStrategy
from aiokafka.errors import NoOffsetForPartitionError
from aiokafka.structs import OffsetAndMetadata

from worker import unplaced

PLACE = TopicPartition("chat", 3)


async def ask_two_nodes() -> dict[TopicPartition, Any]:
    """What aiokafka keeps for the next poll."""
    fetcher = object.__new__(Fetcher)
    fetcher._records = {}
    fetcher._prefetch_backoff = 0.1
    fetcher._default_reset_strategy = OffsetResetStrategy.NONE

    async def nothing_committed() -> OffsetAndMetadata:
        await asyncio.sleep(0)  # both are under way
        return OffsetAndMetadata(-1, "")

    state = SimpleNamespace(
        has_valid_position=False, awaiting_reset=False, fetch_committed=nothing_committed
    )
    assignment = SimpleNamespace(state_value=lambda _: state)
    asked = (fetcher._update_fetch_positions(assignment, node, [PLACE]) for node in (1, 2))
    await asyncio.gather(*asked)
    found: dict[TopicPartition, Any] = fetcher._records
    return found


async def test_the_first_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fetcher, "_set_error", None)  # put back afterwards
    unplaced.install()
    found = await ask_two_nodes()
    with pytest.raises(NoOffsetForPartitionError):
        found[PLACE].check_raise()


async def test_aiokafka_by_itself_still_ends_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once this fails, `worker/unplaced.py` can go."""
    monkeypatch.setattr(Fetcher, "_set_error", unplaced._keep)
    with pytest.raises(AssertionError):
        await ask_two_nodes()
