"""What stands in for the parts around the one under test."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from schemas.emotion import EMOTIONS
from worker.classifier import Classifier, ModelId
from worker.codec import Headers, Output
from worker.consumer import Assignments, Fetched
from worker.engines import InferenceError, OutOfMemoryError, Tokens
from worker.inference import Inference, Verdict
from worker.metrics import Metrics

MODEL = ModelId("fake", "1")
SOURCE = TopicPartition("chat.messages", 2)  # of a FakeRecord


@dataclass(frozen=True)
class FakeRecord:
    """An input record."""

    value: bytes | None = None
    key: bytes | None = b"room-7"
    headers: Headers = ()
    topic: str = "chat.messages"
    partition: int = 2
    offset: int = 41
    timestamp: int = 1_714_564_800_123  # epoch milliseconds


@dataclass
class Clock:
    """Seconds that pass when told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeEngine:
    """Logits that depend on the row alone; `fault` may raise or spoil a row's logits."""

    fault: Callable[[Tokens], float] = lambda _: 0.0
    batches: list[list[Tokens]] = field(default_factory=list)
    name: str = "fake-cpu"
    precision: str = "fp32"
    multiple: int = 1

    def prepare(self, rows: Sequence[Tokens]) -> list[Tokens]:
        return list(rows)

    def run(self, prepared: list[Tokens]) -> NDArray[np.float32]:
        self.batches.append(prepared)
        return np.array(
            [
                [(sum(row) * (label + 3)) % 7 + self.fault(row) for label in range(6)]
                for row in prepared
            ],
            dtype=np.float32,
        )


@dataclass
class Cramped(FakeEngine):
    """Has memory for so many padded tokens a batch."""

    memory: int = 64
    fitted: list[list[Tokens]] = field(default_factory=list)

    def run(self, prepared: list[Tokens]) -> NDArray[np.float32]:
        if len(prepared) * max(map(len, prepared)) > self.memory:
            self.batches.append(prepared)
            raise OutOfMemoryError(f"OutOfMemory: {len(prepared)} rows")
        self.fitted.append(prepared)
        return super().run(prepared)


def fake_tokenizer(words: int = 500, unknown: str = "[UNK]") -> Tokenizer:
    """One token a word: `w7` is 7, any other word 1; a 0 stands in front.

    With another `unknown` it fails on any other word, as some do.
    """
    vocabulary = {"[CLS]": 0, "[UNK]": 1} | {f"w{number}": number for number in range(2, words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 0)])
    return tokenizer


def fake_classifier(engine: FakeEngine, model: ModelId = MODEL) -> Classifier:
    return Classifier(model, fake_tokenizer(), engine, EMOTIONS, 256)


def inference_of(
    classifier: Classifier,
    max_batch_tokens: int = 64,
    cache_entries: int = 0,
    metrics: Metrics | None = None,
) -> Inference:
    return Inference(
        classifier,
        metrics or Metrics(),
        max_batch_tokens=max_batch_tokens,
        max_wait=1.0,
        margin_threshold=0.2,
        cache_entries=cache_entries,
        clock=lambda: 0.0,
    )


class Waiter:
    """A job that keeps its answer."""

    def __init__(self, *, wanted: bool = True) -> None:
        self.answer: asyncio.Future[tuple[Verdict, ModelId]] = asyncio.Future()
        self._wanted = wanted

    def wanted(self) -> bool:
        return self._wanted

    def resolve(self, verdict: Verdict, model: ModelId) -> None:
        self.answer.set_result((verdict, model))


class Asker:
    """Asks a running inference stage."""

    def __init__(self, inference: Inference, serving: asyncio.Task[None]) -> None:
        self._inference = inference
        self._serving = serving

    async def ask(self, texts: Sequence[str]) -> list[Verdict]:
        """All verdicts, in the order of `texts`. Raises what ends the inference."""
        waiters = [Waiter() for _ in texts]
        jobs: list[tuple[Waiter, Tokens]] = []
        for waiter, each in zip(waiters, await self._inference.tokenize(texts), strict=True):
            if isinstance(each, InferenceError):
                waiter.resolve(each, self._inference.classifier.model)
            else:
                jobs.append((waiter, each.tokens))
        self._inference.submit(jobs)
        answers = asyncio.gather(*(waiter.answer for waiter in waiters))
        both: set[asyncio.Future[Any]] = {self._serving, answers}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            self._serving.result()
        return [verdict for verdict, _ in await answers]


