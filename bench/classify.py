"""How many messages a second `classify` does, beside the Hugging Face pipeline one by one."""

import asyncio
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from schemas.emotion import EMOTIONS
from worker import parts, registry
from worker.classify import Run
from worker.metrics import Metrics
from worker.settings import BUNDLED_MODEL, WorkerSettings

Row = dict[str, str | float]
BASE_TEXTS = 96  # a base-size model is slow on a CPU; enough for steady figures


def run(texts: list[str], rounds: int) -> list[Row]:
    """A row a model."""
    rows = [compare("bundled model", BUNDLED_MODEL, texts, rounds)]
    with tempfile.TemporaryDirectory() as folder:
        base = base_shape(Path(folder))
        rows.append(compare("RoBERTa-base shape", base, texts[:BASE_TEXTS], rounds))
    return rows


def compare(name: str, folder: Path, texts: list[str], rounds: int) -> Row:
    """Both on the same texts, in turn; the cache of decisions is off."""
    ours, theirs = our_classify(folder, texts), their_pipeline(folder, texts)
    rates: tuple[list[float], list[float]] = ([], [])
    for side in (ours, theirs):
        side()  # warm
    for _ in range(rounds):
        for side, found in zip((ours, theirs), rates, strict=True):
            started = perf_counter()
            side()
            found.append(len(texts) / (perf_counter() - started))
    ratio = median(a / b for a, b in zip(*rates, strict=True))
    return {
        "model, fp32": name,
        "classify, msg/s": median(rates[0]),
        "pipeline one by one, msg/s": median(rates[1]),
        "ratio": ratio,
    }


def our_classify(folder: Path, texts: list[str]) -> Callable[[], None]:
    """`python -m worker classify` without its start."""
    options = WorkerSettings(model=str(folder), precision="fp32", cache_entries=0)
    classifier = parts.classifier(options, registry.resolve(str(folder)))
    lines = "\n".join(texts).encode()

    async def classify() -> None:
        events: list[bytes] = []
        inference = parts.inference(options, classifier, Metrics())
        await Run(inference, options, events.append, print).classify(io.BytesIO(lines))
        if len(events) != len(texts):
            message = f"{len(events)} events for {len(texts)} texts"
            raise RuntimeError(message)

    return lambda: asyncio.run(classify())


def their_pipeline(folder: Path, texts: list[str]) -> Callable[[], None]:
    """The Hugging Face pipeline, a text at a time, as its quick tour shows it."""
    import torch  # noqa: PLC0415
    from transformers import pipeline  # noqa: PLC0415

    pipe = pipeline("text-classification", str(folder), top_k=None, dtype=torch.float32)

    def classify() -> None:
        for text in texts:
            pipe(text, truncation=True, max_length=256)

    return classify


def base_shape(folder: Path) -> Path:
    """A RoBERTa-base with random weights and the bundled tokenizer: speed needs no training."""
    from transformers import (  # noqa: PLC0415
        AutoTokenizer,
        RobertaConfig,
        RobertaForSequenceClassification,
    )

    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_MODEL)
    tokenizer.save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=32_000,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(map(str, EMOTIONS))),
        label2id={str(emotion): place for place, emotion in enumerate(EMOTIONS)},
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    return folder
