"""config.json of a model: what the worker relies on, checked before a library sees it."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, ValidationError

from worker.decision import reorder

SINGLE: Final = "single_label_classification"

Size = Annotated[int, Field(strict=True, ge=1)]

Count = Annotated[int, Field(strict=True, ge=1, le=1000)]


class ModelError(Exception):
    """The model is refused. The message is one clear line."""


class _Config(BaseModel):
    """The fields that decide whether and how a model is loaded; the library checks the others."""

    architectures: list[str] | None = None
    id2label: dict[str, str] | None = None
    problem_type: str | None = None
    vocab_size: Size
    max_position_embeddings: Size | None = None
    pad_token_id: Annotated[int, Field(strict=True, ge=0)] | None = None
    # What is made before the weights are looked at: a mad number would never come to an end.
    num_hidden_layers: Count = 12
    num_labels: Count | None = None


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model that may be loaded. Raises ModelError."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder} holds no config.json: not a Hugging Face model") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is no JSON object")
    try:
        stated = _Config.model_validate(config)
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
        name = ".".join(map(str, mistake["loc"]))
        raise ModelError(f"{path}: {name}: {mistake['msg']}") from None
    if config.get("auto_map"):
        raise ModelError(f"{folder} asks to run remote code (auto_map), which is refused")
    architectures = stated.architectures or []
    if not any(name.endswith("ForSequenceClassification") for name in architectures):
        named = ", ".join(architectures) or "no architecture"
        raise ModelError(f"{folder} is no sequence classifier: its config names {named}")
    if (stated.problem_type or SINGLE) != SINGLE:
        message = (
            f"{folder} is made for {stated.problem_type} (problem_type), where the scores do not "
            "sum to 1; an event has one emotion"
        )
        raise ModelError(message)
    if not any(path.is_file() for path in folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin"))
        why = "only pickled weights (.bin), which are refused" if pickled else "no weights"
        raise ModelError(f"{folder} has {why}; save the model as safetensors")
    return config


def read_labels(config: dict[str, Any], folder: Path) -> list[str]:
    """The labels in logit order. Raises ModelError unless they are the six."""
    id2label = config.get("id2label") or {}
    try:
        numbered = sorted(id2label, key=int)
        labels = [str(id2label[key]) for key in numbered]
        reorder(labels)
    except ValueError as error:
        raise ModelError(f"{folder}: {error}") from None
    if [int(each) for each in numbered] != list(range(len(labels))):
        told = ", ".join(numbered)
        raise ModelError(f"{folder}: the labels are numbered {told}; expected 0 to 5")
    return labels
