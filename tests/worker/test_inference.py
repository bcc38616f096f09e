"""The inference stage with an engine that fails where it is told to."""

from collections.abc import Callable
from math import nan

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from worker.classifier import ModelId
from worker.decision import Decision
from worker.engines import DeviceLostError, InferenceError, OutOfMemoryError, Tokens
from worker.inference import HOPELESS, HopelessError, Inference

from .fakes import FakeEngine, Waiter, fake_classifier, inference_of, running, verdicts_of

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


async def test_what_nobody_wants_any_more_is_not_inferred() -> None:
    engine = FakeEngine()
    inference = inference_of(fake_classifier(engine))
    inference.submit([(Waiter(wanted=False), (0, 9))])
    await verdicts_of(inference, ["w2"])
    assert engine.batches == [[(0, 2)]]
