"""One fit for teacher and student: Hugging Face `Trainer` on texts with target distributions."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    ProgressCallback,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer import TRAINER_STATE_NAME

from trainer import base, checkpoint, settle, stage
from trainer.bar import Bar
from trainer.job import FitError, Fitted, Job, line, write_fitted
from trainer.scores import score
from trainer.settings import TrainerSettings
from trainer.targets import Fit, Texts, class_weights
from worker.limits import available_cores

# In what torch says where it cannot write a file: it has no error of its own for that.
WRITER: Final = ("PytorchStreamWriter", "inline_container", "iostream error")
TOKENIZERS: Final = "(os error"  # and in what tokenizers says
PADDERS: Final = 4  # processes


def fit(job: Job, folder: Path) -> Fitted:
    """Do the job; the best model is saved in `folder`/model, how it went beside it.

    Goes on from the last whole checkpoint in `folder`. Each of several processes calls this alike
    (see `trainer.ranks`); the first alone writes. Raises FitError.
    """
    options, checkpoints = job.options, folder / checkpoint.FOLDER
    torch.set_num_threads(options.threads or available_cores())
    set_seed(options.seed)
    model, tokenizer = base.load(job.spec, job.commit)
    length = min(options.max_length, base.positions(model))
    args = arguments(checkpoints, options, job.learning_rate)
    # Of all devices: one process uses each that it sees.
    steps_an_epoch = math.ceil(len(job.train) / (args.train_batch_size * job.processes))
    args.warmup_steps = int(options.warmup_share * (steps_an_epoch * options.epochs))
    interval = min(options.checkpoint_steps or steps_an_epoch, steps_an_epoch)
    if options.checkpoint_steps:  # else a fit that is shorter would never be looked at
        args.eval_steps = args.save_steps = args.logging_steps = interval
    looks_an_epoch = math.ceil(steps_an_epoch / interval)
    patience = options.patience * looks_an_epoch
    fitting = Fit(
        class_weights(job.train),
        options.label_smoothing,
        model=model,
        args=args,
        train_dataset=Texts(job.train, tokenizer, length),
        eval_dataset=Texts(job.validation, tokenizer, length),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_macro_f1,
        callbacks=[
            EarlyStoppingCallback(patience),
            checkpoint.MarkWhole(),
        ],
    )
    fitting.remove_callback(ProgressCallback)
    fitting.add_callback(Bar)
    with _in_one_line(job.spec, folder):
        last = checkpoint.last_whole(checkpoints)
        if last and checkpoint.is_over(last, patience):  # killed before the model was saved
            state = TrainerState.load_from_json(str(last / TRAINER_STATE_NAME))
            state.best_model_checkpoint = str(checkpoint.at(checkpoints, state.best_global_step))
            fitting.state = state
            fitting._load_best_model()  # noqa: SLF001  (what `train` ends with)
        else:
            fitting.train(resume_from_checkpoint=str(last) if last else None)
        best = float(fitting.state.best_metric or 0.0)
        if not math.isfinite(best) or not base.is_finite(model):
            raise FitError(f"{job.spec}: the loss became NaN; lower the learning rate")
        if job.settled:
            settle.settle(model)
        base.take_whole_texts(tokenizer)
        fitting.save_model(str(folder / "model"))
    curve = [
        {key: float(value) for key, value in entry.items()} for entry in fitting.state.log_history
    ]
    fitted = Fitted(curve, best, fitting.state.global_step)
    fitting.accelerator.wait_for_everyone()  # who still reads the best checkpoint
    if fitting.is_world_process_zero():
        # Pickled: nobody may load it.
        (folder / "model" / "training_args.bin").unlink(missing_ok=True)
        stage.sync_all(folder / "model")
        write_fitted(folder, fitted)  # from here on the checkpoints are not needed
        shutil.rmtree(checkpoints)
    return fitted


def arguments(
    checkpoints: Path, options: TrainerSettings, learning_rate: float
) -> TrainingArguments:
    """The seed's hyper-parameters and what makes a killed run repeatable."""
    every = "steps" if options.checkpoint_steps else "epoch"
    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=2 * options.batch_size,
        learning_rate=learning_rate,
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
        load_best_model_at_end=True,
        metric_for_best_model="macro_f1",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        seed=options.seed,
        data_seed=options.seed,
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
        dataloader_num_workers=padders(),
        remove_unused_columns=False,
        log_level="error",
        disable_tqdm=False,  # by default there is no bar once the worker's classifier was loaded
    )


def padders() -> int:
    """How many processes pad batches: a GPU is quicker than one of them, a CPU has better to do."""
    return min(PADDERS, available_cores() // 2) if torch.cuda.is_available() else 0


def has_bf16() -> bool:
    """Whether the device multiplies bf16 itself; where it does not, fp32 is faster."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@contextmanager
def _in_one_line(spec: str, folder: Path) -> Iterator[None]:
    """Turn what a fit may fail of into FitError; surprises stay what they are."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise FitError(f"{spec} does not fit into memory; lower TRAINER_BATCH_SIZE") from error
    except Exception as error:
        known = (
            isinstance(error, SafetensorError)
            or (isinstance(error, RuntimeError) and any(each in str(error) for each in WRITER))
            # What tokenizers raises has no kind of its own.
            or (type(error) is Exception and TOKENIZERS in str(error))
        )
        if not known:
            raise
        message = f"{folder} cannot be written, is the disk full? {line(error)}"
        raise FitError(message) from error


def _macro_f1(predicted: EvalPrediction) -> dict[str, float]:
    logits = np.asarray(predicted.predictions)
    labels = np.asarray(predicted.label_ids).argmax(axis=1)
    found = score(labels, logits.argmax(axis=1))
    return {
        "macro_f1": found.macro_f1,
        "weighted_f1": found.weighted_f1,
        "accuracy": found.accuracy,
    }
