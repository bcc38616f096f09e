"""What a fit starts from: a model with a head of the six labels, and its tokenizer."""

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from schemas.emotion import EMOTIONS
from trainer.job import FitError, line


def load(spec: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model with the six labels, from a folder or the hub, and its tokenizer. Raises FitError."""
    six = {number: str(name) for number, name in enumerate(EMOTIONS)}
    try:
        stated = AutoConfig.from_pretrained(spec, trust_remote_code=False)
        _check_labels(spec, stated)
        model = AutoModelForSequenceClassification.from_pretrained(
            spec,
            id2label=six,
            label2id={name: number for number, name in six.items()},
            num_labels=len(six),
            dtype=torch.float32,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(spec, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise FitError(f"{spec} cannot be loaded: {line(error)}") from None
    return model, tokenizer


def positions(model: PreTrainedModel) -> int:
    """How many tokens the model can take."""
    config = model.config
    offset = int(getattr(config, "pad_token_id", None) or 0) + 1
    return int(getattr(config, "max_position_embeddings", 512 + offset)) - offset


def take_whole_texts(tokenizer: PreTrainedTokenizerBase) -> None:
    """Training cut texts off and padded them; whoever loads the tokenizer decides for itself."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()


def is_finite(model: torch.nn.Module) -> bool:
    """Whether every weight is a number."""
    return all(bool(torch.isfinite(each).all()) for each in model.parameters())


def _check_labels(spec: str, config: Any) -> None:  # noqa: ANN401  (any model's)
    """A classifier of other labels would be taken for one of ours with its head kept."""
    labels = list((config.id2label or {}).values())
    nameless = all(str(name).startswith("LABEL_") for name in labels)
    architectures = config.architectures or []
    if not any(name.endswith("ForSequenceClassification") for name in architectures) or nameless:
        return
    if labels != list(EMOTIONS):
        told = ", ".join(map(str, labels))
        raise FitError(f"{spec} has the labels {told}; expected {', '.join(EMOTIONS)}")
