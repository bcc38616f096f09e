"""Which engine a model gets on a device: ONNX Runtime on a CPU where it can, else PyTorch."""

from ctypes import CDLL
from typing import Final

from worker.engines import Engine, Source

ON_CPU: Final = frozenset({"auto", "fp32", "int8"})  # what ONNX Runtime serves


def load(source: Source, device: str, precision: str, threads: int) -> Engine:
    """Load the model of `source`. Raises EngineError with one clear line."""
    if precision in ON_CPU and (device == "cpu" or (device == "auto" and not has_cuda())):
        from worker.engines import export  # noqa: PLC0415  (lazy, as below)

        return export.load(source, precision, threads)
    from worker.engines.torch import TorchEngine  # noqa: PLC0415  (lazy: takes seconds)

    return TorchEngine.load(source.folder, source.pad_id, device, precision, threads)


def has_cuda() -> bool:
    """Whether torch would find a CUDA device; where there is no driver, torch isn't even asked."""
    for driver in ("libcuda.so.1", "nvcuda.dll"):
        try:
            CDLL(driver)
        except OSError:
            continue
        import torch  # noqa: PLC0415  (lazy: takes seconds)

        return torch.cuda.is_available()
    return False
