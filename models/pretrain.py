"""Token ids → a pretrained RoBERTa, by masked language modelling."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from models import batches, words
from models.scale import Schedule, Shape
from models.words import CLS, LONGEST, PAD, ROLES, SEP, Ids
from trainer.fit import has_bf16
from worker.limits import available_cores

CHECKPOINT: Final = "checkpoint.pt"
CHECKPOINT_STEPS: Final = 500
TOLD_STEPS: Final = 100
HEAD: Final = 64  # width of an attention head


def config(shape: Shape) -> RobertaConfig:
    """A RoBERTa of this shape."""
    return RobertaConfig(
        vocab_size=words.VOCABULARY,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.width // HEAD,
        intermediate_size=4 * shape.width,
        max_position_embeddings=LONGEST + 2,
        type_vocab_size=1,
        bos_token_id=CLS,
        pad_token_id=PAD,
        eos_token_id=SEP,
        # Every text is seen a few times, masked otherwise each time: nothing to regularise.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def fresh(
    shape: Shape, seed: int, embeddings: NDArray[np.float32] | None = None
) -> RobertaForMaskedLM:
    """A model that knows nothing, or its words' vectors, (VOCABULARY, width)."""
    torch.manual_seed(seed)
    model = RobertaForMaskedLM(config(shape))
    if embeddings is not None:
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
    """Pretrain; in bf16 where the device multiplies it (Devlin et al. 2019, section 3.1)."""
    torch.set_num_threads(available_cores())
    torch.manual_seed(schedule.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.nn.Module.to(model, device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=schedule.peak,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        fused=device.type == "cuda",
    )
    pace = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, schedule))
    checkpoint = folder / CHECKPOINT
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        pace.load_state_dict(state["pace"])
        done = state["step"]
    model.train()
    loss, started = torch.zeros((), device=device), perf_counter()
    coming = islice(enumerate(batches.batches(rows, schedule)), done, schedule.steps)

    def prepared() -> tuple[Any, ...] | None:
        """The next batch, masked; None after the last."""
        step, batch = next(coming, (0, None))
        if batch is None:
            return None
        return step, *(
            torch.from_numpy(each)
            for each in ((batch != PAD).astype(np.int64), *batches.mask(batch, schedule, step))
        )

    with ThreadPoolExecutor(1) as ahead:  # one batch, while the device works on another
        following = ahead.submit(prepared)
        while (found := following.result()) is not None:
            following = ahead.submit(prepared)
            step, *tensors = found
            attended, seen, places, wanted = (
                each.to(device, non_blocking=True) for each in tensors
            )
            with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16()):
                hidden = model.roberta(seen, attention_mask=attended).last_hidden_state
                logits = model.lm_head(hidden.reshape(-1, hidden.shape[-1])[places])
            now = torch.nn.functional.cross_entropy(logits.float(), wanted)
            now.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            pace.step()
            optimizer.zero_grad()
            # It stays on the device until it is told: nobody waits for it meanwhile.
            loss = 0.98 * loss + 0.02 * now.detach() if step > done else now.detach()
            if (step + 1) % TOLD_STEPS == 0:
                minutes = (perf_counter() - started) / (step + 1 - done) / 60
                left = f"{minutes * (schedule.steps - step - 1):.0f} min left"
                say(f"masked language: {step + 1} of {schedule.steps}, loss {loss:.3f}, {left}")
            if (step + 1) % CHECKPOINT_STEPS == 0:
                _save(checkpoint, model, optimizer, pace, step + 1)


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
