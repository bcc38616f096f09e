"""ONNX Runtime on CPU: packed rows, fp32 or int8."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.engines import EngineError, InferenceError, OutOfMemoryError, Tokens, first_line

# Else it keeps an id of this machine in the home folder, and tells its maker of each session.
# It looks at this when it is imported; whoever wants that sets 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

REFUSALS = (
    errors.EPFail,
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NotImplemented,
    errors.RuntimeException,
    MemoryError,
)
INPUTS = ["firsts", "ids", "index", "lengths", "places"]
OUTPUTS = [("logits", "tensor(float)")]
NO_MEMORY = ("Failed to allocate memory", "bad_alloc")  # as ONNX Runtime says it


def pack(rows: Sequence[Tokens]) -> dict[str, NDArray[Any]]:
    """The inputs of `graph.build`: `rows` one after the other, and where each is."""
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    firsts = np.cumsum(lengths, dtype=np.int32) - lengths
    inside = np.arange(lengths.max(), dtype=np.int32)
    real = inside < lengths[:, None]
    return {
        "ids": np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum())),
        "index": np.where(real, firsts[:, None] + inside, 0).astype(np.int32),
        "places": np.flatnonzero(real).astype(np.int32),
        "lengths": lengths,
        "firsts": firsts,
    }


@dataclass(frozen=True, slots=True)
class OnnxEngine:
    """A graph of `graph.build` in a session."""

    session: Any  # onnxruntime is not annotated
    precision: str
    name: str = "onnx-cpu"
    multiple: int = 1

    @classmethod
    def load(cls, graph: bytes, precision: str, threads: int) -> "OnnxEngine":
        """Open a session of `threads`. Raises EngineError, MemoryError."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its warnings are about optimisations, in C++ terms
        # Threads that spin while they wait take the core from the event loop and the broker, and a
        # pass is as slow as its slowest thread.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A plan of memory for every shape that comes by would be kept for ever.
        options.enable_mem_pattern = False
        try:
            session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except REFUSALS as error:
            if _short_of_memory(error):
                raise MemoryError from error
            message = f"ONNX Runtime cannot load the model: {first_line(error)}"
            raise EngineError(message) from error
        # The session would keep the bytes for ever, for a fall-back to another provider.
        session._model_bytes = None  # noqa: SLF001  (nothing public lets go of them)
        # A graph may come with a model, from wherever that comes.
        inputs = sorted(each.name for each in session.get_inputs())
        outputs = [(each.name, each.type) for each in session.get_outputs()]
        if inputs != INPUTS or outputs != OUTPUTS:
            raise EngineError("the ONNX graph is none of ours: other inputs or outputs")
        return cls(session, precision)

    def prepare(self, rows: Sequence[Tokens]) -> dict[str, NDArray[Any]]:
        """Pack `rows`; nothing is padded."""
        return pack(rows)

    def run(self, prepared: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Logits, (rows, labels). Raises InferenceError."""
        try:
            (logits,) = self.session.run(None, prepared)
        except REFUSALS as error:
            if _short_of_memory(error):
                raise OutOfMemoryError(f"OutOfMemory: {len(prepared['lengths'])} rows") from error
            raise InferenceError(f"{type(error).__name__}: the forward pass failed") from error
        numbers: NDArray[np.float32] = logits
        return numbers


def _short_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(said in str(error) for said in NO_MEMORY)
