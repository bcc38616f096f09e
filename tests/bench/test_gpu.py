"""Whether bf16 says what fp32 says, with engines that agree or do not."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import gpu
from bench.classify import CannotRunError
from tests.worker.fakes import FakeEngine, fake_classifier
from worker.classifier import Classifier
from worker.engines import Tokens


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
