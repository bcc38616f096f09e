"""A consumer asks a broker that never waits no more often than stated."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from worker import pacing


class Fetcher:
    """What the pause is remembered on."""

    maum_heard: float


def asked(
    monkeypatch: pytest.MonkeyPatch, fetcher: Fetcher, *, found: bool
) -> Coroutine[Any, Any, bool]:
    """One question to a broker that answers at once."""

    async def answer(*_: object) -> bool:
        return found

    monkeypatch.setattr(pacing, "_ask", answer)
    return pacing._paced(fetcher, "assignment", 1, "request")


class Clock:
    """The loop's, which stands still but for pauses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


async def test_after_answers_that_held_nothing_there_are_longer_and_longer_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, fetcher = Clock(monkeypatch), Fetcher()
    for _ in range(6):
        assert await asked(monkeypatch, fetcher, found=False) is False
    assert clock.pauses == [pytest.approx(pacing.SHORTEST * times) for times in (1, 1, 2, 4, 8, 8)]
    assert await asked(monkeypatch, fetcher, found=True) is True
    await asked(monkeypatch, fetcher, found=False)
    assert clock.pauses[6:] == [pytest.approx(pacing.SHORTEST)]


@pytest.mark.parametrize(
    ("silence", "pause"),
    [(0.1, pacing.SHORT), (0.5, 0.5 * pacing.PART), (60.0, pacing.LONGEST)],
)
async def test_a_longer_silence_makes_longer_pauses_but_only_a_small_part_of_itself(
    silence: float, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, fetcher = Clock(monkeypatch), Fetcher()
    fetcher.maum_heard = clock.now - silence
    await asked(monkeypatch, fetcher, found=False)
    assert clock.pauses == [pytest.approx(pause)]


async def test_after_records_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StopIteration) as ended:
        asked(monkeypatch, Fetcher(), found=True).send(None)  # to its end without giving way once
    assert ended.value.value is True


async def test_who_is_cancelled_in_the_pause_found_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = asyncio.create_task(asked(monkeypatch, Fetcher(), found=False))
    await asyncio.sleep(0)
    asking.cancel()
    assert await asking is False
