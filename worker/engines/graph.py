"""The ONNX graph of an encoder classifier, written from its weights: nothing is traced.

Rows are packed, not padded: everything but attention works on the real tokens alone, one after
the other. The last layer is worked out for the first tokens only, since the head reads no other.
In int8 each token's activations have a step of their own, so that a text's scores do not depend
on the texts that share its batch; weights have a step a column, and vectors of tokens one each.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from safetensors import SafetensorError, safe_open

from worker.engines import EngineError, families, first_line, rounding
from worker.engines.families import Family
from worker.engines.rounding import Scale
from worker.limits import check_room

Array = NDArray[Any]

MICROSOFT: Final = "com.microsoft"  # the domain of ONNX Runtime's fused operators
OPSET: Final = 17
IR_VERSION: Final = 8
# Numbers and weights that do not fit together, or are none.
UNFIT: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    SafetensorError,
    TypeError,
    ValueError,
)
BUILDING: Final = 4.0  # times the weights: the graph, its bytes, and the buffer they come from
MAX_BYTES: Final = 2_000_000_000  # what one protobuf message can hold, less the nodes


def build(folder: Path, *, int8: bool = False) -> bytes:
    """The graph of the model in `folder`, serialised. Raises EngineError, MemoryError.

    In float32, or in int8. Inputs: `ids` int64 (tokens), all rows' tokens in a row; `index`
    int32 (rows, longest), where each row's tokens are; `places` int32 (tokens), where each token
    is in the flattened `index`; `lengths` and `firsts` int32 (rows), how long each row is and
    where it begins. Output: `logits` float32 (rows, labels).
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family = families.known(config)
    if not int8:
        check_room(folder, BUILDING, "load it")
    try:
        with ExitStack() as files:
            weights: dict[str, Any] = {}
            for path in sorted(folder.glob("*.safetensors")):
                file = files.enter_context(safe_open(path, framework="numpy"))
                weights |= dict.fromkeys(file.keys(), file)
            return _Writer(config, family, weights, int8=int8).write()
    except UNFIT as error:
        message = f"no ONNX graph can be made of {folder}: {first_line(error)}"
        raise EngineError(message) from error


