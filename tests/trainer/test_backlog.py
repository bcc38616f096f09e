"""What waits is counted from the group's commit on, and no more of it is taken than the limit."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import backlog, collect
from trainer.broker import CollectError
from trainer.settings import TrainerSettings
from trainer.stage import Done

from .topic import Topic, ids, sample


@pytest.mark.kafka
def test_samples_that_expired_before_they_were_read_are_counted(topic: Topic) -> None:
    topic.send([sample(number) for number in range(12)])
    topic.snapshot()
    topic.send([sample(number) for number in range(12, 40)])
    asyncio.run(topic.expire(12))  # 7 of each partition are read: six samples and a marker
    said: list[str] = []
    done = collect.collect(topic.connection, topic.options, (), said.append)
    assert isinstance(done, Done)
    assert len(ids(done)) == 18
    (line,) = said
    assert line.startswith("collect: at most 10 review samples expired before they were read")


@pytest.mark.kafka
def test_a_group_that_never_read_misses_nothing_that_expired(topic: Topic) -> None:
    topic.send([sample(number) for number in range(40)])
    asyncio.run(topic.expire(5))
    said: list[str] = []
    collect.collect(topic.connection, topic.options, (), said.append)
    assert said == []


@pytest.mark.kafka
def test_an_offset_past_the_end_of_a_topic_made_anew_is_one_line(topic: Topic) -> None:
    topic.send([sample(number) for number in range(10)])
    asyncio.run(backlog.commit(topic.connection, topic.options, {0: (0, 999)}))
    with pytest.raises(CollectError, match="999, is past the end of the log") as caught:
        topic.collect()
    assert "\n" not in str(caught.value)


@pytest.mark.kafka
def test_a_topic_that_is_not_there_is_one_line(servers: str, options: TrainerSettings) -> None:
    with pytest.raises(CollectError, match="no such topic"):
        Topic(servers, options).collect()


@given(
    st.dictionaries(st.integers(0, 9), st.tuples(st.integers(0, 50), st.integers(1, 50))),
    st.integers(1, 200),
)
def test_a_limit_is_kept_to_and_used_up(spans: dict[int, tuple[int, int]], limit: int) -> None:
    waiting = {number: (first, first + count) for number, (first, count) in spans.items()}
    cut = backlog.limited(waiting, limit)
    taken = sum(last - first for first, last in cut.values())
    assert taken == min(limit, sum(last - first for first, last in waiting.values()))
    assert all(cut[number][0] == waiting[number][0] for number in cut)
    assert all(cut[number][1] <= waiting[number][1] for number in cut)
