"""What is timed on a GPU: each side its own texts, none of them twice."""

import pytest

from bench import classify, gpu_peers
from bench.classify import CannotRunError
from bench.gpu_peers import Timed


def test_no_text_comes_twice_since_equal_ones_are_inferred_once() -> None:
    made = gpu_peers.distinct(["안녕", "안녕", "뭐해"], 200)
    assert len(set(made)) == len(made) == 200
    assert {text.rpartition(" ")[0] for text in made} == {"안녕", "뭐해"}


def test_a_side_is_rated_by_its_own_number_of_texts_and_not_by_its_first_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, runs = [0.0], {"slow": 0, "quick": 0}
    monkeypatch.setattr(classify, "perf_counter", lambda: clock[0])

    def side(name: str, seconds: float) -> None:
        runs[name] += 1
        clock[0] += 100.0 if runs[name] == 1 else seconds

    sides = {
        "slow": Timed(lambda: side("slow", 2.0), 10),
        "quick": Timed(lambda: side("quick", 1.0), 1000),
    }
    assert gpu_peers.measure(sides, 3) == {"slow": [5.0] * 3, "quick": [1000.0] * 3}


def test_without_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(CannotRunError, match="gpu_peers: torch sees no CUDA device here"):
        gpu_peers.run(["안녕"], 1)
