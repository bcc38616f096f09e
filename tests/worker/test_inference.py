"""The inference stage with an engine that fails where it is told to."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import nan
from threading import Event, Semaphore
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from schemas.emotion import EMOTIONS
from worker.classifier import Classifier, ModelId, Tokenized
from worker.decision import Decision
from worker.engines import DeviceLostError, InferenceError, OutOfMemoryError, Tokens
from worker.inference import HOPELESS, HopelessError, Inference, Verdict
from worker.tokenizer import encode

from .fakes import (
    MODEL,
    Clock,
    Cramped,
    FakeEngine,
    Waiter,
    fake_classifier,
    fake_tokenizer,
    inference_of,
    running,
    verdicts_of,
)

SECONDS = 10.0  # to give up after
TEXTS = [f"w{number}" for number in range(10, 26)]


def raising(row: Tokens) -> float:
    if 13 in row:
        raise InferenceError("RuntimeError: the forward pass failed")
    return 0.0


def not_a_number(row: Tokens) -> float:
    return nan if 13 in row else 0.0


@pytest.mark.parametrize("fault", [raising, not_a_number])
async def test_a_poisoned_row_fails_alone_and_the_rest_is_served(
    fault: Callable[[Tokens], float],
) -> None:
    engine = FakeEngine(fault)
    inference = inference_of(fake_classifier(engine))
    verdicts = await verdicts_of(inference, TEXTS)
    assert len(engine.batches[0]) == len(TEXTS)
    failed = [text for text, verdict in zip(TEXTS, verdicts, strict=True) if failing(verdict)]
    assert failed == ["w13"]
    assert len(engine.batches) <= 1 + 2 * 4  # halving, not one by one
    healthy = inference_of(fake_classifier(FakeEngine()))
    expected = await verdicts_of(healthy, TEXTS)
    expected[3] = verdicts[3]
    assert verdicts == expected


def failing(verdict: object) -> bool:
    return isinstance(verdict, InferenceError)


async def test_inputs_that_all_fail_alone_mean_a_broken_model() -> None:
    inference = inference_of(fake_classifier(FakeEngine(lambda _: nan)))
    with pytest.raises(ExceptionGroup) as caught:
        await verdicts_of(inference, [f"w{number}" for number in range(2, 2 + HOPELESS)])
    assert isinstance(caught.value.exceptions[0], HopelessError)


def picky() -> Classifier:
    """Its tokenizer fails on any word that it does not know."""
    return Classifier(MODEL, fake_tokenizer(unknown="no such token"), FakeEngine(), EMOTIONS, 256)


async def test_a_text_that_the_tokenizer_fails_on_fails_alone_and_the_rest_is_served() -> None:
    texts = [*TEXTS[:5], "strange", *TEXTS[5:]]
    verdicts = await verdicts_of(inference_of(picky()), texts)
    assert [text for text, verdict in zip(texts, verdicts, strict=True) if failing(verdict)] == [
        "strange"
    ]
    expected = await verdicts_of(inference_of(fake_classifier(FakeEngine())), TEXTS)
    assert verdicts[:5] + verdicts[6:] == expected


async def test_a_tokenizer_that_fails_on_every_text_is_broken() -> None:
    inference = inference_of(picky())
    for _ in range(HOPELESS - 1):
        (each,) = await inference.tokenize(["strange"])
        assert failing(each)
    with pytest.raises(HopelessError, match="the tokenizer failed"):
        await inference.tokenize(["strange"])


async def test_a_tokenizer_that_hangs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Semaphore(0)
    classifier = fake_classifier(FakeEngine())
    tokenize = classifier.tokenize

    def hung(texts: Sequence[str]) -> list[Tokenized]:
        held.acquire()
        return tokenize(texts)

    monkeypatch.setattr(classifier, "tokenize", hung)
    inference = inference_of(classifier)
    asking = asyncio.create_task(inference.tokenize(["w2"]))
    seen = [inference.busy_since]
    await asyncio.sleep(0)
    seen.append(inference.busy_since)
    held.release()
    await asking
    seen.append(inference.busy_since)
    inference.close()
    assert seen == [None, 0.0, None]


async def test_a_success_between_failures_starts_the_count_anew() -> None:
    inference = inference_of(
        fake_classifier(FakeEngine(lambda row: nan if row[1] % 50 else 0.0)), max_batch_tokens=1
    )
    verdicts = await verdicts_of(inference, [f"w{number}" for number in range(2, 400)])
    assert sum(map(failing, verdicts)) == 398 - 7


class Small(FakeEngine):
    """Has memory for four rows."""

    def run(self, prepared: list[Tokens]) -> NDArray[np.float32]:
        if len(prepared) > 4:
            self.batches.append(prepared)
            raise OutOfMemoryError(f"OutOfMemory: {len(prepared)} rows")
        return super().run(prepared)


async def test_out_of_memory_halves_the_batch_shrinks_the_budget_and_says_so() -> None:
    engine = Small()
    inference = inference_of(fake_classifier(engine), max_batch_tokens=32)
    with capture_logs() as said:
        async with running(inference) as asker:
            assert not any(map(failing, await asker.ask(TEXTS)))
            assert not any(map(failing, await asker.ask(TEXTS)))
    assert [len(batch) for batch in engine.batches[:5]] == [16, 8, 4, 4, 8]
    assert max(map(len, engine.batches[7:])) <= 8  # the second time nothing as large is tried
    first = said[0]
    assert (first["log_level"], first["max_batch_tokens"], first["before"]) == ("warning", 16, 32)


async def test_a_lost_device_ends_the_inference() -> None:
    def lost(_: Tokens) -> float:
        raise DeviceLostError("CUDA error: unspecified launch failure")

    inference = inference_of(fake_classifier(FakeEngine(lost)))
    with pytest.raises(ExceptionGroup) as caught:
        await verdicts_of(inference, ["w2"])
    assert isinstance(caught.value.exceptions[0], DeviceLostError)


@dataclass
class Unpreparing(FakeEngine):
    """Fails with `error` to prepare more than four rows."""

    error: Exception = field(default_factory=Exception)
    tried: list[int] = field(default_factory=list)

    def prepare(self, rows: Sequence[Tokens]) -> list[Tokens]:
        self.tried.append(len(rows))
        if len(rows) > 4:
            raise self.error
        return super().prepare(rows)


@pytest.mark.parametrize(
    ("error", "budget"), [(InferenceError("no batch"), 32), (OutOfMemoryError("no memory"), 16)]
)
async def test_a_batch_that_cannot_be_prepared_is_halved(
    error: InferenceError, budget: int
) -> None:
    engine = Unpreparing(error=error)
    inference = inference_of(fake_classifier(engine), max_batch_tokens=32)
    verdicts = await verdicts_of(inference, TEXTS)
    assert not any(map(failing, verdicts))
    assert engine.tried == [16, 8, 4, 4, 8, 4, 4]
    assert inference._batcher.max_batch_tokens == budget


async def test_a_device_lost_while_a_batch_is_prepared_ends_the_inference() -> None:
    engine = Unpreparing(error=DeviceLostError("CUDA error: unspecified launch failure"))
    with pytest.raises(ExceptionGroup) as caught:
        await verdicts_of(inference_of(fake_classifier(engine)), TEXTS)
    assert isinstance(caught.value.exceptions[0], DeviceLostError)


class Gated(FakeEngine):
    """Tells what it prepares and runs, and stays in `run` until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared, self.running, self.go_on = (Semaphore(0) for _ in range(3))

    def prepare(self, rows: Sequence[Tokens]) -> list[Tokens]:
        self.prepared.release()
        return super().prepare(rows)

    def run(self, prepared: list[Tokens]) -> NDArray[np.float32]:
        self.running.release()
        self.go_on.acquire(timeout=SECONDS)
        return super().run(prepared)


