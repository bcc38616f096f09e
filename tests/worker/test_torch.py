"""What PyTorch says when it fails, and what that means for the worker."""

import pytest
import torch

from worker.engines import DeviceLostError, InferenceError, OutOfMemoryError
from worker.engines.torch import TorchEngine


class Failing(torch.nn.Module):
    """A model that fails as a device does."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, **_: object) -> object:
        raise self.error


FAILURES = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), OutOfMemoryError),
    (torch.AcceleratorError("CUDA error: out of memory"), OutOfMemoryError),
    (MemoryError(), OutOfMemoryError),
    (torch.AcceleratorError("CUDA error: unspecified launch failure"), DeviceLostError),
    (RuntimeError("shapes do not match"), InferenceError),
]


@pytest.mark.parametrize(("error", "meaning"), FAILURES)
def test_a_device_without_memory_is_told_from_one_that_is_gone(
    error: Exception, meaning: type[Exception]
) -> None:
    engine = TorchEngine(Failing(error), "cpu", "fp32", 0)
    with pytest.raises(meaning) as caught:
        engine.run(engine.prepare([(5, 6, 7), (8, 9)]))
    assert type(caught.value) is meaning


@pytest.mark.parametrize(("error", "meaning"), FAILURES)
def test_preparing_a_batch_fails_as_running_it_does(
    error: Exception, meaning: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pin_memory(_: torch.Tensor) -> torch.Tensor:
        raise error

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    engine = TorchEngine(Failing(error), "cuda", "bf16", 0)
    with pytest.raises(meaning) as caught:
        engine.prepare([(5, 6, 7), (8, 9)])
    assert type(caught.value) is meaning
