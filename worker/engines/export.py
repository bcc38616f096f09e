"""Which engine a model gets on CPU: int8 where it was found to agree with fp32, or else fp32.

The int8 graph is made once, checked, and kept (`kept`). fp32 graphs are written anew at each start,
which is quick.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from schemas import manifest as model_manifest
from schemas.manifest import Int8Check, ModelManifest
from worker.engines import (
    Engine,
    EngineError,
    OutOfMemoryError,
    Source,
    Tokens,
    agreement,
    first_line,
    kept,
)
from worker.engines.onnx import OnnxEngine
from worker.limits import TooLargeError, check_room, require_room

log = structlog.get_logger(__name__)

MAX_DIFFERENCE: Final = 1e-4  # of a logit, between PyTorch and the fp32 graph
COMPARED: Final = 64  # messages on which those two are compared
MAKING: Final = 4.5  # times the weights: what it takes to make and check the graphs
OPENING: Final = 2.0  # times a graph that is in memory: to open it


def load(source: Source, precision: str, threads: int) -> Engine:
    """An engine for the CPU; `precision` is auto, int8 or fp32. Raises EngineError."""
    try:
        return _load(source, precision, threads)
    except TooLargeError:
        raise  # PyTorch would take more, or read the weights from the disk batch after batch
    except (MemoryError, OutOfMemoryError) as error:
        raise TooLargeError(
            f"the model in {source.folder} does not fit into memory; give the worker more, or "
            "take a smaller model"
        ) from error
    except OSError as error:
        raise EngineError(f"{source.folder} cannot be read: {first_line(error)}") from error
    except EngineError as error:
        if precision == "int8":
            raise EngineError(f"WORKER_PRECISION=int8 is refused: {error}") from error
        log.warning("PyTorch serves in fp32, which is slower", reason=str(error))
    return _torch(source, threads)


def _load(source: Source, precision: str, threads: int) -> Engine:
    """Raises EngineError where PyTorch has to serve, or int8 was asked for and cannot."""
    if precision == "fp32":
        return _checked_fp32(source, threads)
    export = _cached(source, threads)
    manifest, check = export.manifest, _stated(source.folder) or export.manifest.int8
    require(manifest.difference)
    if check.used:
        require_room(source.folder, OPENING * len(export.graph), "open its int8 graph")
        return OnnxEngine.load(export.graph, "int8", threads)
    why = (
        f"int8 agrees with fp32 on {check.agreement:.2%} of the golden messages and moves "
        f"macro-F1 by {check.macro_f1_delta * 100:+.2f} points (at least "
        f"{agreement.MIN_AGREEMENT:.0%}, at most {agreement.MAX_F1_DELTA * 100:.1f} are wanted)"
    )
    if precision == "int8":
        raise EngineError(f"{why}; use auto")
    log.warning("fp32 serves", reason=why)
    return _fp32(source, threads)


def _stated(folder: Path) -> Int8Check | None:
    """The refusal of whoever published the model: it rules an int8 graph of the cache out, too."""
    path = folder / model_manifest.FILE_NAME
    if not path.exists():
        return None
    check = ModelManifest.model_validate_json(path.read_bytes()).int8
    return check if check is not None and not check.used else None


def _fp32(source: Source, threads: int) -> Engine:
    from worker.engines import graph  # noqa: PLC0415  (lazy: int8 from the cache needs no onnx)

    return OnnxEngine.load(graph.build(source.folder), "fp32", threads)


def _torch(source: Source, threads: int) -> Engine:
    from worker.engines.torch import TorchEngine  # noqa: PLC0415  (lazy: takes seconds)

    return TorchEngine.load(source.folder, source.pad_id, "cpu", "fp32", threads)


def _cached(source: Source, threads: int) -> kept.Export:
    """The model's export, from the cache or made and put there. Raises EngineError."""
    if known := kept.known(source):
        return known
    with kept.turn(source):
        if known := kept.known(source):  # from whoever had the turn before
            return known
        log.info("making the int8 graph and checking it; once for this model")
        export = make(source, threads)
        try:
            kept.keep(export, source)
        except OSError as error:
            log.warning(
                "the int8 graph is kept in memory only, and made again at the next start",
                cache=str(source.cache),
                error=error.strerror,
            )
        return export


def make(source: Source, threads: int) -> kept.Export:
    """Write both graphs and check them: fp32 against PyTorch, int8 against fp32.

    Raises EngineError, InferenceError.
    """
    from worker.engines import graph  # noqa: PLC0415  (lazy: once for a model)

    golden = agreement.read_golden()
    rows = source.encode(golden.texts)
    check_room(source.folder, MAKING, "make its int8 graph")
    # One engine after the other: of a large model, two are more than there may be room for.
    expected = agreement.logits_of(_fp32(source, threads), rows)
    apart = _apart(source, threads, rows, expected)
    int8 = graph.build(source.folder, int8=True)
    check = agreement.compare(
        expected,
        agreement.logits_of(OnnxEngine.load(int8, "int8", threads), rows),
        [source.labels.index(emotion) for emotion in golden.emotions],
    )
    manifest = kept.ExportManifest(
        model_sha256=kept.model_hash(source.folder),
        golden_sha256=golden.sha256,
        messages=len(rows),
        difference=apart,
        exact=apart <= MAX_DIFFERENCE,
        int8=check,
        graph_sha256=hashlib.sha256(int8).hexdigest(),
    )
    return kept.Export(manifest, int8)


def require(difference: float) -> None:
    """Raises EngineError where the fp32 graph is too far from PyTorch to serve."""
    if difference > MAX_DIFFERENCE:
        raise EngineError(f"the ONNX graph is off by up to {difference:.2g} of a logit")


def _checked_fp32(source: Source, threads: int) -> Engine:
    """The fp32 graph, for whoever wants no int8. Raises EngineError."""
    known, engine = kept.known(source), _fp32(source, threads)
    if known is None:
        log.info("checking the fp32 graph beside PyTorch")
        rows = source.encode(agreement.read_golden().texts)
        some = rows[:: max(1, len(rows) // COMPARED)]
        require(_apart(source, threads, some, agreement.logits_of(engine, some)))
    else:
        require(known.manifest.difference)
    return engine


def _apart(
    source: Source, threads: int, rows: Sequence[Tokens], said: NDArray[np.float32]
) -> float:
    """How far what a graph `said` of `rows` is from PyTorch's logits on some of them, at most.

    Raises EngineError.
    """
    step = max(1, len(rows) // COMPARED)
    truth = agreement.logits_of(_torch(source, threads), rows[::step])
    apart = float(np.abs(truth - said[::step]).max())
    if not np.isfinite(apart):
        raise EngineError("the model returns NaN or infinity")
    return apart
