"""Text → WordPieces, their ids, and skip-gram vectors of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from worker.limits import available_cores

SPECIAL: Final = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
CLS, PAD, SEP, _, MASK = range(len(SPECIAL))
UNKNOWN: Final = "unk_token"
ROLES: Final = {
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    UNKNOWN: "[UNK]",
    "mask_token": "[MASK]",
}
VOCABULARY: Final = 12_000
LONGEST: Final = 256  # tokens
PART: Final = 4096  # texts that are encoded at a time

Ids = NDArray[np.int64]


def vocabulary(texts: Sequence[str], path: Path) -> Tokenizer:
    """WordPieces as BERT's: NFKC, lower case; [PAD] is 1, as in klue/roberta-base."""
    if path.exists():
        return Tokenizer.from_file(str(path))
    unknown = {UNKNOWN: ROLES[UNKNOWN]}
    tokenizer = Tokenizer(models.WordPiece(max_input_chars_per_word=100, **unknown))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.BertNormalizer(strip_accents=False, lowercase=True)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    learner = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        limit_alphabet=2500,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, learner)
    tokenizer.save(str(path))
    return tokenizer


def tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    """The ids of each text, special ones included, cut at `LONGEST`."""
    tokenizer.enable_truncation(LONGEST)
    return [
        np.array(encoding.ids, dtype=np.int64)
        for first in range(0, len(texts), PART)
        for encoding in tokenizer.encode_batch_fast(list(texts[first : first + PART]))
    ]


def vectors(
    rows: Sequence[Ids], width: int, path: Path, epochs: int = 4, seed: int = 7
) -> NDArray[np.float32]:
    """(VOCABULARY, width) skip-gram vectors with negative sampling (Mikolov et al. 2013)."""
    if path.exists():
        known: NDArray[np.float32] = np.load(path)
        return known
    from gensim.models import Word2Vec  # noqa: PLC0415  (an extra of this recipe)

    learned = Word2Vec(
        [[str(each) for each in row[1:-1]] for row in rows],
        vector_size=width,
        window=5,
        sg=1,
        negative=8,
        min_count=1,
        sample=1e-4,
        epochs=epochs,
        seed=seed,
        workers=available_cores(),
    ).wv
    found = np.random.default_rng(seed).normal(0, 0.02, (VOCABULARY, width)).astype(np.float32)
    for word, place in learned.key_to_index.items():
        found[int(word)] = learned.vectors[place]
    known_rows = [int(word) for word in learned.key_to_index]
    found[known_rows] *= 0.05 / found[known_rows].std()  # of the size that a RoBERTa begins with
    np.save(path, found)
    return found
