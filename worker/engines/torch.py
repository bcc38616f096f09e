"""PyTorch: CUDA in bf16 or fp16, with SDPA and pinned memory; on CPU what ONNX cannot serve."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import clear_frames

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, logging

from worker.engines import (
    DeviceLostError,
    EngineError,
    InferenceError,
    OutOfMemoryError,
    Tokens,
    first_line,
    padded,
)
from worker.limits import TooLargeError, check_room, weights

logging.set_verbosity_error()
logging.disable_progress_bar()

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CUDA_MULTIPLE = 8  # tensor cores want lengths in eights
# As CUDA (of pinned memory too), cuBLAS, cuDNN and the CPU's allocator say it; no device is gone.
NO_MEMORY = ("out of memory", "STATUS_ALLOC_FAILED", "can't allocate memory")
LOST = ("CUDA error", "cuDNN error")  # so begin the plain RuntimeErrors of their libraries


@dataclass(frozen=True, slots=True)
class Prepared:
    """A padded batch, on its way to the device."""

    input_ids: torch.Tensor  # (rows, width) int64
    attention_mask: torch.Tensor | None  # None where no row is padded
    copied: torch.cuda.Event | None = None  # CUDA: once both are there


def choose(device: str, precision: str) -> tuple[str, str]:
    """Resolve `auto`. Raises EngineError for what this machine has not."""
    cuda = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if cuda else "cpu"
    if device == "cuda" and not cuda:
        message = "WORKER_DEVICE=cuda, but torch sees no CUDA device; use auto or cpu"
        raise EngineError(message)
    if precision == "auto":
        if device == "cpu":
            precision = "fp32"
        else:
            # Older cards only emulate bf16, but have fp16.
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            precision = "bf16" if native else "fp16"
    if precision == "int8":
        message = "WORKER_PRECISION=int8 is for CPU; use auto, bf16 or fp16 on CUDA"
        raise EngineError(message)
    if device == "cpu" and precision == "fp16":
        message = "WORKER_PRECISION=fp16 needs CUDA; use fp32, bf16 or auto on CPU"
        raise EngineError(message)
    return device, precision


@contextmanager
def failing(rows: int, what: str) -> Iterator[None]:
    """Raises InferenceError or DeviceLostError for what torch raises."""
    try:
        yield
    except (
        MemoryError,
        RuntimeError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        # Its frames hold the batch's activations, and the halves that are run next need the room.
        clear_frames(error.__traceback__)
        if _short_of_memory(error):
            _empty_cache()
            raise OutOfMemoryError(f"OutOfMemory: {rows} rows") from error
        if _lost(error):
            raise DeviceLostError(first_line(error)) from error
        raise InferenceError(f"{type(error).__name__}: {what} failed") from error


def _short_of_memory(error: Exception) -> bool:
    if isinstance(error, RuntimeError):
        said = str(error)
        return isinstance(error, torch.OutOfMemoryError) or any(each in said for each in NO_MEMORY)
    return isinstance(error, MemoryError)


def _lost(error: Exception) -> bool:
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and str(error).startswith(LOST)
    )


def _empty_cache() -> None:
    """Raises DeviceLostError where the device is past even that."""
    try:
        torch.cuda.empty_cache()
    except RuntimeError as error:
        raise DeviceLostError(first_line(error)) from error


@dataclass(frozen=True, slots=True)
class TorchEngine:
    """A transformers sequence classifier in eval mode."""

    model: torch.nn.Module
    device: str
    precision: str
    pad_id: int
    copying: torch.cuda.Stream | None = None  # CUDA: copies go on while another batch is computed

    @classmethod
    def load(
        cls, folder: Path, pad_id: int, device: str, precision: str, threads: int
    ) -> "TorchEngine":
        """Load `folder` (config.json and safetensors). Raises EngineError."""
        device, precision = choose(device, precision)
        stored, whole = weights(folder)
        if precision != "fp32":  # in two bytes each, weights are copied
            check_room(folder, 1 / 2, "load it")
        elif stored < whole:  # else they stay in their file
            check_room(folder, 1, "load it")
        torch.set_num_threads(threads)
        try:
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                folder,
                output_loading_info=True,
                dtype=DTYPES[precision],
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                attn_implementation="sdpa",
            )
            model = model.eval().to(device)
        except Exception as error:  # transformers and safetensors promise no kinds of errors
            if _short_of_memory(error):
                message = f"the model in {folder} does not fit into the memory of {device}"
                raise TooLargeError(message) from error
            message = f"the model in {folder} cannot be loaded: {first_line(error)}"
            raise EngineError(message) from error
        if loading["missing_keys"]:
            # transformers would fill them with random numbers, and serve.
            lacking = ", ".join(sorted(loading["missing_keys"])[:3])
            raise EngineError(f"the weights in {folder} are not complete: no {lacking}")
        copying = torch.cuda.Stream() if device == "cuda" else None  # type: ignore[no-untyped-call]
        return cls(model, device, precision, pad_id, copying)

    @property
    def name(self) -> str:
        """Library and device."""
        return f"torch-{self.device}"

    @property
    def multiple(self) -> int:
        """Eight on CUDA."""
        return 1 if self.copying is None else CUDA_MULTIPLE

    def prepare(self, rows: Sequence[Tokens]) -> Prepared:
        """Pad `rows`, and begin to copy them to the device.

        Raises InferenceError or DeviceLostError.
        """
        copying = self.copying
        with failing(len(rows), "preparing the batch"):
            input_ids = torch.from_numpy(padded(rows, self.pad_id, self.multiple))
            width = input_ids.shape[1]
            mask: torch.Tensor | None = None
            if any(len(row) != width for row in rows):
                lengths = torch.tensor([len(row) for row in rows])
                mask = (torch.arange(width)[None, :] < lengths[:, None]).long()
            if copying is None:
                return Prepared(input_ids, mask)
            # From pinned memory and by a stream of its own, so that nobody waits for the copy.
            with torch.cuda.stream(copying):
                input_ids = input_ids.pin_memory().to(self.device, non_blocking=True)
                if mask is not None:
                    mask = mask.pin_memory().to(self.device, non_blocking=True)
                return Prepared(input_ids, mask, copying.record_event())

    def run(self, prepared: Prepared) -> NDArray[np.float32]:
        """Logits, (rows, labels). Raises InferenceError or DeviceLostError."""
        with failing(len(prepared.input_ids), "the forward pass"), torch.inference_mode():
            input_ids, mask = prepared.input_ids, prepared.attention_mask
            if prepared.copied is not None:
                computing = torch.cuda.current_stream()
                computing.wait_event(prepared.copied)
                # They belong to the stream that copied them: their memory must not be given to
                # another batch while this one still reads it.
                for each in (input_ids, mask):
                    if each is not None:
                        each.record_stream(computing)
            logits = self.model(input_ids=input_ids, attention_mask=mask).logits
            numbers: NDArray[np.float32] = logits.float().cpu().numpy()
            return numbers
