"""Text → a small pretrained RoBERTa: WordPieces, skip-gram vectors, masked language modelling.

Each step leaves its file in the folder and is skipped when that is there; the last one goes on from
its newest checkpoint.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
import torch
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
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from trainer.fit import has_bf16
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
WIDTH: Final = 256
LAYERS: Final = 4
WINDOW: Final = 4096  # texts that are sorted by length at a time
JOINED: Final = 16  # one text in so many is part of a row of full length: all positions are learned
CHECKPOINT: Final = "checkpoint.pt"
CHECKPOINT_STEPS: Final = 500

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast the masked language model learns."""

    steps: int = 4000
    tokens: int = 4096  # a step, padding included
    peak: float = 1e-3  # learning rate, after warm-up, falling to 0
    warm_up: float = 0.06  # share of the steps
    masked: float = 0.15  # share of the tokens
    seed: int = 7


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
        for first in range(0, len(texts), WINDOW)
        for encoding in tokenizer.encode_batch_fast(list(texts[first : first + WINDOW]))
    ]


def vectors(rows: Sequence[Ids], path: Path, epochs: int = 4, seed: int = 7) -> NDArray[np.float32]:
    """(VOCABULARY, WIDTH) skip-gram vectors with negative sampling (Mikolov et al. 2013)."""
    if path.exists():
        known: NDArray[np.float32] = np.load(path)
        return known
    from gensim.models import Word2Vec  # noqa: PLC0415  (an extra of this recipe)

    learned = Word2Vec(
        [[str(each) for each in row[1:-1]] for row in rows],
        vector_size=WIDTH,
        window=5,
        sg=1,
        negative=8,
        min_count=1,
        sample=1e-4,
        epochs=epochs,
        seed=seed,
        workers=available_cores(),
    ).wv
    found = np.random.default_rng(seed).normal(0, 0.02, (VOCABULARY, WIDTH)).astype(np.float32)
    for word, place in learned.key_to_index.items():
        found[int(word)] = learned.vectors[place]
    known_rows = [int(word) for word in learned.key_to_index]
    found[known_rows] *= 0.05 / found[known_rows].std()  # of the size that a RoBERTa begins with
    np.save(path, found)
    return found


def config() -> RobertaConfig:
    """The shape of the bundled model."""
    return RobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=WIDTH // 64,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=LONGEST + 2,
        type_vocab_size=1,
        bos_token_id=CLS,
        pad_token_id=PAD,
        eos_token_id=SEP,
        # Every text is seen two or three times: there is nothing to regularise.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def fresh(embeddings: NDArray[np.float32], seed: int) -> RobertaForMaskedLM:
    """A model that knows its words' vectors, (VOCABULARY, WIDTH), and nothing else."""
    torch.manual_seed(seed)
    model = RobertaForMaskedLM(config())
    with torch.no_grad():
        model.roberta.embeddings.word_embeddings.weight.copy_(torch.from_numpy(embeddings))
    return model


def known(folder: Path) -> RobertaForMaskedLM:
    """What `save` left, to be pretrained further, without dropout as at first."""
    return RobertaForMaskedLM.from_pretrained(
        folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )


