"""A tiny, randomly initialised klue-style classifier, saved as the published models are."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

from schemas.emotion import EMOTIONS

SPECIAL = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
TEXTS = [
    "",
    "   ",
    "네",
    "ㅇㅇ",
    "ㅋㅋㅋ",
    "ㅋ" * 60,
    "ㅠㅠ" * 200,
    "오늘 진짜 너무 좋다 ㅎㅎ",
    "왜 자꾸 연락을 안 받아? 화나게 하지 마!!",
    "내일 발표라서 떨려 죽겠어...",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \u110b\u1175\u1105\u1165\u11c2\u1100\u1166",  # decomposed
    "😊😊 👨‍👩‍👧‍👦 🇰🇷 ❤️‍🔥",
    "좋아😊좋아😊",
    "hello Hello, 안녕 123",
    "[PAD] [SEP] 안녕 [MASK]",
    "\ufeff안녕\u200b 하세요\t\n",
    "길" * 50 + " " + "글 " * 120,
    "가나다 라마바 사! " * 910,  # 10,010 characters
]


def tokenizer() -> Tokenizer:
    """WordPiece over the characters of `TEXTS` and some words of them; emoji are unknown."""
    normalizer = BertNormalizer(lowercase=False, strip_accents=False)
    pieces = [
        piece
        for text in TEXTS
        for piece, _ in BertPreTokenizer().pre_tokenize_str(normalizer.normalize_str(text))
    ]
    letters = sorted({letter for piece in pieces for letter in piece if ord(letter) < 0x10000})
    words = sorted({piece for piece in pieces if 1 < len(piece) < 4 and piece.isalpha()})
    names = dict.fromkeys(
        [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words, "##ㅋㅋ"]
    )
    vocabulary = {name: number for number, name in enumerate(names)}
    made = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106  (no password)
    made.normalizer = normalizer
    made.pre_tokenizer = BertPreTokenizer()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    return made


def save(folder: Path) -> None:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json."""
    made = tokenizer()
    torch.manual_seed(7)
    config = RobertaConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=514,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        initializer_range=0.2,
        id2label={number: str(emotion) for number, emotion in enumerate(EMOTIONS)},
        label2id={str(emotion): number for number, emotion in enumerate(EMOTIONS)},
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=made,
        cls_token="[CLS]",  # noqa: S106  (no password)
        pad_token="[PAD]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
    ).save_pretrained(folder)


def with_vocabulary_alone(folder: Path) -> None:
    """Turn a saved tokenizer into the one of old models: vocab.txt and no tokenizer.json."""
    vocabulary = tokenizer().get_vocab()
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text(
        "".join(f"{name}\n" for name in sorted(vocabulary, key=vocabulary.__getitem__)),
        encoding="utf-8",
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": False}), encoding="utf-8"
    )
