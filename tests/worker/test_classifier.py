"""The classifier gives what a transformers pipeline gives, whatever shares its batch."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import pipeline

from schemas.emotion import EMOTIONS
from worker import classifier as classifiers
from worker.classifier import Classifier, ModelId
from worker.config import ModelError
from worker.decision import Decision
from worker.engines import EngineError, choice

from . import tiny
from .fakes import FakeEngine, inference_of, verdicts_of
from .tiny import TEXTS

MODEL = ModelId("tiny", "1")


def load(folder: Path, max_length: int = 256) -> Classifier:
    return classifiers.load(
        folder, MODEL, device="cpu", precision="fp32", max_length=max_length, threads=1
    )


@dataclass(frozen=True)
class Pair:
    """The classifier, and what the pipeline says of `TEXTS`: (texts, 6)."""

    classifier: Classifier
    expected: NDArray[np.float64]
    ids: list[list[int]]

    def scores(self, texts: list[str]) -> NDArray[np.float64]:
        rows = [each.tokens for each in self.classifier.tokenize(texts)]
        return self.classifier.run(self.classifier.prepare(rows))


def as_bert(folder: Path, **settings: object) -> None:
    """Have transformers build its own BertTokenizer from the vocabulary in tokenizer.json."""
    stated = {"tokenizer_class": "BertTokenizer", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), encoding="utf-8")


KINDS: dict[str, Callable[[Path], None]] = {
    "tokenizer.json": lambda _: None,
    "vocab.txt": tiny.with_vocabulary_alone,
    "Bert, cased": lambda folder: as_bert(folder, do_lower_case=False),
    # Its tokenizer.json keeps the case; transformers does not.
    "Bert, lower case": lambda folder: as_bert(folder, do_lower_case=True),
    "Bert, case unsaid": as_bert,
}


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Pair:
    folder = tmp_path_factory.mktemp("models") / "copy"
    shutil.copytree(tiny_model, folder)
    KINDS[request.param](folder)
    reference = pipeline("text-classification", model=str(folder), top_k=None, device="cpu")
    expected = []
    for text in TEXTS:
        answer: Any = reference([text], truncation=True, max_length=256)
        scores = {each["label"]: each["score"] for each in answer[0]}
        expected.append([scores[emotion] for emotion in EMOTIONS])
    assert reference.tokenizer is not None
    ids = reference.tokenizer(TEXTS, truncation=True, max_length=256)["input_ids"]
    return Pair(load(folder), np.array(expected), ids)


def test_the_texts_are_told_apart(pair: Pair) -> None:
    assert len({int(top) for top in pair.expected.argmax(axis=1)}) > 1
    assert np.ptp(pair.expected, axis=0).max() > 0.05


def test_the_token_ids_are_those_of_the_pipeline(pair: Pair) -> None:
    assert [list(each.tokens) for each in pair.classifier.tokenize(TEXTS)] == pair.ids


def test_each_text_alone_scores_as_the_pipeline_does(pair: Pair) -> None:
    scores = np.concatenate([pair.scores([text]) for text in TEXTS])
    assert np.abs(scores - pair.expected).max() < 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_texts_that_share_a_batch_score_as_they_do_alone(pair: Pair, seed: int) -> None:
    order = Random(seed).sample(range(len(TEXTS)), len(TEXTS))  # noqa: S311  (no secret)
    scores = pair.scores([TEXTS[place] for place in order])
    assert np.abs(scores - pair.expected[order]).max() < 1e-5


@pytest.mark.parametrize("budget", [1, 40, 600])
async def test_texts_score_the_same_through_the_inference_stage(pair: Pair, budget: int) -> None:
    inference = inference_of(pair.classifier, max_batch_tokens=budget)
    verdicts = await verdicts_of(inference, TEXTS)
    decisions = [verdict for verdict in verdicts if isinstance(verdict, Decision)]
    assert len(decisions) == len(TEXTS)
    scores = np.array([decision.scores for decision in decisions])
    assert np.abs(scores - pair.expected).max() < 2e-5  # published scores are cut to six digits


def test_only_what_is_longer_than_the_limit_is_truncated(tiny_model: Path) -> None:
    tokenized = load(tiny_model).tokenize(["글 " * 254, "글 " * 255, "", *TEXTS])
    assert [len(each.tokens) for each in tokenized[:3]] == [256, 256, 2]
    assert [each.truncated for each in tokenized[:3]] == [False, True, False]
    assert [each.truncated for each in tokenized[3:]] == [len(text) > 5_000 for text in TEXTS]


def test_the_limit_is_never_beyond_the_models_positions(tiny_model: Path) -> None:
    classifier = load(tiny_model, max_length=4_000)
    assert classifier.max_length == 512
    classifier.warm_up(64)
    rows = [each.tokens for each in classifier.tokenize(["글 " * 4_000])]
    assert np.isfinite(classifier.run(classifier.prepare(rows))).all()


@pytest.mark.parametrize(("positions", "longest"), [(300, 296), (304, 300), (514, 300), (7, 6)])
def test_padding_stays_within_the_models_positions(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    positions: int,
    longest: int,
) -> None:
    folder = copied(tiny_model, tmp_path)
    sizes = {"max_position_embeddings": positions, "pad_token_id": 0}
    change(folder, lambda config: config.update(sizes))
    monkeypatch.setattr(choice, "load", lambda *_: FakeEngine(multiple=8))
    classifier = load(folder, max_length=300)
    assert classifier.max_length == longest
    assert len(classifier.tokenize(["글 " * 4_000])[0].tokens) == longest


def test_labels_in_another_order_are_brought_into_ours(tiny_model: Path, tmp_path: Path) -> None:
    folder = copied(tiny_model, tmp_path)
    turned = dict(enumerate(reversed(EMOTIONS)))
    change(folder, lambda config: config.update(id2label=turned))
    ours, theirs = load(tiny_model), load(folder)
    rows = [each.tokens for each in ours.tokenize(["오늘 진짜 너무 좋다"])]
    expected = ours.run(ours.prepare(rows))[:, ::-1]
    assert np.allclose(theirs.run(theirs.prepare(rows)), expected)


# Refusals


def copied(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    edit(config)
    path.write_text(json.dumps(config), encoding="utf-8")


def other_labels(folder: Path) -> None:
    change(folder, lambda config: config["id2label"].update({"5": "joy"}))


def five_labels(folder: Path) -> None:
    change(folder, lambda config: config["id2label"].pop("5"))


def shifted_labels(folder: Path) -> None:
    change(folder, lambda config: config["id2label"].update({"6": config["id2label"].pop("0")}))


def no_labels(folder: Path) -> None:
    change(folder, lambda config: config.pop("id2label"))


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def remote_code(folder: Path) -> None:
    change(folder, lambda config: config.update(auto_map={"AutoModel": "model.Model"}))


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")


def config_is_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]", encoding="utf-8")


def no_classifier(folder: Path) -> None:
    change(folder, lambda config: config.update(architectures=["RobertaForMaskedLM"]))


def too_small_a_vocabulary(folder: Path) -> None:
    change(folder, lambda config: config.update(vocab_size=10))


def several_labels_at_once(folder: Path) -> None:
    change(folder, lambda config: config.update(problem_type="multi_label_classification"))


def no_special_tokens(folder: Path) -> None:
    made = tiny.tokenizer()
    made.post_processor = None
    made.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (other_labels, "the labels are .*joy; expected 분노"),
        (five_labels, "the labels are .*; expected 분노"),
        (shifted_labels, "the labels are numbered 1, 2, 3, 4, 5, 6; expected 0 to 5"),
        (no_labels, "expected 분노"),
        (no_tokenizer, "has no tokenizer"),
        (broken_tokenizer, "cannot be read"),
        (pickled_weights, "only pickled weights .*refused"),
        (no_weights, "has no weights"),
        (remote_code, "auto_map.*refused"),
        (no_config, r"holds no config\.json"),
        (broken_config, "cannot be read"),
        (config_is_a_list, "is no JSON object"),
        (no_classifier, "no sequence classifier: its config names RobertaForMaskedLM"),
        (too_small_a_vocabulary, "do not belong together"),
        (several_labels_at_once, "made for multi_label_classification .*one emotion"),
        (no_special_tokens, "adds no special tokens"),
    ],
)
def test_a_model_that_cannot_serve_is_refused_in_one_line(
    tiny_model: Path, tmp_path: Path, spoil: Callable[[Path], None], line: str
) -> None:
    folder = copied(tiny_model, tmp_path)
    spoil(folder)
    with pytest.raises(ModelError, match=line) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_weights_without_the_classifier_head_are_refused_not_made_up(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "headless"
    shutil.copytree(tiny_model, folder)
    weights = load_file(folder / "model.safetensors")
    body = {name: tensor for name, tensor in weights.items() if "classifier" not in name}
    save_file(body, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match="not complete"):
        load(folder)