def masked_language(
    model: RobertaForMaskedLM,
    rows: Sequence[Ids],
    folder: Path,
    schedule: Schedule,
    say: Callable[[str], None],
) -> None:
    """Pretrain; in bf16 where the processor multiplies it (Devlin et al. 2019, section 3.1)."""
    torch.set_num_threads(available_cores())
    torch.manual_seed(schedule.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=schedule.peak, betas=(0.9, 0.98), weight_decay=0.01
    )
    pace = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, schedule))
    checkpoint = folder / CHECKPOINT
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        pace.load_state_dict(state["pace"])
        done = state["step"]
    model.train()
    smooth, started = 0.0, perf_counter()
    for step, batch in enumerate(batches(rows, schedule)):
        if step >= schedule.steps:
            break
        if step < done:
            continue
        seen, places, wanted = mask(batch, schedule, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
            hidden = model.roberta(
                torch.from_numpy(seen),
                attention_mask=torch.from_numpy((batch != PAD).astype(np.int64)),
            ).last_hidden_state
            logits = model.lm_head(hidden.reshape(-1, WIDTH)[torch.from_numpy(places)])
        loss = torch.nn.functional.cross_entropy(logits.float(), torch.from_numpy(wanted))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        pace.step()
        optimizer.zero_grad()
        now = float(loss.detach())
        smooth = 0.98 * smooth + 0.02 * now if smooth else now
        if (step + 1) % 100 == 0:
            minutes = (perf_counter() - started) / (step + 1 - done) / 60
            left = f"{minutes * (schedule.steps - step - 1):.0f} min left"
            say(f"masked language: {step + 1} of {schedule.steps}, loss {smooth:.3f}, {left}")
        if (step + 1) % CHECKPOINT_STEPS == 0:
            _save(checkpoint, model, optimizer, pace, step + 1)


def batches(rows: Sequence[Ids], schedule: Schedule) -> Iterator[Ids]:
    """Batches of like length, padded, without end; the same for the same seed."""
    draw = random.Random(schedule.seed)  # noqa: S311  (a shuffle, not a secret)
    while True:
        order = list(range(len(rows)))
        draw.shuffle(order)
        for first in range(0, len(order), WINDOW):
            window = [rows[place] for place in order[first : first + WINDOW]]
            cut = len(window) // JOINED
            ready = _packed(
                sorted([*_joined(window[:cut]), *window[cut:]], key=len), schedule.tokens
            )
            draw.shuffle(ready)
            yield from ready


def mask(batch: Ids, schedule: Schedule, step: int) -> tuple[Ids, Ids, Ids]:
    """(what the model sees, masked places in the flat batch, what was there).

    Of the masked tokens 80 % are [MASK], 10 % another token, 10 % themselves.
    """
    draw = np.random.default_rng((schedule.seed, step))
    flat = batch.reshape(-1)
    ordinary = np.flatnonzero(flat >= len(SPECIAL))
    count = max(1, int(schedule.masked * len(ordinary)))
    places = np.sort(draw.choice(ordinary, count, replace=False))
    seen = flat.copy()
    kind = draw.random(count)
    seen[places[kind < 0.8]] = MASK  # noqa: PLR2004  (the paper's shares, above)
    other = (kind >= 0.8) & (kind < 0.9)  # noqa: PLR2004
    seen[places[other]] = draw.integers(len(SPECIAL), VOCABULARY, other.sum())
    return seen.reshape(batch.shape), places, flat[places]


def save(model: RobertaForMaskedLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Hugging Face layout, with the dropout that fine-tuning wants."""
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.1
    model.save_pretrained(folder)
    tokenizer.no_truncation()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=LONGEST,
        **ROLES,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)


def _pace(step: int, schedule: Schedule) -> float:
    warm = max(1, int(schedule.warm_up * schedule.steps))
    falling = max(0, schedule.steps - step) / max(1, schedule.steps - warm)
    return min((step + 1) / warm, falling)


def _joined(rows: Sequence[Ids]) -> Iterator[Ids]:
    """Texts behind one another, in rows of the greatest length."""
    if not rows:
        return
    line = np.concatenate([row[1:] for row in rows])
    for first in range(0, len(line), LONGEST - 1):
        yield np.concatenate([[CLS], line[first : first + LONGEST - 1]])


def _packed(rows: Sequence[Ids], budget: int) -> list[Ids]:
    """Rows, shortest first → padded batches of `budget` tokens at most."""
    ready: list[Ids] = []
    batch: list[Ids] = []
    for row in rows:
        if batch and len(row) * (len(batch) + 1) > budget:
            ready.append(_padded(batch))
            batch = []
        batch.append(row)
    return [*ready, _padded(batch)] if batch else ready


def _padded(rows: Sequence[Ids]) -> Ids:
    wide = max(map(len, rows))
    return np.stack([np.pad(row, (0, wide - len(row)), constant_values=PAD) for row in rows])


def _save(
    path: Path,
    model: RobertaForMaskedLM,
    optimizer: torch.optim.Optimizer,
    pace: torch.optim.lr_scheduler.LambdaLR,
    step: int,
) -> None:
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "pace": pace.state_dict(),
        "step": step,
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
