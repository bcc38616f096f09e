"""What a fit starts from: a model with a head of the six labels, and its tokenizer."""

from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from schemas.emotion import EMOTIONS
from trainer.job import FitError, line
from worker import hub, storage


def load(spec: str, commit: str | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model with the six labels, from a folder or the hub, and its tokenizer. Raises FitError.

    `commit`: of the hub's model; without it the one that `spec` is pinned to, or the newest.
    """
    name, revision = hub.split(spec)
    if revision and hub.folder(name):  # `from_pretrained` would take that, of whatever revision
        raise FitError(f"{spec}: there is a folder {name} here; start elsewhere, or name that")
    pinned = {"revision": commit or revision or "main", "trust_remote_code": False}
    six = {number: str(name) for number, name in enumerate(EMOTIONS)}
    try:
        stated = AutoConfig.from_pretrained(name, **pinned)
        labels = _labels(spec, stated)
        model = AutoModelForSequenceClassification.from_pretrained(
            name,
            id2label=six,
            label2id={name: number for number, name in six.items()},
            num_labels=len(six),
            dtype=torch.float32,
            **pinned,
        )
        tokenizer = AutoTokenizer.from_pretrained(name, **pinned)
    except storage.errors(ValueError, RuntimeError, SafetensorError) as error:
        raise FitError(f"{spec} cannot be loaded: {line(error)}") from None
    if labels and labels != list(EMOTIONS):
        _reorder_head(model, [labels.index(name) for name in EMOTIONS])
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


def _labels(spec: str, config: Any) -> list[str]:  # noqa: ANN401  (any model's)
    """The labels of a classifier in logit order; none where the head is made anew.

    Raises FitError for other labels: with its head kept it would be taken for one of ours.
    """
    numbered = config.id2label or {}
    labels = [str(numbered[key]) for key in sorted(numbered)]
    nameless = all(name.startswith("LABEL_") for name in labels)
    architectures = config.architectures or []
    if not any(name.endswith("ForSequenceClassification") for name in architectures) or nameless:
        return []
    if sorted(labels) != sorted(EMOTIONS) or sorted(numbered) != list(range(len(EMOTIONS))):
        told = ", ".join(f"{key} {numbered[key]}" for key in sorted(numbered))
        raise FitError(f"{spec} has the labels {told}; expected {', '.join(EMOTIONS)}")
    return labels


def _reorder_head(model: PreTrainedModel, order: list[int]) -> None:
    """Put the logits of a classifier into the order of `EMOTIONS`."""
    heads = [each for each in model.modules() if isinstance(each, torch.nn.Linear)]
    head = heads[-1]  # whose outputs are the logits
    if head.out_features != len(order):
        raise FitError("its labels are in another order, and its head is none that is known here")
    with torch.no_grad():
        for each in head.parameters():
            each.copy_(each[order].clone())
