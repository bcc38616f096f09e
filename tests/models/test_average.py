"""Half way between two models of one shape."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from models.average import WEIGHTS, average


def model(folder: Path, value: float) -> Path:
    folder.mkdir()
    save_file({"a": np.full(3, value, dtype=np.float32)}, folder / WEIGHTS)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def test_every_weight_is_the_mean_and_the_rest_of_the_folder_comes_along(tmp_path: Path) -> None:
    before, after = model(tmp_path / "before", 1.0), model(tmp_path / "after", 4.0)
    average(before, after, tmp_path / "mean")
    assert load_file(tmp_path / "mean" / WEIGHTS)["a"].tolist() == [2.5] * 3
    assert (tmp_path / "mean" / "config.json").exists()
    assert load_file(after / WEIGHTS)["a"].tolist() == [4.0] * 3  # a finished stage stays as it is


def test_one_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    before, after = model(tmp_path / "before", 1.0), model(tmp_path / "after", 4.0)
    for _ in range(2):
        average(before, after, tmp_path / "mean")
    assert load_file(tmp_path / "mean" / WEIGHTS)["a"].tolist() == [2.5] * 3
