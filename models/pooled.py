"""A BERT that tells emotions from the mean and the maximum over its tokens, not from the first.

The published encoder that one of the teachers is fitted from was trained by the mean; its first
token says little by itself.
"""

from typing import Any, Final, Self

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    BertPreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from schemas.emotion import EMOTIONS

NEVER: Final = -1e4  # what padding is before a maximum


class PooledConfig(BertConfig):
    """Also how many layers, from the lowest, stay as they are, and the embeddings with them."""

    model_type = "pooled-bert"
    frozen_layers: int = 0


class PooledForSequenceClassification(BertPreTrainedModel):
    """(n, width) token ids → (n, labels) logits."""

    config_class = PooledConfig

    def __init__(self, config: PooledConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = torch.nn.Dropout(config.hidden_dropout_prob)
        self.classifier = torch.nn.Linear(2 * config.hidden_size, len(EMOTIONS))
        self.post_init()  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002  (torch's)
        """As torch's; what stays as it is takes no gradient (what loads a model makes all do)."""
        self.bert.embeddings.requires_grad_(False)  # noqa: FBT003
        for layer in self.bert.encoder.layer[: self.config.frozen_layers]:
            layer.requires_grad_(False)  # noqa: FBT003
        super().train(mode)
        return self

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,  # noqa: ARG002  (by their name `Trainer` knows them)
        **_: Any,  # noqa: ANN401  (what `Trainer` and others pass on)
    ) -> SequenceClassifierOutput:
        """Logits; without a mask, every token counts."""
        hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        seen = attention_mask[..., None].to(hidden.dtype)
        mean = (hidden * seen).sum(1) / seen.sum(1)
        most = (hidden + NEVER * (1 - seen)).amax(1)
        logits = self.classifier(self.dropout(torch.cat([mean, most], dim=1)))
        return SequenceClassifierOutput(logits=logits)


AutoConfig.register(PooledConfig.model_type, PooledConfig)
AutoModelForSequenceClassification.register(PooledConfig, PooledForSequenceClassification)
