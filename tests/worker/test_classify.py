"""The worker's path without Kafka: every line answered, in order, none of it in the logs."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from math import nan
from pathlib import Path
from random import Random
from typing import Self

import pytest

from schemas.emotion import EmotionEvent
from worker.classify import Run
from worker.engines import Tokens
from worker.inference import HopelessError, Inference, Job
from worker.settings import BUNDLED_MODEL, WorkerSettings

from .fakes import FakeEngine, fake_classifier, inference_of

ROOT = Path(__file__).resolve().parents[2]


def classify_command(
    model: Path, folder: Path, lines: bytes, *words: str
) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if "WORKER_" not in name}
    return subprocess.run(
        [sys.executable, "-m", "worker", "classify", *words],
        cwd=folder,
        env=environment
        | {
            "PYTHONPATH": str(ROOT),
            "WORKER_MODEL": str(model),
            "WORKER_DEVICE": "cpu",
            "WORKER_LOG_LEVEL": "debug",
        },
        input=lines,
        capture_output=True,
        check=False,
        timeout=120,
    )


def test_good_lines_are_answered_in_order_and_bad_ones_complained_of(
    tiny_model: Path, tmp_path: Path
) -> None:
    lines = [
        '{"message_id":"a","text":"오늘 진짜 너무 좋다","room_id":"r","sent_at":0}',
        "왜 자꾸 연락을 안 받아?",
        '{"message_id":"c","text":7,"secret":"비밀"}',
        "가나다 라마바 사! " * 300,
        "",
        "{비밀}",
        "네",
    ]
    done = classify_command(tiny_model, tmp_path, "\n".join(lines).encode())
    events = [EmotionEvent.model_validate_json(line) for line in done.stdout.splitlines()]
    assert [event.message_id for event in events] == ["a", "2", "4", "5", "7"]
    assert [event.source.offset for event in events] == [0, 1, 3, 4, 6]
    assert [event.truncated for event in events] == [False, False, True, False, False]
    assert events[0].sent_at == "1970-01-01T00:00:00.000Z"
    errors = done.stderr.decode()
    complaints = [line for line in errors.splitlines() if line.startswith("line ")]
    assert [line.partition(":")[0] for line in complaints] == ["line 3", "line 6"]
    assert "invalid: ValidationError: text:" in complaints[0]
    assert "undecodable: " in complaints[1]
    assert done.returncode == 1
    assert "비밀" not in errors
    assert not any(line[:6] in errors for line in lines if len(line) > 6 and line[0] != "{")


def test_a_file_is_read_in_place_of_standard_input(tiny_model: Path, tmp_path: Path) -> None:
    chat = tmp_path / "chat.jsonl"
    chat.write_text('{"message_id":"a","text":"네"}\n오늘 진짜 너무 좋다\n', encoding="utf-8")
    done = classify_command(tiny_model, tmp_path, "다른 글\n".encode(), str(chat))
    assert done.returncode == 0, done.stderr
    events = [EmotionEvent.model_validate_json(line) for line in done.stdout.splitlines()]
    assert [event.message_id for event in events] == ["a", "2"]
    piped = classify_command(tiny_model, tmp_path, chat.read_bytes())
    again = [EmotionEvent.model_validate_json(line) for line in piped.stdout.splitlines()]
    assert [event.scores for event in events] == [event.scores for event in again]


def test_a_model_that_cannot_serve_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    done = classify_command(tmp_path / "model", tmp_path, b"")
    assert done.returncode == 1
    errors = done.stderr.decode()
    assert "Traceback" not in errors
    (line,) = (line for line in errors.splitlines() if line.startswith("worker: "))
    assert line.endswith("holds no config.json: not a Hugging Face model")


def test_a_model_whose_weights_are_cut_short_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    done = classify_command(folder, tmp_path, "네\n".encode())
    assert (done.returncode, done.stdout) == (1, b"")
    errors = done.stderr.decode()
    assert "Traceback" not in errors
    (line,) = (line for line in errors.splitlines() if line.startswith("worker: "))
    assert "cannot be loaded: SafetensorError: " in line


def test_the_bundled_model_knows_joy_from_sadness(tmp_path: Path) -> None:
    lines = "오늘 길에서 10만원을 주웠어\n오늘 친구들이랑 노래방에 갔어\n오늘 시험 망쳤어\n"
    done = classify_command(BUNDLED_MODEL, tmp_path, lines.encode())
    assert done.returncode == 0, done.stderr
    events = [EmotionEvent.model_validate_json(line) for line in done.stdout.splitlines()]
    assert [event.emotion for event in events] == ["기쁨", "기쁨", "슬픔"]


class Conversation:
    """A command whose input stays open: a line in, a line out."""

    def __init__(self, *words: str, **settings: str) -> None:
        environment = {name: value for name, value in os.environ.items() if "WORKER_" not in name}
        environment.pop("PYTHONUNBUFFERED", None)
        self.process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def answer(self) -> str:
        """The id of the message that is answered next."""
        assert self.process.stdout is not None
        return str(json.loads(self.process.stdout.readline())["message_id"])

    def complaints(self) -> str:
        """All of them, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


