"""What a group has committed: an error is never taken for "nothing"."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
)

from worker import committed as module
from worker.committed import OffsetFetchRequest_v7, StableOffsetFetch, committed

PLACE = TopicPartition("in", 3)


def old(offset: int, code: int = 0, whole: int = 0) -> Any:  # noqa: ANN401
    """An answer of version 3."""
    return SimpleNamespace(error_code=whole, topics=[("in", [(3, offset, "", code)])])


def new(offset: int, code: int = 0, whole: int = 0) -> Any:  # noqa: ANN401
    """An answer of version 7."""
    return SimpleNamespace(error_code=whole, topics=[("in", [(3, offset, 1, "", code, {})], {})])


class Client:
    """Gives its answers one after another, and the last one for ever."""

    def __init__(self, *answers: Any) -> None:  # noqa: ANN401
        self.answers = list(answers)
        self.lookups = 0

    async def coordinator_lookup(self, _kind: object, _group: str) -> int:
        self.lookups += 1
        return 1

    async def send(self, _node: int, _request: object) -> Any:  # noqa: ANN401
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)


@pytest.mark.parametrize("answer", [old, new])
async def test_the_offset_of_the_partition_is_read(answer: Any) -> None:  # noqa: ANN401
    assert await committed(Client(answer(41)), "group", PLACE) == 41
    assert await committed(Client(answer(0)), "group", PLACE) == 0


@pytest.mark.parametrize("answer", [old, new])
async def test_only_a_clear_answer_means_that_nothing_is_committed(answer: Any) -> None:  # noqa: ANN401
    assert await committed(Client(answer(-1)), "group", PLACE) is None


@pytest.mark.parametrize("code", [14, 15, 16, 88])
@pytest.mark.parametrize("answer", [old, new])
async def test_what_passes_is_asked_again_of_a_coordinator_looked_up_anew(
    answer: Any,  # noqa: ANN401
    code: int,
) -> None:
    client = Client(
        SimpleNamespace(error_code=code, topics=[]), answer(-1, code), answer(7, whole=0)
    )
    assert await committed(client, "group", PLACE) == 7
    assert client.lookups == 3


async def test_an_error_that_stays_is_not_nothing() -> None:
    with pytest.raises(KafkaTimeoutError, match="error 14"):
        await committed(Client(new(-1, whole=14)), "group", PLACE)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (new(-1, whole=30), GroupAuthorizationFailedError),
        (new(-1, code=29), TopicAuthorizationFailedError),
        (new(-1, code=3), KafkaError),
        (old(-1, whole=30), GroupAuthorizationFailedError),
        (SimpleNamespace(error_code=0, topics=[]), KafkaError),
    ],
)
async def test_any_other_error_is_raised(answer: Any, error: type[Exception]) -> None:  # noqa: ANN401
    with pytest.raises(error):
        await committed(Client(answer), "group", PLACE)


def test_a_broker_that_can_is_asked_for_stable_offsets() -> None:
    request = StableOffsetFetch("group", PLACE)
    assert request.prepare({9: (1, 9)}).require_stable is True
    assert isinstance(request.prepare({9: (1, 9)}), OffsetFetchRequest_v7)
    assert request.prepare({9: (0, 5)}).API_VERSION == 3
