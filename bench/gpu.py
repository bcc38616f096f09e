"""Is bf16 right on this GPU, and how fast is each length bucket? Under 8 minutes.

Beside the worker's engine stands what it could be: its model through `torch.compile`, which
captures a CUDA graph for each shape. Of two lengths only: each takes half a minute to compile.
"""

import copy
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from bench.classify import CannotRunError, Row, base_shape
from worker import classifier as classifiers
from worker.classifier import Classifier, ModelId
from worker.engines import InferenceError, Tokens, agreement
from worker.engines.torch import TorchEngine
from worker.limits import TooLargeError
from worker.parts import DEFAULT_BATCH_TOKENS
from worker.settings import BUNDLED_MODEL

LENGTHS: Final = (8, 16, 32, 64, 128, 256)
PRECISIONS: Final = ("fp32", "bf16", "fp16")
COMPILED: Final = (16, 64)  # lengths, of the median and of the longest messages of chat
SECONDS: Final = 2.0  # a bucket and precision


def run(_: list[str], __: int) -> list[Row]:
    """Rows of throughput, after bf16 was found right. Raises CannotRunError."""
    import torch  # noqa: PLC0415  (lazy: --help need not wait)

    if not torch.cuda.is_available():
        raise CannotRunError("gpu: torch sees no CUDA device here; nothing was measured")
    agreed = check()
    name = torch.cuda.get_device_name()
    with tempfile.TemporaryDirectory() as folder:
        base = base_shape(Path(folder))
        loaded = {precision: load(base, precision) for precision in PRECISIONS}
        graphs = compiled(loaded["bf16"])
        return [
            {
                "RoBERTa-base shape": f"{length} tokens",
                **{
                    f"{precision}, msg/s": rate(classifier, length)
                    for precision, classifier in loaded.items()
                },
                "bf16 compiled, msg/s": compiled_rate(graphs, length),
                "bf16 as fp32, golden messages": f"{agreed:.2%}",
                "device": name,
            }
            for length in LENGTHS
        ]


def check() -> float:
    """The share of the golden messages of which bf16 says what fp32 says.

    Raises CannotRunError where it is too small.
    """
    golden = agreement.read_golden()
    exact, short = load(BUNDLED_MODEL, "fp32"), load(BUNDLED_MODEL, "bf16")
    rows = [each.tokens for each in exact.tokenize(golden.texts)]
    both = [agreement.logits_of(each.engine, rows).argmax(axis=1) for each in (exact, short)]
    share = float((both[0] == both[1]).mean())
    if share < agreement.MIN_AGREEMENT:
        raise CannotRunError(
            f"gpu: bf16 agrees with fp32 on {share:.2%} only; nothing was measured"
        )
    return share


def load(folder: Path, precision: str) -> Classifier:
    """On CUDA, warm. Raises CannotRunError."""
    loaded = classifiers.load(
        folder, ModelId("bench", "1"), device="cuda", precision=precision, max_length=LENGTHS[-1]
    )
    try:
        loaded.warm_up(DEFAULT_BATCH_TOKENS["cuda"])
    except TooLargeError as error:
        raise CannotRunError(f"gpu: {error}") from error
    return loaded


def compiled(classifier: Classifier) -> Classifier:
    """The same with CUDA graphs, one a shape."""
    import torch  # noqa: PLC0415  (as above)

    engine = classifier.engine
    if not isinstance(engine, TorchEngine):
        raise CannotRunError(f"gpu: {engine.name} is no engine of PyTorch")
    model: Any = torch.compile(engine.model, mode="reduce-overhead", dynamic=False)
    found = copy.copy(classifier)
    found.engine = replace(engine, model=model)
    return found


def compiled_rate(classifier: Classifier, length: int) -> float | str:
    """As `rate`; a word where it is not tried, or this machine cannot compile."""
    if length not in COMPILED:
        return "not tried"
    try:
        for _ in range(3):  # it compiles, it records the graph, it runs it
            classifier.run(classifier.prepare(full(classifier, length)))
    except InferenceError as error:
        return f"failed: {error}"
    return rate(classifier, length)


def full(classifier: Classifier, length: int) -> list[Tokens]:
    """A full batch of rows of `length` tokens, or of as many as were found to fit."""
    budget = min(DEFAULT_BATCH_TOKENS["cuda"], classifier.max_batch_tokens)
    return [tuple(range(5, 5 + length))] * max(1, budget // length)


def rate(classifier: Classifier, length: int) -> float:
    """Rows a second of full batches of `length` tokens, copies included."""
    rows = full(classifier, length)
    done, started = 0, perf_counter()
    while perf_counter() - started < SECONDS:
        classifier.run(classifier.prepare(rows))
        done += len(rows)
    return done / (perf_counter() - started)