async def test_a_lone_message_runs_at_once_on_an_idle_device() -> None:
    engine, waiter = Gated(), Waiter()
    inference = inference_of(fake_classifier(engine))  # its clock stands still: no wait would end
    async with running(inference):
        inference.submit([(waiter, (0, 2))])
        assert await asyncio.to_thread(engine.running.acquire, timeout=SECONDS)
        engine.go_on.release()
        await waiter.answer


async def test_what_equals_a_sequence_on_the_device_is_answered_by_it() -> None:
    engine, waiters = Gated(), [Waiter(), Waiter()]
    inference = inference_of(fake_classifier(engine))
    async with running(inference):
        inference.submit([(waiters[0], (0, 2))])
        assert await asyncio.to_thread(engine.running.acquire, timeout=SECONDS)
        inference.submit([(waiters[1], (0, 2))])
        engine.go_on.release()
        answers = [await waiter.answer for waiter in waiters]
    assert answers[0] == answers[1]
    assert engine.batches == [[(0, 2)]]


async def test_one_batch_is_prepared_while_another_runs_and_follows_it_at_once() -> None:
    engine = Gated()
    inference = inference_of(fake_classifier(engine), max_batch_tokens=1)
    waiters = [Waiter() for _ in range(3)]
    async with running(inference):
        inference.submit([(waiter, (0, 2 + place)) for place, waiter in enumerate(waiters)])
        assert await asyncio.to_thread(engine.running.acquire, timeout=SECONDS)
        for _ in range(2):
            assert await asyncio.to_thread(engine.prepared.acquire, timeout=SECONDS)
        assert engine.batches == []
        assert inference._in_flight == 2  # the third may still be joined by others
        engine.go_on.release()
        assert engine.running.acquire(timeout=SECONDS)  # though the event loop stands still here
        engine.go_on.release(2)
        for waiter in waiters:
            await waiter.answer
    assert engine.batches == [[(0, 2)], [(0, 3)], [(0, 4)]]


