"""What PyTorch says when it fails, and what that means for the worker."""

import pytest
import torch

from worker.engines import DeviceLostError, OutOfMemoryError
from worker.engines.torch import TorchEngine


class Failing(torch.nn.Module):
    """A model that fails as a device does."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, **_: object) -> object:
        raise self.error


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), OutOfMemoryError),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), DeviceLostError),
    ],
)
def test_a_device_without_memory_is_told_from_one_that_is_gone(
    error: Exception, meaning: type[Exception]
) -> None:
    engine = TorchEngine(Failing(error), "cpu", "fp32", 0)
    with pytest.raises(meaning):
        engine.run(engine.prepare([(5, 6, 7), (8, 9)]))
