"""What the demo of the loop makes of the two models."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from examples import loop
from examples.stack import DemoError
from schemas.emotion import EMOTIONS, Emotion, EmotionEvent, ModelRef, SourceRef
from trainer.facts import Facts


def events(emotions: Sequence[Emotion]) -> list[EmotionEvent]:
    return [
        EmotionEvent(
            event_id=f"in-0-{offset}",
            message_id=f"m-{offset}",
            room_id=None,
            user_id=None,
            emotion=emotion,
            confidence=1.0,
            margin=1.0,
            scores={name: float(name == emotion) for name in EMOTIONS},
            low_margin=False,
            truncated=False,
            model=ModelRef(name="fake", version="1"),
            source=SourceRef(topic="in", partition=0, offset=offset),
            sent_at="2024-05-01T12:00:00.123Z",
            classified_at="2024-05-01T12:00:00.456Z",
        )
        for offset, emotion in enumerate(emotions)
    ]


def test_messages_that_come_out_right_are_counted_before_and_after() -> None:
    right: list[Emotion] = [name for label, _ in loop.SHOWN for name in EMOTIONS if name == label]
    calm: list[Emotion] = ["평온"] * len(right)
    assert loop.show(events(calm), events(right)) == (3, len(right))


@pytest.mark.parametrize("after", [11, 12])
def test_a_new_model_that_is_no_better_ends_the_demo_with_a_line(after: int) -> None:
    with pytest.raises(DemoError, match=f"no better: messages, 12 before, {after} now"):
        loop.must_rise("messages", 12, after)


def test_a_better_model_passes() -> None:
    loop.must_rise("macro-F1", 0.704, 0.7041)


def run_that_learned_from(count: int) -> Facts:
    numbers = {"offered": 320.0, "seed_accepted": float(count)}
    step = SimpleNamespace(stage="select", numbers=numbers)
    return cast("Facts", SimpleNamespace(selection="seed", steps=[step]))


def test_a_student_that_learned_nothing_from_the_stream_ends_the_demo_with_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    loop.must_use_the_stream(run_that_learned_from(7))
    assert (
        "of 320 messages from the review topic the student learned from 7"
        in capsys.readouterr().out
    )
    with pytest.raises(DemoError, match="sure of none"):
        loop.must_use_the_stream(run_that_learned_from(0))
