"""What is said of the arms."""

import numpy as np

from models import figures
from trainer.dataset import Labelled
from trainer.settings import TrainerSettings


def test_pseudo_labels_get_the_credit_of_no_arm_that_differs_by_more_than_them() -> None:
    rows = [Labelled(f"{number}", "글", "기쁨") for number in range(12)]
    said = dict.fromkeys(("none", "soft", "settled", "read", "cut"), np.full((12, 6), 1 / 6))
    options = TrainerSettings(_env_file=None, resamples=100)
    assert [arm for arm, _ in figures.gains(said, rows, options)] == ["soft"]
    assert list(figures.gains({"soft": said["soft"]}, rows, options)) == []
