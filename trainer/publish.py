"""A student → the folder that is promoted: the model, and its int8 graph, made and checked once."""

import shutil
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from schemas.manifest import Int8Check
from trainer.settings import TrainerSettings
from trainer.stage import Numbers
from worker import classifier
from worker.classifier import ModelId
from worker.engines import kept

BAR: Final[dict[str, Any]] = {"desc": "publish", "unit": "step"}


def publish(model: Path, folder: Path, options: TrainerSettings) -> Numbers:
    """Copy `model` to `folder`/model and put its int8 graph beside it, for any processor.

    Where it cannot be made each worker tries for itself. Raises ModelError, EngineError.
    """
    shipped = folder / "model"
    with tqdm(total=2, postfix="copying the model", **BAR) as bar:
        shutil.rmtree(shipped, ignore_errors=True)  # what a killed run left, half a graph above all
        # Without the lock of a worker whose cache it was, which would be of the version for good.
        shutil.copytree(model, shipped, ignore=shutil.ignore_patterns(".*.lock"))
        bar.update()
        bar.set_postfix_str("making the int8 graph, and checking it on the golden messages")
        # The folder is its own cache: there the worker looks first.
        classifier.load(
            shipped,
            ModelId(options.name, "candidate"),
            device="cpu",
            max_length=options.max_length,
            threads=options.threads,
            cache=shipped,
        )
        bar.update()
        bar.set_postfix_str("")
    check = int8(shipped)
    if check is None:
        return {"int8": 0.0}
    return {
        "int8": float(check.used),
        "int8_agreement": check.agreement,
        "int8_macro_f1_delta": check.macro_f1_delta,
    }


def lacking(shipped: Path) -> str | None:
    """Why workers will not serve the model in `shipped` in int8; None where they will."""
    found = kept.shipped(shipped)
    if found is None:
        return "no int8 graph could be made: fp32 serves, slower"
    stated, check = found.manifest, found.manifest.int8
    if not stated.exact:
        off = f"the ONNX graph is off by up to {stated.difference:.2g} of a logit"
        return f"int8 is refused, as {off}: PyTorch serves in fp32, slower"
    if check.used:
        return None
    return (
        f"int8 is refused, as it agrees with fp32 on {check.agreement:.2%} of the golden messages "
        f"and moves macro-F1 by {check.macro_f1_delta * 100:+.2f} points: fp32 serves, slower; "
        "TRAINER_SETTLE_WEIGHTS=true fits a student whose weights int8 has, too"
    )


def int8(shipped: Path) -> Int8Check | None:
    """What was found when the graph in `shipped` was made; None where there is none."""
    found = kept.shipped(shipped)
    return found.manifest.int8 if found else None
