"""The student → the bundled folder: calibrated, halved, with its graph, card and manifest."""

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Final

import numpy as np
import orjson
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from models import figures, plain, teachers
from models.scale import Scale
from models.words import LONGEST
from schemas import manifest
from schemas.emotion import EMOTIONS
from schemas.instant import datetime_text
from schemas.manifest import Int8Check
from trainer import calibrate, dataset, predict, publish, stage, versions
from trainer.dataset import Labelled
from trainer.settings import TrainerSettings
from worker.engines import families, rounding

NAME: Final = "maum-small"
CARD: Final = Path(__file__).resolve().parent / "card.md"
LAST: Final = ("classifier.out_proj.weight", "classifier.out_proj.bias")


@dataclass(frozen=True, slots=True)
class Made:
    """What the stages left: the student of an `arm`, TF-IDF, figures; and held-out labels."""

    arm: str
    student: Path
    plain: Path
    measured: Path
    held_out: list[Labelled]


def write(out: Path, made: Made, scale: Scale, options: TrainerSettings) -> None:
    """Fill `out`, which is replaced, and score it on the golden set, once.

    Raises ModelError, EngineError, InferenceError, StageError.
    """
    heat = temperature(made.student, made.held_out, options)
    facts = orjson.loads((made.measured / figures.FACTS).read_bytes())
    with stage.writing(out), tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "half"
        model.mkdir()
        for name in ("config.json", "tokenizer_config.json"):
            shutil.copy(made.student / name, model)
        tokenizer = Tokenizer.from_file(str(made.student / "tokenizer.json"))
        tokenizer.no_truncation()  # it was saved as the fit used it
        tokenizer.no_padding()
        tokenizer.save(str(model / "tokenizer.json"))
        halve(made.student, model, heat)
        publish.publish(model, Path(scratch) / "publish", options)
        shipped = Path(scratch) / "publish" / "model"
        golden = dataset.read_golden(options.golden)
        words = [row.text for row in golden]
        facts["shipped on golden"] = figures.measure(
            predict.of(shipped, words, options), golden, options
        )
        baseline = plain.load(made.plain)(words)
        facts["TF-IDF on golden"] = figures.measure(baseline, golden, options)
        told = Template(CARD.read_text(encoding="utf-8"))
        ablation = (made.measured / figures.ABLATION).read_text(encoding="utf-8")
        card = told.substitute(
            figures=figures.table(facts),
            ablation=ablation or "- Not known: the student without pseudo-labels was not fitted.",
            temperature=f"{heat:.2f}",
            arm=made.arm,
            shape=shape(made.student),
            size=f"{_bytes(shipped) / 1e6:.0f}",
            served=served(publish.int8(shipped)),
            **told_of(scale),
        )
        (shipped / "README.md").write_text(card, encoding="utf-8")
        stated = versions.state(
            shipped,
            NAME,
            labels=EMOTIONS,
            made_at=datetime_text(datetime.now(UTC)),
            parent=None,
            metrics={what: each["macro_f1"][0] for what, each in facts.items()},
            settings={"temperature": heat, "arm": made.arm, "seed": options.seed},
            int8=publish.int8(shipped),
        )
        body = orjson.dumps(stated.model_dump(), option=orjson.OPT_INDENT_2)
        (shipped / manifest.FILE_NAME).write_bytes(body)
        # The disk may be full: what was there goes last.
        beside = out.with_name(f".{out.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(shipped, beside)
        shutil.rmtree(out, ignore_errors=True)
        beside.rename(out)


def shape(model: Path) -> str:
    """Of a RoBERTa, in words."""
    config = orjson.loads((model / "config.json").read_bytes())
    return (
        f"{config['num_hidden_layers']} layers of {config['hidden_size']}, "
        f"{config['num_attention_heads']} heads, {config['vocab_size']:,} pieces of words (after "
        f"NFKC; padding is {config['pad_token_id']}), {LONGEST} tokens at most"
    )


def served(check: Int8Check | None) -> str:
    """In which precision, by the check that was made with the graph."""
    if check and check.used:
        return "in fp32 or, from `engines/`, in int8"
    return "in fp32: the int8 graph does not agree enough with it"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def told_of(scale: Scale) -> dict[str, str]:
    """What the card says of how the model was made."""
    teacher, student = scale.teacher, scale.student
    return {
        "reviews": f"{scale.reviews:,}",
        "spliced": f"{scale.spliced:,}",
        "pieces": f"{scale.pieces:,}",
        "steps": f"{student.pretraining.steps:,}",
        "tokens": f"{student.pretraining.tokens:,}",
        "adapting": f"{student.adapting.steps:,}",
        "start": "skip-gram vectors of them" if student.vectors else "nothing",
        "where": ", which takes hours on two CPU cores" if student.vectors else " on one GPU",
        "teacher": f"{teacher.shape.layers} layers of {teacher.shape.width}, pretrained alike for "
        f"{teacher.pretraining.steps:,} steps",
    }


def temperature(student: Path, held_out: list[Labelled], options: TrainerSettings) -> float:
    """What divides the logits so that confidence means what it says on held-out labels."""
    said = predict.of(student, [row.text for row in held_out], options)
    return calibrate.temperature(said, teachers.indices(held_out))


def halve(source: Path, target: Path, heat: float) -> None:
    """The weights in fp16 (they are served in fp32 or int8), the last layer's divided by `heat`.

    What int8 rounds is rounded here: fp32 then has the same weights, and few messages are told
    apart by what is left, the rounding of activations.
    """
    weights = load_file(source / "model.safetensors")
    for name in families.products(orjson.loads((source / "config.json").read_bytes())):
        weights[name] = rounding.settled(weights[name].astype(np.float32).T).T
    for name in LAST:
        weights[name] = weights[name] / heat
    halved = {name: each.astype("float16") for name, each in weights.items()}
    save_file(halved, target / "model.safetensors", {"format": "pt"})