async def test_the_next_batch_is_handed_over_before_the_jobs_of_the_last_one_hear_of_it() -> None:
    engine = Gated()
    inference = inference_of(fake_classifier(engine), max_batch_tokens=1)
    prepared: list[bool] = []

    class Asking(Waiter):
        def resolve(self, verdict: Verdict, model: ModelId) -> None:
            prepared.append(engine.prepared.acquire(timeout=SECONDS))  # that of the third batch
            super().resolve(verdict, model)

    waiters = [Asking(), Waiter(), Waiter()]
    async with running(inference):
        inference.submit([(waiter, (0, 2 + place)) for place, waiter in enumerate(waiters)])
        for _ in range(2):
            assert await asyncio.to_thread(engine.prepared.acquire, timeout=SECONDS)
        engine.go_on.release(3)
        for waiter in waiters:
            await waiter.answer
    assert prepared == [True]


def lookups(inference: Inference) -> tuple[float | None, float | None]:
    registry = inference._metrics.registry
    return (
        registry.get_sample_value("maum_cache_lookups_total"),
        registry.get_sample_value("maum_cache_hits_total"),
    )


async def test_what_was_decided_lately_is_not_inferred_again() -> None:
    engine = FakeEngine()
    inference = inference_of(fake_classifier(engine), cache_entries=10)
    async with running(inference) as asker:
        first = await asker.ask(["w2", "w3"])
        batches = len(engine.batches)
        assert await asker.ask(["w3", "w2"]) == first[::-1]
    assert len(engine.batches) == batches
    assert lookups(inference) == (4.0, 2.0)


async def test_the_cache_forgets_the_oldest_and_never_keeps_a_failure() -> None:
    engine = FakeEngine(not_a_number)
    inference = inference_of(fake_classifier(engine), cache_entries=2)
    async with running(inference) as asker:
        for text in ("w2", "w13", "w3", "w4", "w13", "w2"):
            await asker.ask([text])
    assert len(inference._cache) == 2
    assert lookups(inference) == (6.0, 0.0)


async def test_another_model_answers_from_the_next_batch_on() -> None:
    old, new = FakeEngine(), FakeEngine(lambda row: -3.0 * sum(row))
    inference = inference_of(fake_classifier(old), cache_entries=10)
    waiter = Waiter()
    async with running(inference) as asker:
        await asker.ask(["w2"])
        inference.swap(fake_classifier(new, ModelId("fake", "2")))
        inference.submit([(waiter, (0, 2))])
        verdict, model = await waiter.answer
    assert isinstance(verdict, Decision)
    assert model == ModelId("fake", "2")
    assert (len(old.batches), len(new.batches)) == (1, 1)


async def test_what_was_queued_before_a_swap_is_answered_by_the_model_it_was_tokenised_for() -> (
    None
):
    old, new = FakeEngine(), FakeEngine()
    inference = inference_of(fake_classifier(old))
    before, after = Waiter(), Waiter()
    inference.submit([(before, (0, 2))])
    inference.swap(fake_classifier(new, ModelId("fake", "2")))
    inference.submit([(after, (0, 2))])
    async with running(inference):
        models = [(await waiter.answer)[1].version for waiter in (before, after)]
    assert models == ["1", "2"]
    assert (old.batches, new.batches) == ([[(0, 2)]], [[(0, 2)]])


