"""Texts whose label is a distribution over the emotions, and a `Trainer` that learns from them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, Trainer

from schemas.emotion import EMOTIONS
from trainer.scores import Floats
from trainer.select import Example


class Texts(torch.utils.data.Dataset[dict[str, Any]]):
    """Token ids and target distributions."""

    def __init__(
        self, rows: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> None:
        texts = [row.text for row in rows]
        encoded = tokenizer(texts, truncation=True, max_length=max_length)
        self._rows = [
            {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": row.target}
            for ids, row in zip(encoded["input_ids"], rows, strict=True)
        ]

    def __len__(self) -> int:
        """Rows."""
        return len(self._rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """One row, not padded."""
        return self._rows[place]


class Fit(Trainer):
    """A `Trainer` whose loss takes distributions, class weights and label smoothing."""

    def __init__(self, class_weights: Floats, smoothing: float, **given: Any) -> None:  # noqa: ANN401
        super().__init__(**given)
        self._class_weights = torch.tensor(class_weights, dtype=torch.float32)
        self._smoothing = smoothing

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001, FBT002  (Trainer's signature)
        num_items_in_batch: Any = None,  # noqa: ANN401, ARG002
    ) -> Any:  # noqa: ANN401
        """Cross-entropy with the target distributions, smoothed (Szegedy et al. 2016)."""
        targets = inputs.pop("labels").float()
        outputs = model(**inputs)
        logits = outputs.logits.float()
        weights = self._class_weights.to(logits.device)
        loss = torch.nn.functional.cross_entropy(
            logits, targets, weight=weights, label_smoothing=self._smoothing
        )
        return (loss, outputs) if return_outputs else loss


def class_weights(rows: Sequence[Example]) -> Floats:
    """(6,): inverse to each class's share of the targets, 1 where the classes are even.

    A class that no target has any of weighs nothing: with the largest weight, label smoothing alone
    would make it the cheapest answer.
    """
    mass = np.array([row.target for row in rows]).sum(axis=0)
    weights: Floats = mass.sum() / (len(EMOTIONS) * np.maximum(mass, 1.0)) * (mass > 0)
    return weights
