"""The topics as they should be made."""

import pytest

from worker import topics
from worker.settings import WorkerSettings
from worker.topics import Topic

DAY_MS = 86_400_000


@pytest.mark.parametrize("partitions", [1, 8, 24])
def test_outputs_have_the_inputs_partitions_and_people_have_a_month_for_what_needs_them(
    partitions: int,
) -> None:
    week, month = {"retention.ms": str(7 * DAY_MS)}, {"retention.ms": str(30 * DAY_MS)}
    # Both hold more than the record that they come from, so they take more than 1 MiB.
    roomy = {"max.message.bytes": "2097152"}
    assert topics.wanted(WorkerSettings(_env_file=None), partitions) == [
        Topic("chat.messages", partitions, week),
        Topic("chat.emotions", partitions, week),
        Topic("chat.emotions.review", partitions, month | roomy),
        Topic("chat.messages.dlq", partitions, month | roomy),
        # One partition, so that promotions are heard in order; the last one of a model stays.
        Topic("emotion.models", 1, {"cleanup.policy": "compact"}),
    ]


def test_the_topics_have_the_names_of_the_settings() -> None:
    settings = WorkerSettings(
        input_topic="a",
        emotion_topic="b",
        review_topic="c",
        dead_letter_topic="d",
        models_topic="e",
        _env_file=None,
    )
    assert [topic.name for topic in topics.wanted(settings, 1)] == ["a", "b", "c", "d", "e"]
