"""What PyTorch says when it fails, and what that means for the worker."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

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


class Stream:
    """A CUDA stream that notes what is asked of it."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def record_event(self) -> str:
        self.said.append("copied")
        return "both are there"

    def wait_event(self, event: str) -> None:
        self.said.append(f"waits until {event}")


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
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    engine = TorchEngine(Failing(error), "cuda", "bf16", 0, Stream([]))  # type: ignore[arg-type]
    with pytest.raises(meaning) as caught:
        engine.prepare([(5, 6, 7), (8, 9)])
    assert type(caught.value) is meaning


def test_a_batch_is_copied_by_a_stream_of_its_own_and_computed_once_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []

    class Model(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:  # noqa: ANN401
            said.append(f"computes {tuple(input_ids.shape)}, {int(attention_mask.sum())} tokens")
            return SimpleNamespace(logits=torch.zeros(len(input_ids), 6))

    @contextmanager
    def stream(which: Stream) -> Iterator[None]:
        assert which is copying
        said.append("copies")
        yield

    copying, computing = Stream(said), Stream(said)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: computing)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, _, non_blocking: self)  # noqa: ARG005
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda _, by: said.append("kept"))  # noqa: ARG005
    engine = TorchEngine(Model(), "cuda", "bf16", 0, copying)  # type: ignore[arg-type]
    prepared = engine.prepare([(5, 6, 7), (8, 9)])
    assert said == ["copies", "copied"]
    assert engine.run(prepared).shape == (2, 6)
    assert said[2:] == ["waits until both are there", "kept", "kept", "computes (2, 8), 5 tokens"]
