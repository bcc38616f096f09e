"""Pretraining is repeatable, wastes little, and masks what the paper says."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import batches, pretrain, words
from models.scale import Schedule, Shape
from models.words import CLS, LONGEST, MASK, PAD, SEP, SPECIAL, Ids

SMALL = Shape(layers=1, width=64)

ORDINARY = len(SPECIAL)
TEXTS = [
    f"오늘 {word} {place}번 {other}"
    for place, word in enumerate(["밥", "비", "길"] * 40)
    for other in ("왔다", "좋아")
]


def row(length: int, first: int = ORDINARY) -> Ids:
    middle = np.arange(first, first + length - 2, dtype=np.int64)
    return np.concatenate([[CLS], middle, [SEP]])


@given(lengths=st.lists(st.integers(3, 60), min_size=1, max_size=200), budget=st.integers(64, 512))
def test_no_batch_is_over_its_budget_and_every_text_is_in_one(
    lengths: list[int], budget: int
) -> None:
    rows = [row(length) for length in lengths]
    ready = list(batches.packed(sorted(rows, key=len), budget))
    assert all(batch.size <= budget for batch in ready)
    assert sum(int((batch == CLS).sum()) for batch in ready) == len(rows)


def test_batches_of_one_seed_are_the_same_and_of_another_are_not() -> None:
    rows = [row(3 + place % 20) for place in range(300)]

    def some(seed: int) -> list[bytes]:
        return [each.tobytes() for each in islice(batches.batches(rows, Schedule(seed=seed)), 8)]

    assert some(1) == some(1)
    assert some(1) != some(2)


def test_texts_are_joined_into_rows_of_every_position() -> None:
    rows = [row(30) for _ in range(batches.WINDOW)]
    longest = max(batch.shape[1] for batch in islice(batches.batches(rows, Schedule()), 60))
    assert longest == LONGEST


def test_of_the_masked_four_in_five_are_hidden_and_one_in_ten_is_another() -> None:
    batch = np.stack([row(102, first=1000)] * 100)
    seen, places, wanted = batches.mask(batch, Schedule(), step=3)
    assert len(places) == int(0.15 * 100 * 100)
    flat = seen.reshape(-1)[places]
    assert (wanted == batch.reshape(-1)[places]).all()
    assert abs((flat == MASK).mean() - 0.8) < 0.04
    assert abs((flat == wanted).mean() - 0.1) < 0.03
    untouched = np.setdiff1d(np.arange(batch.size), places)
    assert (seen.reshape(-1)[untouched] == batch.reshape(-1)[untouched]).all()


def test_special_tokens_and_padding_are_never_masked() -> None:
    batch = np.array([[CLS, 9, SEP, PAD, PAD, PAD]])
    _, places, wanted = batches.mask(batch, Schedule(masked=1.0), step=0)
    assert places.tolist() == [1]
    assert wanted.tolist() == [9]


def test_a_killed_pretraining_goes_on_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "CHECKPOINT_STEPS", 3)
    tokenizer = words.vocabulary(TEXTS, tmp_path / "tokenizer.json")
    rows = words.tokens(tokenizer, TEXTS)
    start = np.zeros((words.VOCABULARY, 64), dtype=np.float32)
    schedule = Schedule(steps=6, tokens=256)

    class KilledError(Exception):
        pass

    def train(folder: Path, kill_at: int | None = None) -> dict[str, torch.Tensor]:
        folder.mkdir(exist_ok=True)

        def kill(_: str) -> None:
            raise KilledError

        monkey = pytest.MonkeyPatch()
        if kill_at is not None:
            whole = batches.mask

            def killing(batch: Ids, given: Schedule, step: int) -> tuple[Ids, Ids, Ids]:
                if step == kill_at:
                    kill("")
                return whole(batch, given, step)

            monkey.setattr(batches, "mask", killing)
        try:
            model = pretrain.fresh(SMALL, 7, start)
            pretrain.masked_language(model, rows, folder, schedule, lambda _: None)
            return dict(model.state_dict())
        finally:
            monkey.undo()

    undisturbed = train(tmp_path / "whole")
    with pytest.raises(KilledError):
        train(tmp_path / "killed", kill_at=4)
    resumed = train(tmp_path / "killed")
    assert all(torch.equal(undisturbed[name], each) for name, each in resumed.items())


def test_what_is_saved_loads_as_any_hugging_face_model(tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer  # noqa: PLC0415  (takes seconds)

    tokenizer = words.vocabulary(TEXTS, tmp_path / "tokenizer.json")
    start = np.zeros((words.VOCABULARY, 64), dtype=np.float32)
    rows = words.tokens(tokenizer, TEXTS)
    model = pretrain.fresh(SMALL, 7, start)
    pretrain.masked_language(model, rows, tmp_path, Schedule(1, 128), lambda _: None)
    pretrain.save(model, tokenizer, tmp_path / "model")
    read = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert read("오늘 밥")["input_ids"] == tokenizer.encode("오늘 밥").ids
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "model").config.pad_token_id == PAD
