"""What PyTorch says when it fails, and what that means for the worker."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from worker.engines import DeviceLostError, EngineError, InferenceError, OutOfMemoryError
from worker.engines.torch import TorchEngine, choose
from worker.limits import TooLargeError


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
    (
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OutOfMemoryError,
    ),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), OutOfMemoryError),
    (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        OutOfMemoryError,
    ),
    (
        RuntimeError(
            "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, opa)`"
        ),
        DeviceLostError,
    ),
    (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), DeviceLostError),
    (RuntimeError("shapes do not match"), InferenceError),
    (ValueError("CUDA error: in no word of the device's"), InferenceError),
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


@pytest.mark.parametrize(("error", "meaning"), FAILURES)
def test_a_model_that_finds_no_memory_while_it_is_loaded_may_be_tried_again(
    error: Exception, meaning: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def from_pretrained(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(AutoModelForSequenceClassification, "from_pretrained", from_pretrained)
    with pytest.raises(EngineError, match=str(tmp_path)) as caught:
        TorchEngine.load(tmp_path, 0, "cpu", "fp32", 1)
    assert isinstance(caught.value, TooLargeError) == (meaning is OutOfMemoryError)


def test_the_activations_of_a_batch_that_did_not_fit_are_let_go_of_before_its_halves_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[ref[torch.Tensor]] = []
    left: list[bool] = []

    class Large(torch.nn.Module):
        def forward(self, **_: object) -> object:
            activations = torch.zeros(3)
            held.append(ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: left.append(held[0]() is not None))
    engine = TorchEngine(Large(), "cpu", "fp32", 0)
    with pytest.raises(OutOfMemoryError) as caught:
        engine.run(engine.prepare([(5, 6, 7)]))
    assert caught.value.__cause__ is not None  # its traceback is kept, as it is while halves run
    assert held[0]() is None
    assert left == [False]  # once there was something to give back


def test_a_device_that_cannot_even_give_memory_back_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "empty_cache", fail)
    engine = TorchEngine(Failing(torch.OutOfMemoryError("CUDA out of memory")), "cpu", "fp32", 0)
    with pytest.raises(DeviceLostError, match="illegal memory access"):
        engine.run(engine.prepare([(5, 6, 7)]))


@pytest.mark.parametrize(
    ("cuda", "native", "asked", "chosen"),
    [
        (True, True, ("auto", "auto"), ("cuda", "bf16")),
        (True, False, ("auto", "auto"), ("cuda", "fp16")),
        (True, False, ("cuda", "bf16"), ("cuda", "bf16")),
        (True, True, ("cpu", "auto"), ("cpu", "fp32")),
        (False, False, ("auto", "auto"), ("cpu", "fp32")),
    ],
)
def test_auto_is_the_device_that_is_there_and_what_it_is_fast_in(
    monkeypatch: pytest.MonkeyPatch,
    cuda: bool,  # noqa: FBT001
    native: bool,  # noqa: FBT001
    asked: tuple[str, str],
    chosen: tuple[str, str],
) -> None:
    def supported(including_emulation: bool = True) -> bool:  # noqa: FBT001, FBT002  (as torch's)
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose(*asked) == chosen


@pytest.mark.parametrize(
    ("cuda", "asked", "line"),
    [
        (False, ("cuda", "auto"), "WORKER_DEVICE=cuda, but torch sees no CUDA device"),
        (False, ("cpu", "fp16"), "WORKER_PRECISION=fp16 needs CUDA"),
        (False, ("auto", "fp16"), "WORKER_PRECISION=fp16 needs CUDA"),
        (True, ("cuda", "int8"), "WORKER_PRECISION=int8 is for CPU"),
    ],
)
def test_what_the_machine_has_not_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
    cuda: bool,  # noqa: FBT001
    asked: tuple[str, str],
    line: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    with pytest.raises(EngineError, match=line) as caught:
        choose(*asked)
    assert "use" in str(caught.value)


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


def test_pytorch_computes_with_the_threads_it_is_given(tiny_model: Path) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            TorchEngine.load(tiny_model, 0, "cpu", "fp32", threads)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
