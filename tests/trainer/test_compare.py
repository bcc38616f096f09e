"""The gate lets chance through one time in twenty at most, and a real gain nine in ten."""

from pathlib import Path

import numpy as np
import pytest

from schemas.emotion import EMOTIONS
from trainer import compare, evaluate, promote
from trainer.compare import Contender, Floors
from trainer.gate import COMPARISON
from trainer.registry import Registry
from trainer.scores import Labels
from trainer.settings import TrainerSettings

from .commands import Listening, command
from .conftest import chat, tsv

ITEMS = 600
PAIRS = 200


def pair(draws: np.random.Generator, gain: float, discordance: float) -> compare.Comparison:
    """Two models that disagree on `discordance` of the items; the second is right more often."""
    labels = np.repeat(np.arange(6), ITEMS // 6)
    old = answer(draws, labels, draws.random(ITEMS) < 0.75)
    lucky = draws.random(ITEMS)
    lose = (discordance - gain) / 2
    right = old == labels
    new = old.copy()
    flips = right & (lucky < lose / 0.75)
    new[flips] = (labels[flips] + draws.integers(1, 6, flips.sum())) % 6
    mended = ~right & (lucky < (lose + gain) / 0.25)
    new[mended] = labels[mended]
    return judge(labels, old, new)


def answer(draws: np.random.Generator, labels: Labels, right: np.ndarray) -> Labels:
    wrong = (labels + draws.integers(1, 6, len(labels))) % 6
    return np.where(right, labels, wrong).astype(np.int64)


def judge(labels: Labels, old: Labels, new: Labels, speed: float = 1.0) -> compare.Comparison:
    return compare.compare(
        labels,
        Contender(compare.as_probabilities(old), 100.0),
        Contender(compare.as_probabilities(new), 100.0 * speed),
        Floors(max_calibration_drop=1.0),
        resamples=300,
    )


@pytest.mark.parametrize("discordance", [0.08, 0.15, 0.30])
def test_of_200_pairs_of_equal_models_it_promotes_5_percent_at_most(discordance: float) -> None:
    draws = np.random.default_rng(21)
    promoted = sum(pair(draws, 0.0, discordance).verdict == "promote" for _ in range(PAIRS))
    assert promoted <= 0.05 * PAIRS


@pytest.mark.parametrize("discordance", [0.08, 0.11])
def test_of_200_pairs_5_points_apart_it_promotes_90_percent(discordance: float) -> None:
    draws = np.random.default_rng(22)
    promoted = sum(pair(draws, 0.05, discordance).verdict == "promote" for _ in range(PAIRS))
    assert promoted >= 0.90 * PAIRS


def test_the_same_model_is_no_evidence() -> None:
    labels = np.repeat(np.arange(6), 50)
    found = judge(labels, labels, labels)
    assert found.verdict == "insufficient evidence"
    assert (found.mcnemar_p, found.macro_f1.value, found.detectable) == (1.0, 0.0, 0.0)


def test_a_worse_model_is_rejected() -> None:
    draws = np.random.default_rng(1)
    labels = np.repeat(np.arange(6), 100)
    found = judge(labels, labels, answer(draws, labels, draws.random(600) < 0.8))
    assert found.verdict == "reject"
    assert found.only_challenger_right == 0
    assert found.mcnemar_p < 0.001


def test_a_better_model_that_ruins_one_class_is_rejected_and_the_class_named() -> None:
    draws = np.random.default_rng(2)
    labels = np.repeat(np.arange(6), 100)
    old = answer(draws, labels, draws.random(600) < 0.6)
    new = labels.copy()
    new[labels == 4] = 0
    old[labels == 4] = 4
    found = judge(labels, old, new)
    assert found.macro_f1.low > 0
    assert found.verdict == "reject"
    assert any(EMOTIONS[4] in reason for reason in found.reasons)


def test_a_better_model_that_is_too_slow_is_rejected() -> None:
    draws = np.random.default_rng(3)
    labels = np.repeat(np.arange(6), 100)
    old = answer(draws, labels, draws.random(600) < 0.6)
    found = judge(labels, old, labels, speed=0.5)
    assert found.verdict == "reject"
    assert "speed is 0.50" in compare.describe(found)
    assert judge(labels, old, labels).verdict == "promote"


def test_a_better_model_that_is_sure_without_reason_is_rejected() -> None:
    draws = np.random.default_rng(4)
    labels = np.repeat(np.arange(6), 100)
    old = answer(draws, labels, draws.random(600) < 0.6)
    new = answer(draws, labels, draws.random(600) < 0.75)
    humble = 0.6 * compare.as_probabilities(old) + 0.4 / 6  # as sure as it is right
    sure = Contender(compare.as_probabilities(new), 1.0)
    found = compare.compare(labels, Contender(humble, 1.0), sure)
    assert found.macro_f1.low > 0
    assert found.verdict == "reject"
    assert any("overconfidence grows" in reason for reason in found.reasons)


def test_a_better_model_that_doubts_itself_is_promoted() -> None:
    draws = np.random.default_rng(5)
    labels = np.repeat(np.arange(6), 100)
    old = answer(draws, labels, draws.random(600) < 0.4)
    doubtful = Contender(0.5 * compare.as_probabilities(labels) + 0.5 / 6, 1.0)
    found = compare.compare(labels, Contender(compare.as_probabilities(old), 1.0), doubtful)
    assert found.verdict == "promote"
    assert found.overconfidence < 0


def test_600_items_detect_about_three_points_at_8_percent_discordance() -> None:
    found = pair(np.random.default_rng(6), 0.0, 0.08)
    assert 0.02 < found.detectable < 0.045


@pytest.fixture
def champion(tmp_path: Path, tiny_model: Path, options: TrainerSettings) -> TrainerSettings:
    """Settings of a run on files, with a model that knows nothing as the champion."""
    stated = promote.state(tiny_model, options, made_at="2026-11-24T04:00:00.000Z", metrics={})
    promote.promote(tiny_model, stated, options, expected=None)
    changes = {"min_speed": 0.0, "max_calibration_drop": 1.0, "max_class_drop": 1.0}
    unlabelled = tsv(tmp_path / "unlabelled.tsv", chat(60, 5, "u"))
    return options.model_copy(update={"unlabelled": unlabelled, **changes})


def test_compare_asks_promote_acts_and_rollback_undoes_it(
    champion: TrainerSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The three commands in a row, on files; each says what it did, and tells Kafka if it did."""
    monkeypatch.setattr(evaluate, "TIMED_SECONDS", 0.0)
    kafka, store = Listening(monkeypatch), Registry(champion.registry, champion.name)
    first = store.alias("champion")
    assert command(champion, monkeypatch, "compare") == 0
    said = capsys.readouterr()
    (folder,) = (champion.work / "compare").glob("[!.]*")
    found = compare.read(folder / COMPARISON)
    assert found.verdict == "promote"
    assert said.out.endswith(f"{compare.describe(found)}\n")
    for bar in ("pseudo-label: 100%", "select: 100%", "evaluate: 100%", "compare: 100%"):
        assert bar in said.err
    assert (store.alias("champion"), kafka.told) == (first, [])

    assert command(champion, monkeypatch, "promote") == 0
    said = capsys.readouterr()
    second = store.alias("champion")
    assert first is not None
    assert second is not None
    assert second.previous_version == first.version
    assert f"promote: champion is {second.version} now" in said.out
    assert "promote: 100%" in said.err
    assert kafka.told == [("emotion.models", b"maum", second)]

    assert command(champion, monkeypatch, "rollback") == 0
    third = store.alias("champion")
    assert third is not None
    assert third.version == first.version
    assert kafka.told[1:] == [("emotion.models", b"maum", third)]


def test_without_a_champion_compare_says_so(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(options, monkeypatch, "compare") == 0
    assert capsys.readouterr().out == "there is no champion to compare with yet\n"


@pytest.mark.parametrize(
    ("setting", "content", "complaint"),
    [
        ("golden", "text\temotion\n글\t설렘\n", "has unknown labels: '설렘'"),
        ("labelled", "text\n글\n", "has no column emotion"),
    ],
)
def test_files_that_make_no_sense_are_one_line_and_exit_code_1(
    tmp_path: Path,
    champion: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    setting: str,
    content: str,
    complaint: str,
) -> None:
    path = tmp_path / "other.tsv"
    path.write_text(content)
    capsys.readouterr()
    other = champion.model_copy(update={setting: path})
    assert command(other, monkeypatch, "compare") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trainer: {path}")
    assert complaint in line
