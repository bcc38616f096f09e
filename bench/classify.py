"""How many messages a second `classify` does, beside a peer and beside what is possible.

The peer is the Hugging Face pipeline, one by one; what is possible is the bare forward pass of the
same engine over batches that were made before the clock starts.
"""

import asyncio
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from schemas.emotion import EMOTIONS
from worker import parts
from worker.batcher import Batcher
from worker.classifier import Classifier, ModelId
from worker.classify import IN_FLIGHT_TOKENS, Run
from worker.engines import graph
from worker.engines.onnx import OnnxEngine
from worker.limits import available_cores
from worker.metrics import Metrics
from worker.settings import BUNDLED_MODEL, WorkerSettings
from worker.tokenizer import load_tokenizer

Row = dict[str, str | float]
Side = Callable[[], None]
BASE_TEXTS = 192  # a base-size model is slow on a CPU; enough for steady figures
PRECISIONS = ("fp32", "int8")
MODEL = ModelId("bench", "1")


class CannotRunError(Exception):
    """The benchmark needs what this machine has not; the message is one line."""


def run(texts: list[str], rounds: int) -> list[Row]:
    """A row a model and precision."""
    rows = compare("bundled model", BUNDLED_MODEL, texts, rounds)
    with tempfile.TemporaryDirectory() as folder:
        base = base_shape(Path(folder))
        rows += compare("RoBERTa-base shape", base, texts[:BASE_TEXTS], rounds)
    return rows


def compare(name: str, folder: Path, texts: list[str], rounds: int) -> list[Row]:
    """All on the same texts, in turn; the cache of decisions is off."""
    sides: dict[str, Side] = {"pipeline": their_pipeline(folder, texts)}
    for precision in PRECISIONS:
        options, classifier = settings_of(folder), load(folder, precision)
        sides[precision] = our_classify(folder, texts, classifier)
        sides[f"bare {precision}"] = bare_forward(options, classifier, texts)
    rates = alternate(sides, len(texts), rounds)
    return [
        {
            "model": f"{name}, {precision}",
            "classify, msg/s": median(rates[precision]),
            "pipeline one by one, fp32, msg/s": median(rates["pipeline"]),
            "classify over pipeline": ratio(rates, precision, "pipeline"),
            "bare forward, msg/s": median(rates[f"bare {precision}"]),
            "classify over bare forward": ratio(rates, precision, f"bare {precision}"),
        }
        for precision in PRECISIONS
    ]


def alternate(sides: dict[str, Side], messages: int, rounds: int) -> dict[str, list[float]]:
    """Messages a second of each side, a figure a round; one round before to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    for _ in range(rounds):
        for name, side in sides.items():
            started = perf_counter()
            side()
            rates[name].append(messages / (perf_counter() - started))
    return rates


def ratio(rates: dict[str, list[float]], ours: str, theirs: str) -> float:
    """The median of the ratios within each round, so that what slows a round slows both."""
    return median(a / b for a, b in zip(rates[ours], rates[theirs], strict=True))


def settings_of(folder: Path) -> WorkerSettings:
    """The defaults, but for the cache of decisions: every message is worked out."""
    return WorkerSettings(model=str(folder), precision="fp32", cache_entries=0)


def load(folder: Path, precision: str) -> Classifier:
    """The classifier in `folder`; unchecked, as random weights have nothing to agree on."""
    body = graph.build(folder, int8=precision == "int8")
    engine = OnnxEngine.load(body, precision, available_cores())
    classifier = Classifier(MODEL, load_tokenizer(folder), engine, EMOTIONS, 256)
    classifier.warm_up(parts.batch_tokens(settings_of(folder), classifier))
    return classifier


def our_classify(folder: Path, texts: list[str], loaded: Classifier | None = None) -> Side:
    """`python -m worker classify` without its start."""
    options, classifier = settings_of(folder), loaded or load(folder, "fp32")
    return classify_with(options, classifier, texts)


def classify_with(
    options: WorkerSettings,
    classifier: Classifier,
    texts: list[str],
    in_flight_tokens: int = IN_FLIGHT_TOKENS,
) -> Side:
    """The same, with the settings given."""
    lines = "\n".join(texts).encode()

    async def classify() -> None:
        events: list[bytes] = []
        inference = parts.inference(options, classifier, Metrics())
        run = Run(inference, options, events.append, print, in_flight_tokens=in_flight_tokens)
        await run.classify(io.BytesIO(lines))
        if len(events) != len(texts):
            message = f"{len(events)} events for {len(texts)} texts"
            raise RuntimeError(message)

    return lambda: asyncio.run(classify())


def bare_forward(options: WorkerSettings, classifier: Classifier, texts: list[str]) -> Side:
    """The engine alone: tokenised, sorted by length, cut and packed before the clock starts."""
    batcher: Batcher[None] = Batcher(
        parts.batch_tokens(options, classifier), float("inf"), len(texts)
    )
    for encoded in classifier.tokenize(texts):
        batcher.add(None, encoded.tokens, 0.0)
    batches = []
    while len(batcher):
        batches.append(classifier.prepare([row.tokens for row in batcher.take(0.0)]))

    def forward() -> None:
        for batch in batches:
            classifier.engine.run(batch)

    return forward


def their_pipeline(folder: Path, texts: list[str]) -> Side:
    """The Hugging Face pipeline, a text at a time, as its quick tour shows it.

    On CPU, where we are: it would take a GPU by itself.
    """
    import torch  # noqa: PLC0415
    from transformers import pipeline  # noqa: PLC0415

    torch.set_num_threads(available_cores())  # as ours has them: not the machine's, under a quota
    pipe = pipeline(
        "text-classification", str(folder), top_k=None, dtype=torch.float32, device="cpu"
    )

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
