"""A consumer asks a broker that never waits no more often than stated."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from worker import pacing


def asked(monkeypatch: pytest.MonkeyPatch, *, found: bool) -> Coroutine[Any, Any, bool]:
    """One question to a broker that answers at once."""

    async def answer(*_: object) -> bool:
        return found

    monkeypatch.setattr(pacing, "_ask", answer)
    return pacing._paced("fetcher", "assignment", 1, "request")


async def test_after_an_answer_that_held_nothing_there_is_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    assert await asked(monkeypatch, found=False) is False
    assert clock() - began >= pacing.EMPTY_SECONDS


async def test_after_records_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StopIteration) as ended:
        asked(monkeypatch, found=True).send(None)  # to its end without giving way once
    assert ended.value.value is True


async def test_who_is_cancelled_in_the_pause_found_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = asyncio.create_task(asked(monkeypatch, found=False))
    await asyncio.sleep(0)
    asking.cancel()
    assert await asking is False