class _Writer:
    """Writes the graph, layer by layer. Methods take and return names of tensors."""

    def __init__(
        self, config: dict[str, Any], family: Family, files: dict[str, Any], *, int8: bool
    ) -> None:
        self._config = config
        self._family = family
        self._files = files  # the file that holds each weight
        self._int8 = int8
        self._nodes: list[NodeProto] = []
        # Filled in place: what onnx's helpers are given they copy, and weights may be gigabytes.
        self._model = ModelProto(ir_version=IR_VERSION)
        self._constants = self._model.graph.initializer
        self._bytes = 0

    def write(self) -> bytes:
        """The whole model."""
        family = self._family
        state = self._embed()
        layers = int(self._config["num_hidden_layers"])
        for layer in range(layers):
            name = family.layer(layer)
            state = self._feed(name, *self._attend(name, state, last=layer + 1 == layers))
        state = self._linear(family.dense, state)
        domain = MICROSOFT if family.activation == "Gelu" else ""
        state = self._node(family.activation, state, domain=domain)
        state = self._linear(family.output, state)
        self._nodes.append(helper.make_node("Identity", [state], ["logits"]))
        int32 = TensorProto.INT32
        inputs = [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["tokens"]),
            helper.make_tensor_value_info("index", int32, ["rows", "longest"]),
            helper.make_tensor_value_info("places", int32, ["tokens"]),
            helper.make_tensor_value_info("lengths", int32, ["rows"]),
            helper.make_tensor_value_info("firsts", int32, ["rows"]),
        ]
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", "labels"])
        graph = self._model.graph
        graph.name = "classifier"
        graph.node.extend(self._nodes)
        graph.input.extend(inputs)
        graph.output.append(output)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        self._model.opset_import.extend(opsets)
        serialised: bytes = self._model.SerializeToString()
        return serialised

    def _embed(self) -> str:
        """Token, position and type embeddings, normalised: (tokens, hidden)."""
        prefix = self._family.prefix
        name = f"{prefix}.embeddings"
        words = self._words(f"{name}.word_embeddings.weight")
        # Every token is of type 0: that embedding goes with the position's.
        types = self._weight(f"{name}.token_type_embeddings.weight")
        table = self._constant(self._weight(f"{name}.position_embeddings.weight") + types[0])
        positions = self._gather(table, self._positions())
        state = self._normalise(f"{name}.LayerNorm", words, positions)
        project = f"{prefix}.embeddings_project"
        return self._linear(project, state) if f"{project}.weight" in self._files else state

    def _words(self, name: str) -> str:
        """Each token's vector. In int8 too: of a small model's weights it is the largest part."""
        vectors = self._weight(name)
        if not self._int8:
            return self._gather(self._constant(vectors), "ids")
        told, steps = rounding.rows(vectors)
        found = self._node("Cast", self._gather(self._constant(told), "ids"), to=TensorProto.FLOAT)
        return self._node("Mul", found, self._gather(self._constant(steps), "ids"))

    def _positions(self) -> str:
        """Each token's position: (tokens)."""
        if not self._family.after_padding:
            longest = self._gather(self._node("Shape", "index"), self._constant(np.int64(1)))
            longest = self._node("Cast", longest, to=TensorProto.INT32)
            return self._node("Mod", "places", longest)
        pad = self._constant(np.int64(self._config.get("pad_token_id") or 0))
        padding = self._node("Equal", self._gather("ids", "index"), pad)
        counts = self._node("Cast", self._node("Not", padding), to=TensorProto.INT64)
        counted = self._node("CumSum", counts, self._constant(np.int64(1)))
        positions = self._node("Add", self._node("Mul", counted, counts), pad)
        return self._gather(self._flatten(positions, []), "places")

    def _attend(self, name: str, state: str, *, last: bool) -> tuple[str, str]:
        """What attention found, and the state that it is added to: (tokens, hidden) each."""
        parts = [f"{name}.{part}" for part in (families.QUERY, families.KEY, families.VALUE)]
        biases = np.concatenate([self._weight(f"{part}.bias") for part in parts])
        if last:
            joined = self._gather(self._product(parts[1:], state), "index")
            state = self._gather(state, "firsts")
            query = self._product(parts[:1], state)
            query = self._node("Unsqueeze", query, self._constant(np.array([1])))
            key, value = self._nodes_of("Split", 2, joined, axis=2)
        else:
            joined = self._gather(self._product(parts, state), "index")
            query, key, value = self._nodes_of("Split", 3, joined, axis=2)
        found = self._node(
            "MultiHeadAttention",
            *(query, key, value, self._constant(biases), "lengths"),
            domain=MICROSOFT,
            num_heads=int(self._config["num_attention_heads"]),
        )
        found = self._flatten(found, [int(self._config["hidden_size"])])
        return (found if last else self._gather(found, "places")), state

    def _feed(self, name: str, found: str, state: str) -> str:
        """The rest of a layer, from what attention found: (tokens, hidden)."""
        output = f"{name}.{families.FOUND}"
        found = self._product([f"{output}.dense"], found)
        state = self._normalise(f"{output}.LayerNorm", found, state, f"{output}.dense.bias")
        wide = self._product([f"{name}.{families.WIDE}.dense"], state)
        bias = self._tensor(f"{name}.{families.WIDE}.dense.bias")
        wide = self._node("BiasGelu", wide, bias, domain=MICROSOFT)
        output = f"{name}.{families.NARROW}"
        narrow = self._product([f"{output}.dense"], wide, rounding.AFTER_GELU)
        return self._normalise(f"{output}.LayerNorm", narrow, state, f"{output}.dense.bias")

    def _product(self, names: Sequence[str], state: str, scale: Scale = rounding.EVEN) -> str:
        """`state` times the weights of `names`, side by side; the bias is left to what follows."""
        weight = np.concatenate([self._weight(f"{name}.weight").T for name in names], axis=1)
        if not self._int8:
            return self._node("MatMul", state, self._constant(weight))
        told, steps = rounding.columns(weight)
        # A token's largest activation becomes 1, so that one fixed step fits all tokens.
        size = self._node("ReduceMax", self._node("Abs", state), axes=[-1], keepdims=1)
        size = self._node("Max", size, self._constant(scale.least))
        step = self._constant(np.float32(1 / scale.levels))
        zero = self._constant(np.uint8(scale.zero))
        product = self._node(
            "MatMulIntegerToFloat",
            self._node("QuantizeLinear", self._node("Div", state, size), step, zero),
            self._constant(told),
            step,
            self._constant(steps),
            zero,
            domain=MICROSOFT,
        )
        return self._node("Mul", product, size)

    def _linear(self, name: str, state: str) -> str:
        """A whole linear layer in float32: heads and projections are small."""
        weight = self._constant(np.ascontiguousarray(self._weight(f"{name}.weight").T))
        return self._node("Add", self._node("MatMul", state, weight), self._tensor(f"{name}.bias"))

    def _normalise(self, name: str, state: str, skipped: str, bias: str = "") -> str:
        """LayerNorm of the sum of both, and of the bias."""
        scale, shift = self._tensor(f"{name}.weight"), self._tensor(f"{name}.bias")
        return self._node(
            "SkipLayerNormalization",
            *(state, skipped, scale, shift, *([self._tensor(bias)] if bias else [])),
            domain=MICROSOFT,
            epsilon=float(self._config.get("layer_norm_eps", 1e-12)),
        )

    def _gather(self, table: str, index: str) -> str:
        return self._node("Gather", table, index, axis=0)

    def _flatten(self, padded: str, rest: list[int]) -> str:
        return self._node("Reshape", padded, self._constant(np.array([-1, *rest])))

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401  (the operators' own)
        return self._nodes_of(kind, 1, *inputs, **attributes)[0]

    def _nodes_of(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:  # noqa: ANN401
        outputs = [f"t{len(self._nodes)}.{place}" for place in range(count)]
        self._nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs

    def _tensor(self, name: str) -> str:
        return self._constant(self._weight(name))

    def _constant(self, array: Array | np.generic) -> str:
        name = f"c{len(self._constants)}"
        self._bytes += array.nbytes
        if self._bytes > MAX_BYTES:
            raise EngineError("the model is too large for one ONNX graph")
        self._constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def _weight(self, name: str) -> Array:
        file = self._files.get(name)
        if file is None:
            raise EngineError(f"the weights are not complete: no {name}")
        array: Array = file.get_tensor(name).astype(np.float32, copy=False)
        return array
