"""Token ids in, decisions out: batches on the device, one prepared ahead, the culprit isolated."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Final, Protocol

import structlog

from worker.batcher import Batcher, Row
from worker.cache import Cache
from worker.classifier import SHRUNK, Classifier, ModelId, Tokenized
from worker.decision import Decision, decide
from worker.engines import InferenceError, OutOfMemoryError, Tokens
from worker.metrics import Metrics

log = structlog.get_logger(__name__)

AHEAD: Final = 2  # batches handed to the device: one runs, one is ready
HOPELESS: Final = 100  # rows in a row that fail alone: it is not the input, it is the engine

Verdict = Decision | InferenceError


class Job(Protocol):
    """Something that waits for a decision."""

    def wanted(self) -> bool:
        """Whether anybody still wants it."""

    def resolve(self, verdict: Verdict, model: ModelId) -> None:
        """Called once, on the event loop."""


class HopelessError(Exception):
    """Every input fails alone: the model or the device is broken, not the messages."""


class Inference:
    """Owns the classifier that serves; `swap` changes it between two batches."""

    def __init__(  # noqa: PLR0913  (one argument a setting)
        self,
        classifier: Classifier,
        metrics: Metrics,
        *,
        max_batch_tokens: int,
        max_wait: float,
        margin_threshold: float,
        cache_entries: int,
        clock: Callable[[], float],
    ) -> None:
        """`max_wait` in seconds; `cache_entries` 0 turns the cache of decisions off."""
        self.classifier = classifier
        self._metrics = metrics
        self._margin_threshold = margin_threshold
        self._cache = Cache(cache_entries)
        self._clock = clock
        multiple = classifier.engine.multiple
        self._most_tokens = max_batch_tokens
        self._batcher: Batcher[Job] = Batcher(max_batch_tokens, max_wait, multiple=multiple)
        self._retiring: deque[tuple[Classifier, Batcher[Job]]] = deque()  # swapped, oldest first
        self._queued = asyncio.Event()
        self._slots = asyncio.Semaphore(AHEAD)
        self._failed_alone = 0
        self._tokenizing = ThreadPoolExecutor(1, "tokenize")
        self._preparing = ThreadPoolExecutor(1, "prepare")
        self._device = ThreadPoolExecutor(1, "infer")
        self._in_flight = 0
        self._untokenized = 0
        self._device_since: float | None = None  # since when the device owes us a batch
        self._tokenizing_since: float | None = None

    @property
    def max_batch_tokens(self) -> int:
        """Padded tokens of a batch, at most."""
        return self._batcher.max_batch_tokens

    @property
    def busy_since(self) -> float | None:
        """Since when, by the clock, a thread owes us something; None where none does."""
        owed = [each for each in (self._device_since, self._tokenizing_since) if each is not None]
        return min(owed, default=None)

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Tokenized | InferenceError]:
        """Encode off the event loop; a text that the tokenizer fails on gets its error.

        Raises HopelessError.
        """
        loop = asyncio.get_running_loop()
        started = perf_counter()
        self._tokenizing_since = self._clock()
        encoded: Sequence[Tokenized | InferenceError]
        while True:
            classifier = self.classifier
            try:
                encoded = await loop.run_in_executor(self._tokenizing, classifier.tokenize, texts)
                self._untokenized = 0
            except InferenceError:
                encoded = await loop.run_in_executor(self._tokenizing, alone, classifier, texts)
                for each in encoded:
                    if isinstance(each, InferenceError):
                        self._untokenized = _one_more(self._untokenized, each)
                    else:
                        self._untokenized = 0
            if classifier is self.classifier:  # else it was swapped meanwhile: its own ids
                break
        self._tokenizing_since = None
        self._metrics.stage_seconds.labels("tokenize").observe(perf_counter() - started)
        return encoded

    def submit(self, jobs: Sequence[tuple[Job, Tokens]]) -> None:
        """Queue jobs; those whose token sequence was decided lately are resolved at once."""
        now = self._clock()
        cache, hits = self._cache, 0
        model = self.classifier.model
        for job, tokens in jobs:
            known = cache.get(tokens)
            if known is None:
                self._batcher.add(job, tokens, now)
            else:
                hits += 1
                job.resolve(known, model)
        self._metrics.cache_lookups.inc(len(jobs))
        self._metrics.cache_hits.inc(hits)
        if len(self._batcher):
            self._queued.set()

    def swap(self, classifier: Classifier) -> None:
        """Serve with `classifier` from now on; what is queued was tokenised for the old one."""
        before = self._batcher
        if len(before):
            self._retiring.append((self.classifier, before))
        # Not what the old one was shrunk to: the new one was warmed up beside it, in less room.
        fitting = min(self._most_tokens, classifier.max_batch_tokens)
        multiple = classifier.engine.multiple
        self._batcher = Batcher(fitting, before.max_wait, multiple=multiple)
        self.classifier = classifier
        self._cache.clear()

    async def run(self) -> None:
        """Keep the device busy. Raises DeviceLostError, HopelessError."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as batches:
            while True:
                await self._slots.acquire()
                classifier, batcher, rows = await self._next_batch()
                tokens = [row.tokens for row in rows]
                # From thread to thread: a way round by the event loop would cost two wake-ups more.
                prepared = self._preparing.submit(classifier.prepare, tokens)
                done = loop.run_in_executor(self._device, self._infer, classifier, tokens, prepared)
                self._in_flight += 1
                self._device_since = self._device_since or self._clock()
                batches.create_task(self._finish(rows, batcher, classifier, done))

    async def _next_batch(self) -> tuple[Classifier, Batcher[Job], list[Row[Job]]]:
        while True:
            while self._retiring and not len(self._retiring[0][1]):
                self._retiring.popleft()
            serving = (self.classifier, self._batcher)
            classifier, batcher = self._retiring[0] if self._retiring else serving
            rows: list[Row[Job]] = []
            unwanted: list[Row[Job]] = []
            for row in batcher.take(self._clock()):
                (rows if any(job.wanted() for job in row.items) else unwanted).append(row)
            batcher.finish(unwanted)
            if rows:
                return classifier, batcher, rows
            if not len(batcher) and batcher is self._batcher:
                self._queued.clear()
                await self._queued.wait()

    def _infer(
        self, classifier: Classifier, tokens: list[Tokens], preparing: "Future[object]"
    ) -> list[Verdict]:
        """One batch, on the device's thread."""
        padded = classifier.padded(tokens)
        started = perf_counter()
        try:
            prepared = preparing.result()
            started = perf_counter()  # to wait for it is no inference
            verdicts: list[Verdict] = list(decide(classifier.run(prepared), self._margin_threshold))
        except InferenceError as error:
            verdicts = self._halve(classifier, tokens, error)
            if isinstance(error, OutOfMemoryError) and len(tokens) > 1:
                self._shrink(padded)
        self._metrics.stage_seconds.labels("infer").observe(perf_counter() - started)
        self._metrics.batch_rows.observe(len(tokens))
        self._metrics.batch_tokens.observe(padded)
        self._metrics.padding_ratio.observe(1.0 - sum(map(len, tokens)) / padded)
        return verdicts

    def _shrink(self, padded: int) -> None:
        """The device had no memory for so many tokens: a smaller budget from the next batch on.

        Half of it, or of a batch from before it was shrunk; not half of a batch far below it,
        which tells that memory is short, and not how much of it there is.
        """
        # A copy: this is the device's thread, and the event loop's may swap meanwhile.
        batchers = [self._batcher, *(batcher for _, batcher in self._retiring.copy())]
        before = max(batcher.max_batch_tokens for batcher in batchers)
        for batcher in batchers:
            budget = batcher.max_batch_tokens
            batcher.max_batch_tokens = max(1, min(budget, max(padded, budget) // 2))
        after = max(batcher.max_batch_tokens for batcher in batchers)
        if after < before:
            log.warning(SHRUNK, max_batch_tokens=after, before=before)

    def _halve(
        self, classifier: Classifier, tokens: list[Tokens], error: InferenceError
    ) -> list[Verdict]:
        """A failing batch is cut in two until the culprit is alone; the rest is served."""
        if len(tokens) == 1:
            return [error]
        middle = len(tokens) // 2
        verdicts: list[Verdict] = []
        for half in (tokens[:middle], tokens[middle:]):
            try:
                probabilities = classifier.run(classifier.prepare(half))
                verdicts += decide(probabilities, self._margin_threshold)
            except InferenceError as smaller:
                verdicts += self._halve(classifier, half, smaller)
        return verdicts

    async def _finish(
        self,
        rows: list[Row[Job]],
        batcher: Batcher[Job],
        classifier: Classifier,
        done: "asyncio.Future[list[Verdict]]",
    ) -> None:
        verdicts = await done
        self._slots.release()
        self._in_flight -= 1
        self._device_since = self._clock() if self._in_flight else None
        await asyncio.sleep(0)  # `run` hands the next batch over before this one's jobs hear of it
        started = perf_counter()
        for row, verdict in zip(rows, verdicts, strict=True):
            if isinstance(verdict, InferenceError):
                self._failed_alone = _one_more(self._failed_alone, verdict)
            else:
                self._failed_alone = 0
                if classifier is self.classifier:
                    self._cache.put(row.tokens, verdict)
            for job in row.items:
                job.resolve(verdict, classifier.model)
        batcher.finish(rows)
        self._metrics.stage_seconds.labels("decide").observe(perf_counter() - started)

    def close(self) -> None:
        """Let the threads end."""
        for pool in (self._tokenizing, self._preparing, self._device):
            pool.shutdown(wait=False, cancel_futures=True)


def _one_more(failed: int, error: InferenceError) -> int:
    """How many inputs in a row have failed alone now. Raises HopelessError for too many."""
    if failed + 1 >= HOPELESS:
        message = f"{HOPELESS} inputs in a row failed alone, the last with: {error}"
        raise HopelessError(message) from error
    return failed + 1


def alone(classifier: Classifier, texts: Sequence[str]) -> list[Tokenized | InferenceError]:
    """Each text by itself, since one of them makes the tokenizer fail."""
    encoded: list[Tokenized | InferenceError] = []
    for text in texts:
        try:
            encoded += classifier.tokenize([text])
        except InferenceError as error:
            encoded.append(error)
    return encoded
