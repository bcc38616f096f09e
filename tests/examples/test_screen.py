"""What the demo shows of an event, and how it sums up."""

import pytest

from examples import demo
from examples.screen import Screen
from examples.tally import Tally
from schemas.emotion import EMOTIONS, Emotion, EmotionEvent, ModelRef, SourceRef
from tests.worker.fakes import FakeRecord


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def event(offset: int, emotion: Emotion, *, low_margin: bool) -> FakeRecord:
    """What the worker says of the message `offset`."""
    top, second = (0.4, 0.3) if low_margin else (0.7, 0.0)
    scores: dict[str, float] = dict.fromkeys(EMOTIONS, (1 - top - second) / 4)
    scores |= {emotion: top, "평온": second}
    made = EmotionEvent(
        event_id=f"chat.messages-0-{offset}",
        message_id=f"demo-{offset}",
        room_id=None,
        user_id=None,
        emotion=emotion,
        confidence=top,
        margin=top - second,
        scores=scores,
        low_margin=low_margin,
        truncated=False,
        model=ModelRef(name="maum", version="7"),
        source=SourceRef(topic="chat.messages", partition=0, offset=offset),
        sent_at="2024-05-01T12:00:00.123Z",
        classified_at="2024-05-01T12:00:00.456Z",
    )
    return FakeRecord(value=made.model_dump_json().encode())


def test_an_event_of_low_margin_is_marked_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = [demo.Record("room", "민지", text) for text in ("아 그래", "좋다")]
    tally, screen = Tally(), Screen()
    demo.take(event(0, "슬픔", low_margin=True), 0, wanted, tally, screen)
    demo.take(event(1, "기쁨", low_margin=False), 0, wanted, tally, screen)
    unsure, sure = shown(capsys)
    assert unsure.startswith("room")
    assert "민지: 아 그래" in unsure
    assert unsure.endswith("슬픔 0.40  low margin")
    assert sure.endswith("기쁨 0.70")
    assert (tally.low_margin, tally.emotions) == (1, {"슬픔": 1, "기쁨": 1})


def summed_up() -> Tally:
    """Ten records sent in 0.9 s, a result each after 10, 20, … 100 ms, one of them a dead letter.

    The last one is seen 1 s after the first was sent.
    """
    tally = Tally(low_margin=3, reviews=4)
    tally.sent = {(0, number): 100 + number / 10 for number in range(10)}
    tally.seen = {place: sent + (place[1] + 1) / 100 for place, sent in tally.sent.items()}
    tally.poison = tally.dead = {(0, 4)}
    tally.emotions.update({"기쁨": 6, "분노": 3})
    return tally


def test_the_summary_counts_and_measures_everything(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().summary(summed_up())
    lines = [line.rstrip() for line in shown(capsys) if line]
    assert lines == [
        f"분노    3  {'█' * 25}",
        "불안    0",
        "슬픔    0",
        "평온    0",
        "당황    0",
        f"기쁨    6  {'█' * 50}",
        "10 records sent, 10.0 results a second",
        "produce to visible (read_committed): p50 50 ms, p99 100 ms",
        "9 events (3 low margin), 4 for review, 1 dead letters",
        "exactly one result for every record",
    ]


def test_what_must_not_be_takes_the_place_of_exactly_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tally = summed_up()
    del tally.seen[0, 9]
    tally.repeats = 2
    tally.seen[1, 0] = tally.seen[0, 0]
    tally.dead = {(0, 5)}
    Screen().summary(tally)
    assert shown(capsys)[-1] == (
        "1 records without a result; 1 results of nothing that was sent; 2 repeated results; "
        "1 messages among the dead letters; 1 unreadable records with an emotion"
    )


def test_without_any_result_the_summary_says_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Screen().summary(Tally(sent={(0, 0): 1.0}))
    lines = shown(capsys)
    assert lines[-2:] == [
        "0 events (0 low margin), 0 for review, 0 dead letters",
        "1 records without a result",
    ]
    assert not any("results a second" in line for line in lines)