@asynccontextmanager
async def running(inference: Inference) -> AsyncIterator[Asker]:
    """Run the stage, once, for as long as it is asked."""
    serving = asyncio.create_task(inference.run())
    try:
        yield Asker(inference, serving)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        inference.close()


async def verdicts_of(inference: Inference, texts: Sequence[str]) -> list[Verdict]:
    """All verdicts, in the order of `texts`; the stage is closed then."""
    async with running(inference) as asker:
        return await asker.ask(texts)


class FakeSource:
    """An input of a few partitions, `SOURCE` by default, which are given at the start."""

    def __init__(
        self, committed: int = 0, end: int = 0, partitions: Sequence[TopicPartition] = (SOURCE,)
    ) -> None:
        """`committed`: where each begins; `end`: of its log, as others see it."""
        self.committed = committed
        self.end = end
        self.partitions = partitions
        self.resumed: asyncio.Queue[None] = asyncio.Queue()  # one for each time
        self.paused: set[TopicPartition] = set()
        self.leaderless: set[TopicPartition] = set()
        self.asked = 0  # how often for the ends
        self.fails: Exception | None = None  # what the next poll raises
        self._fetched: deque[tuple[TopicPartition, Sequence[FakeRecord]]] = deque()

    def bring(self, *records: FakeRecord, at: TopicPartition = SOURCE) -> None:
        """Let a poll have these, unless `at` is paused then."""
        self._fetched.append((at, records))

    async def start(self, assignments: Assignments) -> None:
        self.group = assignments
        assignments.assigned(self.partitions)

    async def poll(self, max_records: int, timeout_ms: int) -> Fetched:  # noqa: ARG002
        # A loop that never waits takes the interpreter's lock back before a thread has woken up.
        ready = [each for each in self._fetched if each[0] not in self.paused]
        await asyncio.sleep(0.0 if ready else 0.001)
        if self.fails is not None:
            failing, self.fails = self.fails, None
            raise failing
        if not ready or ready[0][0] in self.paused:
            return {}
        self._fetched.remove(ready[0])
        return dict(ready[:1])

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self.paused |= set(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self.paused -= set(partitions)
        self.resumed.put_nowait(None)

    async def rewind(self, partition: TopicPartition) -> int:  # noqa: ARG002
        return self.committed

    async def position(self, partition: TopicPartition) -> int | None:  # noqa: ARG002
        return None

    async def ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.asked += 1
        return dict.fromkeys(set(partitions) - self.leaderless, self.end)

    async def commit(self, partition: TopicPartition, next_offset: int) -> None: ...

    async def stop(self) -> None: ...


class FakePublisher:
    """Keeps what is published; `faults` are raised first, one a call, and `takes` runs in each."""

    def __init__(self, *faults: Exception, takes: Callable[[], None] = lambda: None) -> None:
        self.published: list[list[Output]] = []
        self.go_on = asyncio.Event()  # cleared: results wait
        self.go_on.set()
        self.stuck: set[TopicPartition] = set()  # whose results wait, too
        self.gives_up = False  # on those, which are tried again then
        self.faults = list(faults)
        self._takes = takes

    async def open(self, source: TopicPartition) -> None: ...

    async def publish(
        self,
        source: TopicPartition,
        outputs: Sequence[Output],
        next_offset: int,  # noqa: ARG002
    ) -> None:
        await self.go_on.wait()
        while source in self.stuck:
            await asyncio.sleep(0.001)
            if self.gives_up:
                raise KafkaTimeoutError
        self._takes()
        if self.faults:
            raise self.faults.pop(0)
        self.published.append(list(outputs))

    async def close(self, source: TopicPartition) -> None: ...

    async def stop(self) -> None: ...
