"""A model's tokenizer, as transformers would make it, and without transformers where it can be."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tokenizers import Encoding, Tokenizer

from worker.config import ModelError
from worker.engines import InferenceError, first_line

# The classes that take tokenizer.json as it is. All others build their own normalizer from
# tokenizer_config.json: BertTokenizer, for one, makes all text lower case unless that forbids it.
PLAIN: Final = frozenset({"TokenizersBackend", "PreTrainedTokenizerFast"})
# What changes the ids of a plain class as well.
CHANGES: Final = frozenset(
    {
        "add_bos_token",
        "add_eos_token",
        "added_tokens_decoder",
        "additional_special_tokens",
        "extra_special_tokens",
        "split_special_tokens",
    }
)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The fast tokenizer of `folder`. Raises ModelError."""
    path = folder / "tokenizer.json"
    if path.exists():
        try:
            plain = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing more precise
            raise ModelError(f"{path} cannot be read: {first_line(error)}") from error
        if _is_plain(folder):
            return plain
    elif not (folder / "vocab.txt").exists():
        raise ModelError(f"{folder} has no tokenizer (tokenizer.json or vocab.txt)")
    from transformers import AutoTokenizer  # noqa: PLC0415  (lazy: takes seconds)

    try:
        built = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        tokenizer: Tokenizer = built.backend_tokenizer
    except Exception as error:  # what it raises over files that are not as they should be: anything
        message = f"the tokenizer in {folder} cannot be loaded: {first_line(error)}"
        raise ModelError(message) from error
    return tokenizer


def _is_plain(folder: Path) -> bool:
    """Whether tokenizer.json alone decides the ids."""
    path = folder / "tokenizer_config.json"
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False  # transformers then takes the class that goes with the model
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is no JSON object")
    kind = config.get("tokenizer_class")
    return isinstance(kind, str) and kind in PLAIN and not any(map(config.get, CHANGES))


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Encoding]:
    """Encode `texts` in native threads. Raises InferenceError, which quotes nothing of them."""
    try:
        return tokenizer.encode_batch_fast(list(texts))
    except Exception as error:  # tokenizers raises nothing more precise
        raise InferenceError(f"{type(error).__name__}: the tokenizer failed") from error
