"""The ONNX graph says what PyTorch says, and a row's int8 scores are its own."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as errors
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from worker.engines import (
    Engine,
    EngineError,
    InferenceError,
    OutOfMemoryError,
    Tokens,
    families,
    graph,
    rounding,
)
from worker.engines.onnx import OnnxEngine, pack
from worker.engines.torch import TorchEngine

PAD = 1
SHAPE: dict[str, object] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
    "pad_token_id": PAD,
    "initializer_range": 0.4,
    "num_labels": 6,
}


FAMILIES: dict[str, dict[str, object]] = {
    "roberta": {},
    "xlm-roberta": {},
    "bert": {},
    "electra": {"embedding_size": 16},
    "roberta of one layer": {"num_hidden_layers": 1},
}


def save(folder: Path, name: str) -> Path:
    torch.manual_seed(3)
    config = AutoConfig.for_model(name.partition(" ")[0], **SHAPE | FAMILIES[name])
    made: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    for parameter in made.parameters():  # biases begin as zeros, and would hide a forgotten one
        torch.nn.init.normal_(parameter, std=0.4)
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("family"), request.param)


def rows_of(lengths: Sequence[int], seed: int = 0) -> list[Tokens]:
    """Random tokens; the padding id occurs among them, as where somebody writes [PAD]."""
    random = Random(seed)  # noqa: S311  (no secret)
    return [(0, *(random.randrange(50) for _ in range(length - 1))) for length in lengths]


def logits(engine: Engine, rows: Sequence[Tokens]) -> NDArray[np.float32]:
    return engine.run(engine.prepare(rows))


@pytest.mark.parametrize("lengths", [[1], [7], [9, 9, 9], [1, 2, 30, 5, 5], [38, 1]], ids=str)
def test_the_fp32_graph_gives_the_logits_of_pytorch(folder: Path, lengths: list[int]) -> None:
    rows = rows_of(lengths)
    expected = logits(TorchEngine.load(folder, PAD, "cpu", "fp32", 1), rows)
    found = logits(OnnxEngine.load(graph.build(folder), "fp32", 1), rows)
    assert np.ptp(expected) > 0.1
    assert np.abs(found - expected).max() < 1e-4


def test_int8_is_close_to_fp32(folder: Path) -> None:
    rows = rows_of(range(1, 30))
    expected = logits(OnnxEngine.load(graph.build(folder), "fp32", 1), rows)
    found = logits(OnnxEngine.load(graph.build(folder, int8=True), "int8", 1), rows)
    spread = expected.std()
    assert 0 < np.abs(found - expected).mean() < 0.1 * spread


def test_what_int8_rounds_is_known_by_name(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    matrices = {
        name
        for name, weight in load_file(folder / "model.safetensors").items()
        if ".layer." in name and weight.ndim == 2
    }
    assert set(families.products(config)) == matrices
    int8 = onnx.load_from_string(graph.build(folder, int8=True)).graph.initializer
    rounded = sum(
        each.dims[0] * each.dims[1]
        for each in int8
        if each.data_type == TensorProto.INT8 and each.dims[0] != SHAPE["vocab_size"]
    )
    assert rounded == sum(load_file(folder / "model.safetensors")[name].size for name in matrices)


def test_in_int8_the_vectors_of_tokens_are_bytes_and_one_of_zeros_stays_so(
    folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folder, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    (name,) = (name for name in weights if name.endswith("word_embeddings.weight"))
    weights[name][7] = 0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    body = graph.build(folder, int8=True)
    kept = [each for each in onnx.load_from_string(body).graph.initializer if 50 in each.dims]
    shapes = {(tuple(each.dims), each.data_type) for each in kept}
    assert shapes == {
        (weights[name].shape, TensorProto.INT8),
        ((50, 1), TensorProto.FLOAT),
    }
    found = logits(OnnxEngine.load(body, "int8", 1), [(0, 7, 7)])
    expected = logits(OnnxEngine.load(graph.build(folder), "fp32", 1), [(0, 7, 7)])
    assert np.abs(found - expected).mean() < 0.1 * max(1.0, expected.std())


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 4)),
        elements=st.floats(-2, 2, width=32),
    ),
)
def test_no_two_neighbouring_weights_pass_what_the_processor_adds_up(
    weight: NDArray[np.float32],
) -> None:
    """255 of an input times two weights is what 16 bits have to hold without VNNI."""
    told, steps = rounding.columns(weight)
    found = told.astype(int)
    assert np.abs(found * steps - weight).max() <= 0.51 * steps.max()
    for first in range(0, len(found), 2):
        pair = found[first : first + 2]
        for sign in (1, -1):
            assert np.clip(sign * pair, 0, None).sum(axis=0).max() <= 128
    largest = np.abs(found).max(axis=0)
    assert (largest[np.abs(weight).max(axis=0) > 1e-3] >= 63).all()  # and no more is given away


@pytest.mark.parametrize("inputs", [7, 384])
def test_settled_weights_are_told_in_int8_without_a_difference(inputs: int) -> None:
    draws = np.random.default_rng(7)
    weight = draws.normal(0, 0.05, (inputs, 500)).astype(np.float32)
    settled = rounding.settled(weight)
    told, steps = rounding.columns(settled.astype(np.float16).astype(np.float32))  # as shipped
    assert np.abs(told * steps - settled).max() < 1e-3 * np.abs(weight).max()
    _, before = rounding.columns(weight)
    assert np.abs(settled - weight).max() <= 1.51 * before.max()  # and not far away


def test_products_of_the_largest_numbers_do_not_overflow() -> None:
    draws = np.random.default_rng(7)
    weight = np.sign(draws.normal(size=(64, 16))).astype(np.float32)
    weight[:, :4] = 1
    told, _ = rounding.columns(weight)
    node = helper.make_node("MatMulInteger", ["inputs", "weight"], ["sums"])
    body = helper.make_model(
        helper.make_graph(
            [node],
            "product",
            [helper.make_tensor_value_info("inputs", TensorProto.UINT8, [None, 64])],
            [helper.make_tensor_value_info("sums", TensorProto.INT32, [None, 16])],
            [numpy_helper.from_array(told, "weight")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    ).SerializeToString()
    inputs = np.full((8, 64), 255, np.uint8)
    (found,) = onnxruntime.InferenceSession(body).run(None, {"inputs": inputs})
    assert (found == inputs.astype(int) @ told.astype(int)).all()


def test_the_int8_scores_of_a_row_do_not_depend_on_its_company(folder: Path) -> None:
    engine = OnnxEngine.load(graph.build(folder, int8=True), "int8", 1)
    rows = rows_of([3, 17, 30, 8, 1, 17])
    alone = np.concatenate([logits(engine, [row]) for row in rows])
    assert np.abs(logits(engine, rows) - alone).max() < 1e-4


def test_rows_are_packed_without_padding() -> None:
    packed = pack([(5, 6), (7,), (8, 9, 9)])
    assert packed["ids"].tolist() == [5, 6, 7, 8, 9, 9]
    assert packed["firsts"].tolist() == [0, 2, 3]
    assert packed["index"].ravel()[packed["places"]].tolist() == [0, 1, 2, 3, 4, 5]


def test_an_engine_does_not_keep_the_bytes_it_was_loaded_from(folder: Path) -> None:
    body = graph.build(folder)
    before = sys.getrefcount(body)
    engine = OnnxEngine.load(body, "fp32", 1)
    assert sys.getrefcount(body) == before
    assert engine.name == "onnx-cpu"


def test_a_token_beyond_the_vocabulary_fails_its_batch(folder: Path) -> None:
    engine = OnnxEngine.load(graph.build(folder), "fp32", 1)
    with pytest.raises(InferenceError, match="forward pass failed"):
        logits(engine, [(0, 50)])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model_type": "deberta-v2"}, "no ONNX graph is known for models of type deberta-v2"),
        ({"hidden_act": "relu"}, "no ONNX graph is known for hidden_act=relu"),
        ({"num_hidden_layers": 4}, r"not complete: no .*layer\.3"),
    ],
)
def test_what_the_graph_would_get_wrong_is_refused(
    tmp_path: Path, change: dict[str, object], line: str
) -> None:
    save(tmp_path, "roberta")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EngineError, match=line):
        graph.build(tmp_path)


def test_a_broken_graph_is_one_line() -> None:
    with pytest.raises(EngineError, match="cannot load the model") as caught:
        OnnxEngine.load(b"spoilt", "int8", 1)
    assert "\n" not in str(caught.value)


def test_a_session_has_the_threads_it_is_given_and_leaves_the_cores_to_others_while_it_waits(
    folder: Path,
) -> None:
    options = OnnxEngine.load(graph.build(folder), "fp32", 3).session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert not options.enable_mem_pattern


NO_ROOM = [
    MemoryError(),
    errors.RuntimeException("BFCArena: Failed to allocate memory for requested buffer of size 9"),
    errors.Fail("std::bad_alloc"),
]


@pytest.mark.parametrize("error", NO_ROOM, ids=repr)
def test_a_batch_that_memory_is_too_small_for_is_told_from_one_that_fails(error: Exception) -> None:
    class Full:
        def run(self, *_: object) -> None:
            raise error

    engine = OnnxEngine(Full(), "int8")
    with pytest.raises(OutOfMemoryError, match="2 rows"):
        logits(engine, rows_of([3, 4]))


@pytest.mark.parametrize("error", NO_ROOM, ids=repr)
def test_a_graph_that_memory_is_too_small_for_is_no_reason_to_take_a_larger_engine(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(onnxruntime, "InferenceSession", full)
    with pytest.raises(MemoryError):
        OnnxEngine.load(graph.build(folder), "fp32", 1)


def test_a_graph_of_another_making_is_refused() -> None:
    number = helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows"])
    found = helper.make_tensor_value_info("logits", TensorProto.INT64, ["rows"])
    node = helper.make_node("Identity", ["ids"], ["logits"])
    body = helper.make_model(
        helper.make_graph([node], "other", [number], [found]),
        opset_imports=[helper.make_opsetid("", graph.OPSET)],
        ir_version=graph.IR_VERSION,
    )
    with pytest.raises(EngineError, match="none of ours"):
        OnnxEngine.load(body.SerializeToString(), "int8", 1)
