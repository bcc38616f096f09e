"""The loop on one machine: a weak model serves, its doubts are collected, a better one takes over.

`make loop-demo`, or `python -m examples.loop`: broker, worker, a stream of chat, `trainer run`, the
gate, the swap in the running worker, and the same messages again. Exits 0 where the worker serves
the new model, every message got its event and the new model is the better one, 1 where not.

The students start from the bundled model's encoder with a new head. That encoder has seen the
training data before, so the figures show that the loop works, not how good it is.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.process import HOST
from examples import command, demo, serving, stack
from examples.stack import DemoError
from schemas.emotion import EMOTIONS, EmotionEvent
from schemas.instant import datetime_text
from trainer import base, dataset, facts, fit, promote, select, tables, wording
from trainer.facts import Facts
from trainer.job import Job
from trainer.settings import DATA, TrainerSettings
from worker.settings import BUNDLED_MODEL

ROWS: Final = 720  # labelled sentences that the teacher learns from; the weak model, from six
SWAP_SECONDS: Final = 60.0
SILENCE_SECONDS: Final = 30.0

# Written for the demo: three an emotion, shown before and after.
SHOWN: Final = (
    ("분노", "약속 시간 두 시간이나 늦어 놓고 미안하단 말도 없네"),
    ("분노", "환불해 달라는데 왜 자꾸 말을 돌려요"),
    ("분노", "남의 물건에 손대지 말라고 몇 번을 말해"),
    ("불안", "결과 발표가 내일인데 떨어졌으면 어떡하지"),
    ("불안", "밤길에 누가 자꾸 따라오는 느낌이야"),
    ("불안", "검진에서 재검 나왔는데 큰 병이면 어쩌죠"),
    ("슬픔", "십 년 같이 산 고양이를 오늘 보내 줬어"),
    ("슬픔", "이제 그 번호로 전화해도 아무도 안 받네"),
    ("슬픔", "혼자 생일 케이크 사 와서 초만 켜 봤다"),
    ("평온", "창가에 앉아서 보리차 마시는 중이야"),
    ("평온", "회의는 두 시고 장소는 삼 층이에요"),
    ("평온", "산책 한 바퀴 돌고 들어와서 책 읽고 있어"),
    ("당황", "헐 마이크 켜진 줄 모르고 노래 불렀어"),
    ("당황", "어 잠깐 나 지금 딴 방에 보낸 거야?"),
    ("당황", "인사했는데 모르는 사람이었어 어떡해"),
    ("기쁨", "드디어 붙었다!! 다들 고마워 ㅠㅠ"),
    ("기쁨", "우리 팀 우승했어 미쳤다 진짜"),
    ("기쁨", "첫 월급으로 엄마 신발 사 드렸는데 너무 좋아하셔"),
)


def main() -> int:
    """Run it; returns the exit code."""
    return command.run("loop-demo", demonstrate)


def demonstrate() -> int:
    """Start everything, go once round the loop, stop everything."""
    started_at = time.monotonic()
    with ExitStack() as started:
        folder = Path(started.enter_context(TemporaryDirectory(prefix="maum-loop-")))
        told, connection = started.enter_context(
            stack.following(folder, WORKER_REVIEW_SAMPLE_RATE="0.3")
        )
        options = settings(folder, told)
        say("a weak model: it learned from one sentence an emotion")
        weak = promote_weak(folder, options)
        started.enter_context(serving.ready_worker(told, folder / "worker.log"))
        say(f"the worker serves {weak}; chat streams in, its doubts go to the review topic")
        lines = [record.text for record in demo.records() if record.poison is None]
        before = asyncio.run(stream(connection, told, [text for _, text in SHOWN], "before"))
        asyncio.run(stream(connection, told, lines, "chat"))
        say("trainer run")
        train(options, told)
        must_use_the_stream(run_of(options))
        version = wait_for_swap(int(told["WORKER_ADMIN_PORT"]), weak)
        say(f"the running worker swapped to {version}; the same messages again")
        after = asyncio.run(stream(connection, told, [text for _, text in SHOWN], "after"))
        right, macro_f1 = show(before, after), show_golden(options)
        if {event.model.version for event in after} != {version}:
            raise DemoError("an event came from another version than the one that serves")
        must_rise("messages that come out right", *right)
        must_rise("macro-F1 on the golden set", *macro_f1)
    print(f"done in {time.monotonic() - started_at:.0f} s")
    return command.DONE


def settings(folder: Path, told: dict[str, str]) -> TrainerSettings:
    """What the trainer is told: small, and quick on two cores."""
    encoder = folder / "encoder"
    torch.manual_seed(7)
    model, tokenizer = base.load(str(BUNDLED_MODEL))
    for parameter in model.get_submodule("classifier").parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(encoder)
    tokenizer.save_pretrained(encoder)
    rows = dataset.read_labelled(DATA / "train.tsv")
    evenly = [row for place, row in enumerate(rows) if place % (len(rows) // ROWS) == 0]
    labelled = folder / "labelled.parquet"
    tables.write(
        labelled, [{"id": row.id, "text": row.text, "emotion": row.emotion} for row in evenly]
    )
    return TrainerSettings(
        registry=str(folder / "registry"),
        work=folder / "runs",
        labelled=labelled,
        teacher=str(encoder),
        student=str(encoder),
        max_length=64,
        epochs=2,
        teacher_learning_rate=5e-4,  # or it is right after an epoch already, and sure of nothing
        settle_weights=True,  # workers here have no GPU, and serve it in int8 if it agrees
        student_learning_rate=1e-4,  # more, and on so few texts it is surer than it is right
        review_topic=told["WORKER_REVIEW_TOPIC"],
        models_topic=told["WORKER_MODELS_TOPIC"],
        group_id=told["WORKER_GROUP_ID"].replace("worker", "trainer"),
        min_samples=60,
        ablation=False,
    )


def promote_weak(folder: Path, options: TrainerSettings) -> str:
    """Fit the weak model, and let it be the champion; its version."""
    rows = dataset.read_labelled(options.labelled)
    some = select.human([next(row for row in rows if row.emotion == name) for name in EMOTIONS])
    (folder / "weak").mkdir()
    once = options.model_copy(update={"epochs": 1})
    fit.fit(Job(options.student, some, some, once, learning_rate=2e-4), folder / "weak")
    now = datetime_text(datetime.now(UTC))
    stated = promote.state(folder / "weak/model", options, made_at=now, metrics={})
    return promote.promote(folder / "weak/model", stated, options, expected=None).version


async def stream(
    connection: dict[str, Any], told: dict[str, str], texts: Sequence[str], mark: str
) -> list[EmotionEvent]:
    """Send the texts, and return their events in the same order. Raises DemoError, KafkaError."""
    found: dict[str, EmotionEvent] = {}
    reading = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    async with (
        AIOKafkaConsumer(told["WORKER_EMOTION_TOPIC"], **connection, **reading) as consumer,
        AIOKafkaProducer(**connection, enable_idempotence=True) as producer,
    ):
        for number, text in enumerate(texts):
            value = json.dumps({"message_id": f"{mark}-{number}", "text": text}).encode()
            await producer.send(told["WORKER_INPUT_TOPIC"], value, key=str(number % 6).encode())
        heard = time.monotonic()
        while len(found) < len(texts):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                heard = time.monotonic()
                for record in batch:
                    event = EmotionEvent.model_validate_json(record.value)
                    if event.message_id.startswith(f"{mark}-"):
                        found[event.message_id] = event
            if time.monotonic() - heard > SILENCE_SECONDS:
                raise DemoError(f"{len(texts) - len(found)} messages got no event")
    return [found[f"{mark}-{number}"] for number in range(len(texts))]


def train(options: TrainerSettings, told: dict[str, str]) -> None:
    """The command that a scheduler calls. Raises DemoError."""
    stated = options.model_dump(mode="json", exclude_none=True)
    given = {f"TRAINER_{name.upper()}": str(value) for name, value in stated.items()}
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "run"],
        env=os.environ | told | given,
        check=False,
    )
    if done.returncode:
        raise DemoError("the trainer failed")


def wait_for_swap(port: int, old: str) -> str:
    """The version that the worker serves now. Raises DemoError where it stays the old one."""
    deadline = time.monotonic() + SWAP_SECONDS
    while time.monotonic() < deadline:
        asking = HTTPConnection(HOST, port, timeout=5)
        asking.request("GET", "/model")
        version = str(json.loads(asking.getresponse().read())["version"])
        asking.close()
        if version != old:
            return version
        time.sleep(0.1)
    raise DemoError("the worker still serves the old model: the gate did not say promote")


def show(before: Sequence[EmotionEvent], after: Sequence[EmotionEvent]) -> tuple[int, int]:
    """The messages that were written for this, before and after; how many came out right."""
    for (label, text), old, new in zip(SHOWN, before, after, strict=True):
        marks = ["✓" if event.emotion == label else " " for event in (old, new)]
        print(f"  {label}  {old.emotion} {marks[0]} → {new.emotion} {marks[1]}  {text}")
    old_right, new_right = (
        sum(event.emotion == label for (label, _), event in zip(SHOWN, events, strict=True))
        for events in (before, after)
    )
    print(f"  right: {old_right} of {len(SHOWN)} before, {new_right} after")
    return old_right, new_right


def run_of(options: TrainerSettings) -> Facts:
    """What the run's report says."""
    (path,) = options.work.glob(f"reports/*/{facts.FILE}")
    return facts.read(path.parent)


