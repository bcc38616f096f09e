"""`classify` on a GPU beside the Hugging Face pipeline there, and beside its own forward pass."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.classify import (
    CannotRunError,
    Row,
    Side,
    alternate,
    bare_forward,
    base_shape,
    classify_with,
    ratio,
    settings_of,
)
from bench.gpu import load
from worker.settings import BUNDLED_MODEL

ONE_BY_ONE: Final = 256  # texts: a launch a layer and text is slow on any GPU
BATCHED: Final = 1024
BATCH: Final = 64  # texts
OURS: Final = 16_384  # texts: it needs some to get going


class Timed(NamedTuple):
    """What is timed, and how many texts it goes through."""

    run: Side
    texts: int


def run(texts: list[str], rounds: int) -> list[Row]:
    """A row a model. Raises CannotRunError."""
    import torch  # noqa: PLC0415  (lazy: --help need not wait)

    if not torch.cuda.is_available():
        raise CannotRunError("gpu_peers: torch sees no CUDA device here; nothing was measured")
    rows = [compare("bundled model", BUNDLED_MODEL, texts, rounds)]
    with tempfile.TemporaryDirectory() as folder:
        rows.append(compare("RoBERTa-base shape", base_shape(Path(folder)), texts, rounds))
    return [row | {"device": torch.cuda.get_device_name()} for row in rows]


def compare(name: str, folder: Path, texts: list[str], rounds: int) -> Row:
    """All in turn; the cache of decisions is off."""
    options, classifier = settings_of(folder), load(folder, "bf16")
    ours = distinct(texts, OURS)
    sides = {
        "one by one": Timed(pipeline(folder, ours[:ONE_BY_ONE], 1), ONE_BY_ONE),
        "batched": Timed(pipeline(folder, ours[:BATCHED], BATCH), BATCHED),
        "classify": Timed(classify_with(options, classifier, ours), OURS),
        "bare": Timed(bare_forward(options, classifier, ours), OURS),
    }
    rates = measure(sides, rounds)
    return {
        "model": f"{name}, bf16",
        "classify, msg/s": median(rates["classify"]),
        "pipeline one by one, msg/s": median(rates["one by one"]),
        "classify over it": ratio(rates, "classify", "one by one"),
        f"pipeline in batches of {BATCH}, msg/s": median(rates["batched"]),
        "classify over that": ratio(rates, "classify", "batched"),
        "bare forward, msg/s": median(rates["bare"]),
        "classify over bare forward": ratio(rates, "classify", "bare"),
    }


def measure(sides: dict[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Messages a second of each, a figure a round."""
    runs = alternate({name: side.run for name, side in sides.items()}, 1, rounds)
    return {name: [rate * sides[name].texts for rate in runs[name]] for name in sides}


def pipeline(folder: Path, texts: list[str], batch: int) -> Callable[[], None]:
    """The Hugging Face pipeline in bf16, a text or a batch at a time."""
    import torch  # noqa: PLC0415  (as above)
    from transformers import pipeline as made  # noqa: PLC0415

    pipe = made("text-classification", str(folder), top_k=None, dtype=torch.bfloat16, device=0)

    def classify() -> None:
        if batch == 1:
            for text in texts:
                pipe(text, truncation=True, max_length=256)
        else:
            pipe(texts, batch_size=batch, truncation=True, max_length=256)

    return classify


def distinct(texts: list[str], count: int) -> list[str]:
    """`count` of them, again and again, with a number behind each: equal ones are inferred once."""
    return [f"{texts[place % len(texts)]} {place}" for place in range(count)]