def test_a_line_is_answered_while_the_next_is_awaited_and_ctrl_c_ends_it(tiny_model: Path) -> None:
    settings = {"WORKER_MODEL": str(tiny_model), "WORKER_DEVICE": "cpu"}
    with Conversation("-m", "worker", "classify", **settings) as command:
        command.say("하나")
        assert command.answer() == "1"
        command.process.send_signal(signal.SIGINT)
        assert command.process.wait(10) == -signal.SIGINT
        assert "Traceback" not in command.complaints()


LOST = """
import sys
from tests.worker.fakes import FakeEngine, fake_classifier
from worker import parts
from worker.__main__ import main
from worker.engines import DeviceLostError

def lost(row):
    if 13 in row:
        raise DeviceLostError("CUDA error: unspecified launch failure")
    return 0.0

parts.classifier = lambda _: fake_classifier(FakeEngine(lost))
sys.exit(main(["classify"]))
"""


def test_a_lost_device_is_told_at_once_though_the_next_line_is_still_awaited() -> None:
    with Conversation("-c", LOST) as command:
        command.say("w2")
        assert command.answer() == "1"
        command.say("w13")
        assert command.process.wait(20) == 1
        assert command.complaints() == "worker: CUDA error: unspecified launch failure\n"


class Shuffled(Inference):
    """Answers nothing until all is queued, and then in a shuffled order."""

    def hold(self, lines: int, seed: int) -> None:
        self._held: list[tuple[Job, Tokens]] = []
        self._lines, self._random = lines, Random(seed)  # noqa: S311  (no secret)

    def submit(self, jobs: Sequence[tuple[Job, Tokens]]) -> None:
        self._held += jobs
        if len(self._held) == self._lines:
            self._random.shuffle(self._held)
            for job in self._held:
                super().submit([job])


async def run_over(
    inference: Inference, lines: Sequence[str]
) -> tuple[int, list[bytes], list[str]]:
    events: list[bytes] = []
    complaints: list[str] = []
    run = Run(inference, WorkerSettings(), events.append, complaints.append)
    bad = await run.classify(BytesIO("\r\n".join(lines).encode()))
    return bad, events, complaints


@pytest.mark.parametrize("seed", range(4))
async def test_lines_keep_their_order_however_results_finish(seed: int) -> None:
    lines = [f"w{number} " * (1 + number % 17) for number in range(2, 202)]
    inference = Shuffled(
        fake_classifier(FakeEngine()),
        inference_of(fake_classifier(FakeEngine()))._metrics,
        max_batch_tokens=30,
        max_wait=0.0 if seed % 2 else 9.0,
        margin_threshold=0.2,
        cache_entries=10,
        clock=lambda: 0.0,
    )
    inference.hold(len(lines), seed)
    bad, events, complaints = await run_over(inference, lines)
    assert (bad, complaints) == (0, [])
    ids = [json.loads(event)["message_id"] for event in events]
    assert ids == [str(place) for place in range(1, len(lines) + 1)]


async def test_what_the_model_fails_on_is_complained_of_by_line() -> None:
    engine = FakeEngine(lambda row: nan if 13 in row else 0.0)
    bad, events, complaints = await run_over(
        inference_of(fake_classifier(engine)), ["w2", "w13", "w3", "w13", "w4 비밀"]
    )
    assert bad == 2
    assert [json.loads(event)["message_id"] for event in events] == ["1", "3", "5"]
    assert complaints == [
        f"line {line}: unclassifiable: NotFinite: the model returned NaN or infinity"
        for line in (2, 4)
    ]


async def test_a_broken_model_ends_the_run() -> None:
    inference = inference_of(fake_classifier(FakeEngine(lambda _: nan)))
    with pytest.raises(HopelessError, match="100 inputs in a row"):
        await run_over(inference, [f"w{number}" for number in range(2, 200)])


@pytest.mark.parametrize("line", ["w2 w3", '{"message_id":"1","text":"w2 w3"}'])
async def test_the_mark_at_the_start_of_a_file_from_windows_is_no_part_of_it(line: str) -> None:
    engine = FakeEngine()
    bad, events, complaints = await run_over(
        inference_of(fake_classifier(engine)), ["\ufeff" + line, "w4"]
    )
    assert (bad, complaints) == (0, [])
    assert [json.loads(event)["message_id"] for event in events] == ["1", "2"]
    assert sorted(row for batch in engine.batches for row in batch) == [(0, 2, 3), (0, 4)]


@pytest.mark.parametrize(
    "line",
    [
        '{"message_id":"cut","text":"w2',
        '{"message_id":"cut"',
        '  { "message_id"',
        '{"',
        '{"message_id":"m","text":"w2"} trailing',
    ],
)
async def test_a_line_that_is_meant_as_json_and_is_none_is_complained_of(line: str) -> None:
    bad, events, (complaint,) = await run_over(
        inference_of(fake_classifier(FakeEngine())), [line, "w3"]
    )
    assert (bad, len(events)) == (1, 1)
    assert complaint.startswith("line 1: undecodable: JSONDecodeError: ")


@pytest.mark.parametrize("line", ["{", "{w2", "{ w2 } w3", 'w2 {"', "{^_^} w2"])
async def test_a_brace_alone_makes_no_json(line: str) -> None:
    inference = inference_of(fake_classifier(FakeEngine()))
    assert (await run_over(inference, [line]))[0] == 0


async def test_an_empty_file_has_no_events() -> None:
    assert await run_over(inference_of(fake_classifier(FakeEngine())), []) == (0, [], [])
