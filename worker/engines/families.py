"""The architectures that a graph is known for, and how they name their weights."""

from dataclasses import dataclass
from typing import Any, Final

from worker.engines import EngineError

EXPECTED: Final = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "summary_activation": "gelu",
}
QUERY: Final = "attention.self.query"
KEY: Final = "attention.self.key"
VALUE: Final = "attention.self.value"
FOUND: Final = "attention.output"
WIDE: Final = "intermediate"
NARROW: Final = "output"
PRODUCTS: Final = (QUERY, KEY, VALUE, f"{FOUND}.dense", f"{WIDE}.dense", f"{NARROW}.dense")


@dataclass(frozen=True, slots=True)
class Family:
    """What tells architectures apart: how positions are counted, and the head."""

    prefix: str
    after_padding: bool  # positions count from the padding id on, and padding ids have none
    dense: str
    activation: str
    output: str

    def layer(self, number: int) -> str:
        """What the names of a layer's weights begin with."""
        return f"{self.prefix}.encoder.layer.{number}"


ROBERTA: Final = Family("roberta", True, "classifier.dense", "Tanh", "classifier.out_proj")  # noqa: FBT003
FAMILIES: Final = {
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "bert": Family("bert", False, "bert.pooler.dense", "Tanh", "classifier"),  # noqa: FBT003
    "electra": Family("electra", False, "classifier.dense", "Gelu", "classifier.out_proj"),  # noqa: FBT003
}


def known(config: dict[str, Any]) -> Family:
    """The family of the model with this config.json. Raises EngineError where there is none."""
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise EngineError(f"no ONNX graph is known for models of type {kind}")
    for name, value in EXPECTED.items():
        if config.get(name, value) != value:
            raise EngineError(f"no ONNX graph is known for {name}={config[name]}")
    return FAMILIES[kind]


def products(config: dict[str, Any]) -> list[str]:
    """The names of the weights that int8 rounds: what a layer multiplies with.

    Raises EngineError where no graph is known.
    """
    family, layers = known(config), range(int(config["num_hidden_layers"]))
    return [f"{family.layer(layer)}.{each}.weight" for layer in layers for each in PRODUCTS]
