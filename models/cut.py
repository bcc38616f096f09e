"""The lowest layers of the published encoder, as a RoBERTa: a base that a student starts from.

What it has of Korean was learned from more text than any that can be had here. The first token
is to say it all, as a worker serves it, which a fit has to teach it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer
from transformers import RobertaConfig, RobertaForSequenceClassification

from models import e5
from models.pooled import PooledForSequenceClassification
from models.words import LONGEST

LAYERS: Final = 4  # and so many pieces make 30 MB, weights in fp16 and a graph in int8
PIECES: Final = 5600
OFFSET: Final = 2  # RoBERTa counts positions from here, as its padding is 1
SEED: Final = 7


def save(encoder: Path, texts: Sequence[str], folder: Path) -> int:
    """Write the base with a fresh head, and a tokenizer of the pieces kept; how many.

    `encoder`: a folder that `e5.save` wrote. Hugging Face layout.
    """
    pieces = e5.pieces(Tokenizer.from_file(str(encoder / "tokenizer.json")))
    kept = e5.keep(pieces, texts, at_most=PIECES)
    source = PooledForSequenceClassification.from_pretrained(encoder)
    torch.manual_seed(SEED)  # of the head
    model = RobertaForSequenceClassification(_config(source, len(kept)))
    state = model.roberta.state_dict()
    for name, each in source.bert.state_dict().items():
        if name == "embeddings.word_embeddings.weight":
            state[name] = each[kept]
        elif name == "embeddings.position_embeddings.weight":
            state[name][OFFSET:] = each[:LONGEST]
        elif name == "embeddings.token_type_embeddings.weight":
            state[name] = each[:1]
        elif name in state:
            state[name] = each
    model.roberta.load_state_dict(state)
    model.save_pretrained(folder)
    e5.save_tokenizer([pieces[place] for place in kept], folder)
    return len(kept)


def _config(source: PooledForSequenceClassification, pieces: int) -> RobertaConfig:
    same = ("hidden_size", "num_attention_heads", "intermediate_size", "layer_norm_eps")
    return RobertaConfig(
        vocab_size=pieces,
        num_hidden_layers=min(LAYERS, source.config.num_hidden_layers),
        max_position_embeddings=LONGEST + OFFSET,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        id2label=source.config.id2label,
        label2id=source.config.label2id,
        **{name: getattr(source.config, name) for name in same},
    )
