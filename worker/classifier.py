"""A model and its tokenizer: checked, loaded, warmed; text → token ids → probabilities."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray
from tokenizers import Tokenizer

from worker.config import ModelError, read_config, read_labels
from worker.decision import reorder, softmax
from worker.engines import Engine, InferenceError, OutOfMemoryError, Source, Tokens, choice
from worker.limits import TooLargeError, available_cores
from worker.tokenizer import encode, load_tokenizer

log = structlog.get_logger(__name__)

# Of an engine that takes rows of any length; of others each one. Those that are shorter than the
# longest row, and it.
WARM_LENGTHS = (4, 8, 16, 32, 64, 128, 256)
LEAST_LENGTH = 4  # tokens: two special ones, and something between
SHRUNK: Final = "the device ran out of memory; batches are smaller from now on"


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
        self.max_batch_tokens = sys.maxsize  # padded ones that a batch may have, as far as we know
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.no_padding()
        self._columns = reorder(labels)

    def tokenize(self, texts: Sequence[str]) -> list[Tokenized]:
        """Encode `texts` in native threads; the interpreter's lock is free meanwhile.

        Raises InferenceError.
        """
        return [
            Tokenized(tuple(ids), len(ids) == self.max_length and bool(encoding.overflowing))
            for encoding in encode(self._tokenizer, texts)
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
        if logits.ndim != 2 or logits.shape[1] != len(self._columns):  # noqa: PLR2004  (a matrix)
            raise InferenceError(f"WrongShape: the model returned logits of shape {logits.shape}")
        if not np.isfinite(logits).all():
            raise InferenceError("NotFinite: the model returned NaN or infinity")
        return softmax(logits)[:, self._columns]

    def padded(self, rows: Sequence[Tokens]) -> int:
        """Tokens that a batch of `rows` takes, padding included."""
        multiple = self.engine.multiple
        return -(-max(map(len, rows)) // multiple) * multiple * len(rows)

    def warm_up(self, max_batch_tokens: int) -> None:
        """Run one batch of each length bucket, so that no message pays for the first time.

        What does not fit on the device is halved, and `max_batch_tokens` keeps what did. Raises
        TooLargeError where not even one row fits, InferenceError or DeviceLostError.
        """
        fitting = max_batch_tokens
        step = self.engine.multiple
        lengths = WARM_LENGTHS if step == 1 else range(step, self.max_length, step)
        shorter = [length for length in lengths if length < self.max_length]
        for length in [*shorter, self.max_length]:
            row = (encode(self._tokenizer, ["안녕"])[0].ids * length)[:length]
            fitting = self._try(tuple(row), fitting)
        if fitting < max_batch_tokens:
            log.warning(SHRUNK, max_batch_tokens=fitting, before=max_batch_tokens)
            self.max_batch_tokens = fitting

    def _try(self, row: Tokens, budget: int) -> int:
        """Run a batch of `row`, halved until it fits; returns the budget that it fitted."""
        while True:
            rows = max(1, budget // self.padded([row]))
            padding = [row[:-1]] if rows > 1 else []  # so that there is some to be masked
            try:
                self.run(self.prepare([row] * (rows - len(padding)) + padding))
            except OutOfMemoryError as error:
                if rows == 1:
                    raise TooLargeError(
                        f"a text of {len(row)} tokens does not fit into the memory of "
                        f"{self.engine.name} beside {self.model.name}; give it more memory, take "
                        "a smaller model, or lower WORKER_MAX_LENGTH"
                    ) from error
                budget = self.padded([row] * rows) // 2
            else:
                return budget


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
    user's cache folder by default. Raises ModelError, EngineError or InferenceError.
    """
    config = read_config(folder)
    labels = read_labels(config, folder)
    pad_id = config.get("pad_token_id") or 0
    embedded = config.get("max_position_embeddings")
    positions = (embedded or max_length + pad_id + 1) - pad_id - 1
    if positions < LEAST_LENGTH:
        raise ModelError(f"{folder}: the model has room for {max(0, positions)} tokens")
    tokenizer = load_tokenizer(folder)
    if tokenizer.get_vocab_size() > config["vocab_size"]:
        message = (
            f"{folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, "
            f"the model only {config['vocab_size']}; they do not belong together"
        )
        raise ModelError(message)
    if not encode(tokenizer, [""])[0].ids:
        raise ModelError(f"{folder}: the tokenizer adds no special tokens, which the model expects")
    max_length = min(max_length, positions)
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()

    def ids_of(texts: Sequence[str]) -> list[Tokens]:
        return [tuple(encoding.ids) for encoding in encode(tokenizer, texts)]

    source = Source(folder, pad_id, labels, ids_of, cache or cache_dir())
    engine = choice.load(source, device, precision, threads or available_cores())
    step = engine.multiple
    # Padding has positions as well, which BERT embeds.
    if embedded and -(-max_length // step) * step > embedded:
        max_length = embedded // step * step or max_length
    return Classifier(model, tokenizer, engine, labels, max_length)


def cache_dir() -> Path:
    """Where downloaded and derived models are kept unless the settings say."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # no HOME, and a user that the system has no entry for, as in containers
        base = os.devnull  # nothing can be kept there, which is told of by whoever tries
    return Path(base) / "maum"