def must_use_the_stream(found: Facts) -> None:
    """Say what came of the review samples. Raises DemoError where nothing was learned from them."""
    (numbers,) = (step.numbers for step in found.steps if step.stage == "select")
    offered, learned = int(numbers["offered"]), int(numbers[f"{found.selection}_accepted"])
    print(f"  of {offered} messages from the review topic the student learned from {learned}")
    if not learned:
        raise DemoError("the teacher was sure of none of the messages from the review topic")


def show_golden(options: TrainerSettings) -> tuple[float, float]:
    """Both models on the golden set, with their 95 % intervals, as the report of the run has it.

    Returns macro-F1 before and after.
    """
    found = run_of(options)
    if found.before is None:
        raise DemoError("the run met no champion")
    print(f"  on the golden set, {found.after.items} messages:")
    for name, key in (("macro-F1", "macro_f1"), ("accuracy", "accuracy")):
        old, new = (
            wording.with_interval(each.intervals[key]) for each in (found.before, found.after)
        )
        print(f"  {name}: {old} before, {new} after")
    return found.before.intervals["macro_f1"][0], found.after.intervals["macro_f1"][0]


def must_rise(what: str, before: float, after: float) -> None:
    """Raises DemoError where the loop made nothing better."""
    if after <= before:
        raise DemoError(f"the new model is no better: {what}, {before:.4g} before, {after:.4g} now")


def say(line: str) -> None:
    """One step."""
    print(f"── {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