@pytest.mark.parametrize("queued", [True, False])
async def test_after_a_swap_batches_are_no_larger_than_fits_with_the_new_model(
    queued: bool,  # noqa: FBT001
) -> None:
    new = fake_classifier(Cramped(memory=600))
    new.warm_up(1_024)
    inference = inference_of(fake_classifier(FakeEngine()), max_batch_tokens=1_024)
    if queued:
        inference.submit([(Waiter(), (0, 2))])
    inference.swap(new)
    inference.close()
    assert inference._batcher.max_batch_tokens == 512
    assert [each.max_batch_tokens for _, each in inference._retiring] == [1_024] * queued


async def test_a_new_model_has_the_budget_that_it_was_warmed_up_with() -> None:
    """That was beside the old one, in less room than it has from now on."""
    new = fake_classifier(FakeEngine())
    new.warm_up(64)
    inference = inference_of(fake_classifier(Cramped(memory=16)), max_batch_tokens=64)
    async with running(inference) as asker:
        await asker.ask(TEXTS)
        assert inference._batcher.max_batch_tokens == 32
        inference.swap(new)
        assert inference._batcher.max_batch_tokens == 64


async def test_a_small_batch_that_finds_no_memory_costs_half_of_the_budget_and_no_more() -> None:
    inference = inference_of(fake_classifier(Cramped(memory=2)), max_batch_tokens=64)
    verdicts = await verdicts_of(inference, TEXTS[:2])
    assert not any(map(failing, verdicts))
    assert inference._batcher.max_batch_tokens == 32


async def test_what_waits_for_the_model_before_is_shrunk_as_well() -> None:
    old, new = Cramped(memory=16), FakeEngine()
    inference = inference_of(fake_classifier(old), max_batch_tokens=64)
    inference.submit([(Waiter(), (0, 2 + number)) for number in range(100)])
    last = Waiter()
    inference.submit([(last, (0, 499))])
    inference.swap(fake_classifier(new, ModelId("fake", "2")))
    with capture_logs() as said:
        async with running(inference):
            await last.answer
    # Two were under way when the first had failed; none so large was cut after them.
    assert [len(batch) for batch in old.batches[-3:]] == [8, 8, 5]
    assert inference._batcher.max_batch_tokens == 16
    assert [(line["before"], line["max_batch_tokens"]) for line in said] == [(64, 32), (32, 16)]


async def test_what_nobody_wants_any_more_is_not_inferred() -> None:
    engine = FakeEngine()
    inference = inference_of(fake_classifier(engine))
    inference.submit([(Waiter(wanted=False), (0, 9))])
    await verdicts_of(inference, ["w2"])
    assert engine.batches == [[(0, 2)]]


def sample(inference: Inference, name: str, **labels: str) -> float | None:
    return inference._metrics.registry.get_sample_value(name, labels)


async def test_each_batch_tells_its_rows_its_tokens_and_how_much_of_it_is_padding() -> None:
    engine = FakeEngine()
    inference = inference_of(fake_classifier(engine))
    async with running(inference) as asker:
        await asker.ask(["w2", "w3 w4", "w2"])  # with the token in front: two rows, 2 and 3 long
        assert engine.batches == [[(0, 2), (0, 3, 4)]]
        assert sample(inference, "maum_batch_rows_sum") == 2
        assert sample(inference, "maum_batch_tokens_sum") == 6
        assert sample(inference, "maum_batch_padding_ratio_sum") == pytest.approx(1 / 6)
        await asker.ask(["w5 w6 w7"])
        assert sample(inference, "maum_batch_rows_sum") == 2 + 1
        assert sample(inference, "maum_batch_tokens_sum") == 6 + 4
        assert sample(inference, "maum_batch_padding_ratio_sum") == pytest.approx(1 / 6 + 0)
    for name in ("rows", "tokens", "padding_ratio"):
        assert sample(inference, f"maum_batch_{name}_count") == 2


