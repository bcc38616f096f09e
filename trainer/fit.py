"""One fit for teacher and student: Hugging Face `Trainer` on texts with target distributions."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from schemas.emotion import EMOTIONS
from trainer.scores import Floats, score
from trainer.select import Example
from trainer.settings import TrainerSettings
from worker.classifier import available_cores

CHECKPOINTS: Final = "checkpoints"
# In what torch says where it cannot write a file: it has no error of its own for that.
WRITER: Final = ("PytorchStreamWriter", "inline_container", "iostream error")
WHOLE: Final = "whole"  # marks a checkpoint whose every file was written


class FitError(Exception):
    """This model or data cannot be fitted; the message is one clear line."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a fit went: a dictionary a log entry, as `Trainer` keeps them; the best macro-F1."""

    curve: list[dict[str, float]]
    macro_f1: float
    steps: int


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


class MarkWhole(TrainerCallback):
    """Marks each checkpoint after its last file: one that a kill cut short is not gone on from."""

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002  (TrainerCallback's signature)
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Write the mark, once each process has written its part."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            (_checkpoints(args) / f"checkpoint-{state.global_step}" / WHOLE).touch()


def fit(  # noqa: PLR0913  (a model, its data, and how)
    spec: str,
    train: Sequence[Example],
    validation: Sequence[Example],
    folder: Path,
    options: TrainerSettings,
    *,
    learning_rate: float,
    processes: int = 1,
) -> Fitted:
    """Fine-tune `spec` on `train`; the best on `validation` is saved in `folder`/model.

    Goes on from the last whole checkpoint in `folder`/checkpoints. Each of several `processes`
    calls this alike (see `trainer.ranks`); the first alone writes. Raises FitError.
    """
    torch.set_num_threads(options.threads or available_cores())
    set_seed(options.seed)
    model, tokenizer = load(spec)
    length = min(options.max_length, _positions(model))
    steps = math.ceil(len(train) / (options.batch_size * processes)) * options.epochs
    fitting = Fit(
        class_weights(train),
        options.label_smoothing,
        model=model,
        args=arguments(folder / CHECKPOINTS, options, learning_rate, steps),
        train_dataset=Texts(train, tokenizer, length),
        eval_dataset=Texts(validation, tokenizer, length),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_macro_f1,
        callbacks=[EarlyStoppingCallback(options.patience), MarkWhole()],
    )
    try:
        fitting.train(resume_from_checkpoint=last_whole(folder / CHECKPOINTS))
        best = float(fitting.state.best_metric or 0.0)
        if not math.isfinite(best) or not _finite(model):
            raise FitError(f"{spec}: the loss became NaN; lower the learning rate")
        _whole_texts(tokenizer)
        fitting.save_model(str(folder / "model"))
    except torch.OutOfMemoryError as error:
        raise FitError(f"{spec} does not fit into memory; lower TRAINER_BATCH_SIZE") from error
    except SafetensorError as error:
        message = f"{folder} cannot be written, is the disk full? {_first(error)}"
        raise FitError(message) from error
    except RuntimeError as error:
        if not any(each in str(error) for each in WRITER):
            raise
        message = f"{folder} cannot be written, is the disk full? {_first(error)}"
        raise FitError(message) from error
    curve = [
        {key: float(value) for key, value in entry.items()} for entry in fitting.state.log_history
    ]
    fitting.accelerator.wait_for_everyone()  # who still reads the best checkpoint
    if fitting.is_world_process_zero():
        # Pickled: nobody may load it.
        (folder / "model" / "training_args.bin").unlink(missing_ok=True)
        shutil.rmtree(folder / CHECKPOINTS)
    return Fitted(curve, best, fitting.state.global_step)


def arguments(
    checkpoints: Path, options: TrainerSettings, learning_rate: float, steps: int
) -> TrainingArguments:
    """The seed's hyper-parameters and what makes a killed run repeatable."""
    every = "steps" if options.checkpoint_steps else "epoch"
    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=2 * options.batch_size,
        learning_rate=learning_rate,
        warmup_steps=int(options.warmup_share * steps),
        weight_decay=options.weight_decay,
        max_grad_norm=options.gradient_clip,
        bf16=has_bf16(),
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="group_by_length" if options.group_by_length else "random",
        eval_strategy=every,
        save_strategy=every,
        logging_strategy=every,
        eval_steps=options.checkpoint_steps or None,
        save_steps=options.checkpoint_steps or 500,
        logging_steps=options.checkpoint_steps or 500,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="macro_f1",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        seed=options.seed,
        data_seed=options.seed,
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        log_level="error",
    )


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
        raise FitError(f"{spec} cannot be loaded: {_first(error)}") from None
    return model, tokenizer


def class_weights(rows: Sequence[Example]) -> Floats:
    """(6,): inverse to each class's share of the targets, 1 where the classes are even."""
    mass = np.array([row.target for row in rows]).sum(axis=0)
    weights: Floats = mass.sum() / (len(EMOTIONS) * np.maximum(mass, 1.0))
    return weights


def last_whole(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end; others are removed."""
    steps = {}
    for each in checkpoints.glob("checkpoint-*"):
        if (each / WHOLE).exists():
            steps[int(each.name.rpartition("-")[2])] = each
        else:
            shutil.rmtree(each)
    return str(steps[max(steps)]) if steps else None


def _whole_texts(tokenizer: PreTrainedTokenizerBase) -> None:
    """Training cut texts off and padded them; whoever loads the tokenizer decides for itself."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()


def has_bf16() -> bool:
    """Whether the device multiplies bf16 itself; where it does not, fp32 is faster."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


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


def _positions(model: PreTrainedModel) -> int:
    config = model.config
    offset = int(getattr(config, "pad_token_id", None) or 0) + 1
    return int(getattr(config, "max_position_embeddings", 512 + offset)) - offset


def _macro_f1(predicted: EvalPrediction) -> dict[str, float]:
    logits = np.asarray(predicted.predictions)
    labels = np.asarray(predicted.label_ids).argmax(axis=1)
    found = score(labels, logits.argmax(axis=1))
    return {
        "macro_f1": found.macro_f1,
        "weighted_f1": found.weighted_f1,
        "accuracy": found.accuracy,
    }


def _finite(model: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(each).all()) for each in model.parameters())


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _checkpoints(args: TrainingArguments) -> Path:
    if args.output_dir is None:
        raise FitError("a fit needs a folder for its checkpoints")
    return Path(args.output_dir)
