"""A model and its tokenizer: checked, loaded, warmed; text → token ids → probabilities."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from worker import engines
from worker.decision import reorder, softmax
from worker.engines import Engine, InferenceError, Source, Tokens

WARM_LENGTHS = (4, 8, 16, 32, 64, 128, 256)


class ModelError(Exception):
    """The model is refused. The message is one clear line."""


class Tokenized(NamedTuple):
    """The token ids of one text, special tokens included, and whether its end was cut off."""

    tokens: Tokens
    truncated: bool


@dataclass(frozen=True, slots=True)
class ModelId:
    """What every event says of the model."""

    name: str
    version: str


class Classifier:
    """Text → probabilities of the six emotions. Not tied to Kafka; the trainer uses it as well."""

    def __init__(
        self,
        model: ModelId,
        tokenizer: Tokenizer,
        engine: Engine,
        labels: Sequence[str],
        max_length: int,
    ) -> None:
        """`labels` in logit order; `max_length` tokens, special ones included."""
        self.model = model
        self.engine = engine
        self.max_length = max_length
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.no_padding()
        self._columns = reorder(labels)

    def tokenize(self, texts: Sequence[str]) -> list[Tokenized]:
        """Encode `texts` in native threads; the interpreter's lock is free meanwhile."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [
            Tokenized(tuple(ids), len(ids) == self.max_length and bool(encoding.overflowing))
            for encoding in encodings
            for ids in (encoding.ids,)
        ]

    def prepare(self, rows: Sequence[Tokens]) -> Any:  # noqa: ANN401  (the engine's own)
        """Pad a batch; may run while another batch is in `run`."""
        return self.engine.prepare(rows)

    def run(self, prepared: Any) -> NDArray[np.float64]:  # noqa: ANN401
        """Probabilities, (rows, 6) in the order of `EMOTIONS`.

        Raises InferenceError, also for a row whose logits are not finite.
        """
        logits = self.engine.run(prepared)
        if not np.isfinite(logits).all():
            raise InferenceError("NotFinite: the model returned NaN or infinity")
        return softmax(logits)[:, self._columns]

    def warm_up(self, max_batch_tokens: int) -> None:
        """Run one batch of each length bucket, so that no message pays for the first time."""
        longest = [length for length in WARM_LENGTHS if length <= self.max_length]
        for length in longest or [self.max_length]:
            row = (self._tokenizer.encode("안녕").ids * length)[:length]
            rows = max(1, max_batch_tokens // length)
            self.run(self.prepare([tuple(row)] * rows))


def load(  # noqa: PLR0913  (one argument a setting)
    folder: Path,
    model: ModelId,
    *,
    device: str = "auto",
    precision: str = "auto",
    max_length: int = 256,
    threads: int = 0,
    cache: Path | None = None,
) -> Classifier:
    """Load the sequence classifier in `folder` after checking it.

    `threads`: 0 means as many as the process may use. `cache`: where derived graphs are kept; the
    user's cache folder by default. Raises ModelError or EngineError.
    """
    config = read_config(folder)
    labels = read_labels(config, folder)
    pad_id = int(config.get("pad_token_id") or 0)
    positions = int(config.get("max_position_embeddings", max_length + pad_id + 1)) - pad_id - 1
    tokenizer = load_tokenizer(folder)
    if tokenizer.get_vocab_size() > int(config.get("vocab_size", 0)):
        message = (
            f"{folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, "
            f"the model only {config.get('vocab_size')}; they do not belong together"
        )
        raise ModelError(message)
    if not tokenizer.encode("").ids:
        raise ModelError(f"{folder}: the tokenizer adds no special tokens, which the model expects")
    max_length = min(max_length, positions)
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()

    def encode(texts: Sequence[str]) -> list[Tokens]:
        return [tuple(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(texts))]

    source = Source(folder, pad_id, labels, encode, cache or cache_dir())
    engine = engines.load(source, device, precision, threads or available_cores())
    return Classifier(model, tokenizer, engine, labels, max_length)


def cache_dir() -> Path:
    """Where downloaded and derived models are kept unless the settings say."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "maum"


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: its affinity, and the cgroup's quota where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for names in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):  # v2, v1
        try:
            words = " ".join((cgroup / name).read_text(encoding="ascii") for name in names)
            quota, period = map(int, words.split())
        except (OSError, ValueError):  # no such version, or "max"
            continue
        if quota > 0:
            return min(cores or 1, max(1, quota // period))
    return cores or 1


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model that may be loaded. Raises ModelError."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder} holds no config.json: not a Hugging Face model") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is no JSON object")
    if config.get("auto_map"):
        raise ModelError(f"{folder} asks to run remote code (auto_map), which is refused")
    architectures = config.get("architectures") or []
    if not any(name.endswith("ForSequenceClassification") for name in architectures):
        named = ", ".join(architectures) or "no architecture"
        raise ModelError(f"{folder} is no sequence classifier: its config names {named}")
    if not list(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin"))
        why = "only pickled weights (.bin), which are refused" if pickled else "no weights"
        raise ModelError(f"{folder} has {why}; save the model as safetensors")
    return config


def read_labels(config: dict[str, Any], folder: Path) -> list[str]:
    """The labels in logit order. Raises ModelError unless they are the six."""
    id2label = config.get("id2label") or {}
    try:
        labels = [str(id2label[key]) for key in sorted(id2label, key=int)]
        reorder(labels)
    except ValueError as error:
        raise ModelError(f"{folder}: {error}") from None
    return labels


def load_tokenizer(folder: Path) -> Tokenizer:
    """The fast tokenizer of `folder`. Raises ModelError."""
    path = folder / "tokenizer.json"
    if path.exists():
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:
            raise ModelError(f"{path} cannot be read: {error}") from error
    if not (folder / "vocab.txt").exists():
        raise ModelError(f"{folder} has no tokenizer (tokenizer.json or vocab.txt)")
    from transformers import AutoTokenizer  # noqa: PLC0415  (only old models lack tokenizer.json)

    try:
        slow = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"the tokenizer in {folder} cannot be loaded: {error}") from error
    tokenizer: Tokenizer = slow.backend_tokenizer
    return tokenizer