async def test_the_stages_tell_how_long_they_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("worker.inference.perf_counter", clock)

    class Slow(Waiter):
        def resolve(self, verdict: Verdict, model: ModelId) -> None:
            clock.passes(0.25)
            super().resolve(verdict, model)

    def slow_device(_: Tokens) -> float:
        clock.passes(4.0)
        return 0.0

    classifier = fake_classifier(FakeEngine(slow_device))
    tokenize = classifier.tokenize

    def slowly(texts: Sequence[str]) -> list[Tokenized]:
        clock.passes(1.5)
        return tokenize(texts)

    monkeypatch.setattr(classifier, "tokenize", slowly)
    inference = inference_of(classifier)
    async with running(inference):
        encoded = [
            each for each in await inference.tokenize(["w2", "w3"]) if isinstance(each, Tokenized)
        ]
        waiters = [Slow(), Slow()]
        inference.submit(
            [(waiter, each.tokens) for waiter, each in zip(waiters, encoded, strict=True)]
        )
        for waiter in waiters:
            await waiter.answer
    sums = {
        stage: sample(inference, "maum_stage_seconds_sum", stage=stage)
        for stage in ("tokenize", "infer", "decide")
    }
    # Two rows, and the engine asks for the fault of each of their six logits.
    assert sums == {"tokenize": 1.5, "infer": 2 * 6 * 4.0, "decide": 2 * 0.25}
    assert sample(inference, "maum_stage_seconds_count", stage="tokenize") == 1
    for stage in ("infer", "decide"):
        assert sample(inference, "maum_stage_seconds_count", stage=stage) == 1


async def test_a_batch_is_measured_once_however_often_it_is_halved() -> None:
    inference = inference_of(fake_classifier(FakeEngine(raising)))
    await verdicts_of(inference, TEXTS)
    assert sample(inference, "maum_batch_rows_count") == 1
    assert sample(inference, "maum_batch_rows_sum") == len(TEXTS)
    for stage in ("infer", "decide"):
        assert sample(inference, "maum_stage_seconds_count", stage=stage) == 1


def test_what_the_tokenizer_fails_on_is_not_quoted() -> None:
    class Quoting:
        def encode_batch_fast(self, texts: Sequence[str]) -> None:
            raise ValueError(f"cannot encode {texts[0]!r}")

    with pytest.raises(InferenceError) as caught:
        encode(cast("Any", Quoting()), ["a secret"])
    assert str(caught.value) == "ValueError: the tokenizer failed"


class Held(FakeEngine):
    """Begins a batch, and ends it when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.let = Event(), Event()

    def run(self, prepared: list[Tokens]) -> NDArray[np.float32]:
        self.begun.set()
        assert self.let.wait(SECONDS)
        return super().run(prepared)


async def test_what_the_model_before_still_answers_is_not_remembered_for_the_new_one() -> None:
    old, new = Held(), FakeEngine(lambda row: -3.0 * sum(row))
    inference = inference_of(fake_classifier(old), cache_entries=10)
    first, second = Waiter(), Waiter()
    async with running(inference):
        inference.submit([(first, (0, 2))])
        assert await asyncio.to_thread(old.begun.wait, SECONDS)
        inference.swap(fake_classifier(new, ModelId("fake", "2")))
        old.let.set()
        assert (await first.answer)[1].version == "1"
        inference.submit([(second, (0, 2))])
        assert (await second.answer)[1].version == "2"
    assert new.batches == [[(0, 2)]]


class Reading(Classifier):
    """Counts what it tokenises, and may be held up at it."""

    def __init__(self, version: str) -> None:
        super().__init__(ModelId("fake", version), fake_tokenizer(), FakeEngine(), EMOTIONS, 256)
        self.begun, self.let, self.read = Event(), Event(), 0

    def tokenize(self, texts: Sequence[str]) -> list[Tokenized]:
        self.begun.set()
        assert self.let.wait(SECONDS)
        self.read += len(texts)
        return super().tokenize(texts)


async def test_texts_that_were_being_tokenised_at_a_swap_are_tokenised_for_the_new_model() -> None:
    old, new = Reading("1"), Reading("2")
    new.let.set()
    inference = inference_of(old)
    async with running(inference):
        tokenizing = asyncio.create_task(inference.tokenize(["w2", "w3"]))
        assert await asyncio.to_thread(old.begun.wait, SECONDS)
        inference.swap(new)
        old.let.set()
        await tokenizing
    assert (old.read, new.read) == (2, 2)
