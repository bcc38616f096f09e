"""Whether bf16 says what fp32 says, with engines that agree or do not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench import gpu
from bench.classify import CannotRunError
from tests.worker import tiny
from tests.worker.fakes import Cramped, FakeEngine, fake_classifier
from worker import classifier as classifiers
from worker.classifier import Classifier, ModelId
from worker.engines import InferenceError, Tokens
from worker.parts import DEFAULT_BATCH_TOKENS


class Contrary(FakeEngine):
    """The least likely emotion comes out on top."""

    def run(self, prepared: list[Tokens]) -> NDArray[np.float32]:
        return -super().run(prepared)


def engines(monkeypatch: pytest.MonkeyPatch, bf16: FakeEngine) -> None:
    def load(_: Path, precision: str) -> Classifier:
        return fake_classifier(bf16 if precision == "bf16" else FakeEngine())

    monkeypatch.setattr(gpu, "load", load)


def test_a_bf16_that_says_what_fp32_says_is_told_with_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engines(monkeypatch, FakeEngine())
    assert gpu.check() == 1.0


def test_a_bf16_that_disagrees_is_not_measured_and_ends_no_other_benchmark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engines(monkeypatch, Contrary())
    with pytest.raises(CannotRunError, match="bf16 agrees with fp32 on"):
        gpu.check()


def test_a_compiled_engine_says_what_the_plain_one_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a backend that captures the graph and compiles nothing: it needs no CUDA."""
    compile_ = torch.compile

    def eager(model: torch.nn.Module, *, mode: str, dynamic: bool) -> object:
        assert (mode, dynamic) == ("reduce-overhead", False)
        return compile_(model, backend="eager", dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", eager)
    monkeypatch.setattr(gpu, "SECONDS", 0.01)
    tiny.save(tmp_path / "tiny")
    plain = classifiers.load(
        tmp_path / "tiny", ModelId("bench", "1"), device="cpu", precision="bf16", max_length=32
    )
    graphs = gpu.compiled(plain)
    rows = gpu.full(plain, 16)[:8]
    assert graphs.run(graphs.prepare(rows)) == pytest.approx(plain.run(plain.prepare(rows)))
    assert gpu.compiled_rate(graphs, 8) == "not tried"


def test_a_batch_is_as_full_as_was_found_to_fit() -> None:
    small = fake_classifier(Cramped(memory=600))
    small.warm_up(DEFAULT_BATCH_TOKENS["cuda"])
    assert len(gpu.full(small, 16)) == 512 // 16
    assert len(gpu.full(fake_classifier(FakeEngine()), 16)) == 16_384 // 16


def test_a_card_that_holds_not_even_one_row_is_told_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(classifiers, "load", lambda *_, **__: fake_classifier(Cramped(memory=8)))
    with pytest.raises(CannotRunError, match="does not fit into the memory of fake-cpu"):
        gpu.load(tmp_path, "bf16")


def test_a_machine_that_cannot_compile_is_told_and_ends_nothing() -> None:
    def fail(_: Tokens) -> float:
        raise InferenceError("BackendCompilerFailed: the forward pass failed")

    told = gpu.compiled_rate(fake_classifier(FakeEngine(fail)), 16)
    assert told == "failed: BackendCompilerFailed: the forward pass failed"
