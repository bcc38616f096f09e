"""What is measured of a model, and of what it is used on."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from schemas.emotion import EMOTIONS
from trainer import compare, dataset, drift, evaluate, predict, scores, slices, tables
from trainer.compare import Contender
from trainer.scores import Floats
from trainer.settings import TrainerSettings
from trainer.tables import DataError
from worker.classifier import Tokenized

from .commands import command
from .conftest import GOLDEN_FILLER, chat, tsv


def test_an_evaluation_can_be_read_back_and_agrees_with_its_predictions(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings
) -> None:
    numbers = evaluate.evaluate(tiny_model, options.golden, tmp_path, options)
    found, measured = evaluate.read(tmp_path)
    exact = scores.score(measured.labels, measured.probabilities.argmax(axis=1))
    assert found.items == len(measured.labels) == 120
    assert found.intervals["macro_f1"][0] == pytest.approx(exact.macro_f1)
    assert found.intervals["macro_f1"][1] <= exact.macro_f1 <= found.intervals["macro_f1"][2]
    assert numbers["accuracy"] == pytest.approx(exact.accuracy)
    assert sum(map(sum, found.confusion)) == 120
    assert found.table == exact.table()
    assert found.intervals["weighted_f1"][0] == pytest.approx(exact.weighted_f1)
    for place, emotion in enumerate(EMOTIONS):
        for name in ("precision", "recall"):
            assert found.classes[name][emotion][0] == getattr(exact.classes[place], name)
    others = [found.ece, found.brier, *found.intervals.values()]
    others += [each for one in found.classes.values() for each in one.values()]
    others += [each for one in found.slices for each in (one.accuracy, one.macro_f1)]
    assert all(low <= value <= high for value, low, high in others)
    assert any(low < high for _, low, high in others)
    assert numbers["ece"] == found.ece[0]


def test_a_golden_set_that_is_too_small_is_one_line(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings
) -> None:
    small = tsv(tmp_path / "small.tsv", chat(60, 3, "g", GOLDEN_FILLER))
    with pytest.raises(DataError, match=r"분노 10, .*at least 20 of each"):
        evaluate.evaluate(tiny_model, small, tmp_path, options)


def test_the_command_measures_a_folder_prints_the_table_and_keeps_what_it_found(
    tiny_model: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(options, monkeypatch, "evaluate", str(tiny_model)) == 0
    (folder,) = (options.work / "evaluate").glob("[!.]*")
    names = {"stage.json", evaluate.EVALUATION, evaluate.PREDICTIONS}
    assert {each.name for each in folder.iterdir()} == names
    said = capsys.readouterr()
    found, measured = evaluate.read(folder)
    assert said.out.endswith(f"{found.table}\n")
    assert all(f"| {name} |" in said.out for name in EMOTIONS)
    assert "evaluate: 100%" in said.err
    predictions = tables.read(folder / evaluate.PREDICTIONS)
    golden = dataset.read_golden(options.golden)
    assert [row["id"] for row in predictions] == [row.id for row in golden]
    assert measured.probabilities.sum(axis=1) == pytest.approx(np.ones(120), abs=1e-5)
    assert command(options, monkeypatch, "evaluate", str(tiny_model)) == 0
    again = capsys.readouterr()
    assert "evaluate: unchanged, skipped" in again.out
    assert again.out.endswith(f"{found.table}\n")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("id\temotion\n1\t기쁨\n", "has no column text"),
        ("id\ttext\n1\t글\n", "has no column emotion (it has id, text)"),
        ("id\temotion\ttext\n1\t설렘\t글\n", "has unknown labels: '설렘'; the six are 분노"),
        ("id\temotion\ttext\n1\t기쁨\n", "line 2 has not as many fields as the top"),
    ],
)
def test_a_golden_file_that_makes_no_sense_is_one_line_and_exit_code_1(
    tmp_path: Path,
    tiny_model: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    content: str,
    complaint: str,
) -> None:
    golden = tmp_path / "other.tsv"
    golden.write_text(content)
    other = options.model_copy(update={"golden": golden})
    assert command(other, monkeypatch, "evaluate", str(tiny_model)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trainer: {golden}")
    assert complaint in line
    assert not list(options.work.glob("evaluate/[!.]*"))


def test_a_model_that_is_not_there_is_a_wrong_argument_and_one_that_is_none_a_failure(
    tmp_path: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(options, monkeypatch, "evaluate", str(tmp_path / "none")) == 2
    assert capsys.readouterr().err == f"trainer: {tmp_path / 'none'} is no folder\n"
    (tmp_path / "empty").mkdir()
    assert command(options, monkeypatch, "evaluate", str(tmp_path / "empty")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.json" in line


def test_no_evaluation_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no evaluation"):
        evaluate.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("네", "length", "short (to 8)"),
        ("가" * 60, "length", "long (60 and more)"),
        ("오늘 회의 몇 시였지", "length", "middle"),
        ("웃겨 ㅋㅋ", "jamo", "yes"),
        ("웃겨", "jamo", "no"),
        ("좋아 😊", "emoji", "yes"),
        ("좋아!", "emoji", "no"),
    ],
)
def test_a_text_falls_into_its_slices(text: str, name: str, value: str) -> None:
    assert slices.of_text({"text": text})[name] == value


def test_register_and_tags_are_slices_where_the_set_has_them() -> None:
    found = slices.of_text({"text": "글", "register": "반말", "tags": "irony,short"})
    assert (found["register"], found["tag irony"], found["tag short"]) == ("반말", "yes", "yes")
    assert [slices.of_margin(each) for each in (0.1, 0.2, 0.5)] == [
        "under 0.2",
        "0.2 to 0.5",
        "0.5 and more",
    ]


def test_a_slice_is_scored_on_its_own_items() -> None:
    rows = [{"text": "네"}, {"text": "아니"}, {"text": "가" * 70}]
    labels = np.array([0, 1, 2])
    right_on_short = np.eye(6)[[0, 1, 5]]
    measured, weights = evaluate.Measured(labels, right_on_short), scores.resample(labels, 50, 1)
    found = evaluate.sliced(measured, rows, weights)
    by_length = {each.value: each for each in found if each.name == "length"}
    short = by_length["short (to 8)"]
    assert short.accuracy == short.macro_f1 == (1.0, 1.0, 1.0)
    assert by_length["long (60 and more)"].accuracy == (0.0, 0.0, 0.0)


def test_drift_tells_other_texts_from_the_same() -> None:
    trained = [row.text for row in chat(300, 1)]
    same = [row.text for row in chat(300, 2)]
    other = [row.text for row in chat(300, 3, filler=GOLDEN_FILLER)]
    alike, apart = (drift.text_auc(trained, side, 200, seed=1) for side in (same, other))
    assert alike.value < 0.65
    assert apart.value > 0.9
    assert alike.low < alike.value < alike.high < apart.low <= apart.value <= apart.high
    with pytest.raises(ValueError, match="at least 3 texts"):
        drift.text_auc(trained, other[:1], 200, seed=1)


def test_the_area_under_the_curve_is_what_scikit_learn_says_of_each_draw() -> None:
    """With ties, and with texts that are drawn never or several times."""
    draws = np.random.default_rng(4)
    truth = draws.integers(0, 2, 60)
    said = (truth + draws.normal(0, 1, 60)).round(1)
    weights = scores.resample(truth, 20, seed=3)
    expected = [roc_auc_score(truth, said, sample_weight=each) for each in weights]
    assert drift.auc(truth, said, weights) == pytest.approx(expected)


def test_class_divergence_is_nought_for_the_same_and_one_for_the_disjoint() -> None:
    first = np.array([0.5, 0, 0, 0, 0, 0.5])
    others = np.array([first, [0, 0, 1.0, 0, 0, 0], [0.9, 0, 0, 0, 0, 0.1]])
    same, disjoint, skewed = drift.class_divergence(first, others)
    assert same == 0.0
    assert disjoint == pytest.approx(1.0)
    assert 0 < skewed < 0.5


class Clock:
    """Seconds that pass only while a model works, and while something else holds it up."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A classifier that takes so many seconds a text; each other batch, it is held up."""

    def __init__(self, clock: Clock, device: str, seconds: float) -> None:
        self.engine = SimpleNamespace(name=f"fake-{device}", multiple=1)
        self.clock = clock
        self.seconds = seconds
        self.batches = 0

    def tokenize(self, texts: Sequence[str]) -> list[Tokenized]:
        return [Tokenized((place, 1), truncated=False) for place, _ in enumerate(texts)]

    def prepare(self, rows: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        return rows

    def run(self, rows: list[tuple[int, ...]]) -> Floats:
        self.clock.now += len(rows) * self.seconds * (1 + self.batches % 2)
        self.batches += 1
        return np.full((len(rows), 6), 1 / 6)


@pytest.mark.parametrize(("device", "clock"), [("cpu", "process_time"), ("cuda", "perf_counter")])
@pytest.mark.parametrize(("slower", "passes"), [(1.0, True), (1.2, True), (1.3, False)])
def test_a_slower_student_falls_below_the_floor_whatever_else_the_machine_does(
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    *,
    device: str,
    clock: str,
    slower: float,
    passes: bool,
) -> None:
    """By the clock that its device goes by; the best of the turns counts."""
    time = Clock()
    monkeypatch.setattr(evaluate, "TIMED_SECONDS", 0.0)
    monkeypatch.setattr(evaluate, clock, time)
    seconds = {"champion": 0.01, "student": 0.01 * slower}
    loaded = {Path(name): (Slow(time, device, each), 10_000) for name, each in seconds.items()}
    monkeypatch.setattr(predict, "load", lambda folder, *_: loaded[folder])
    texts = [row.text for row in chat(120, 1)]
    champion, student = evaluate.speeds(list(loaded), texts, options)
    assert champion == pytest.approx(100.0)
    assert student == pytest.approx(100.0 / slower)
    labels = np.arange(120) % 6
    answers = np.eye(6)[labels]
    found = compare.compare(
        labels, Contender(answers, champion), Contender(answers, student), resamples=100
    )
    assert any("speed is" in reason for reason in found.reasons) == (not passes)
    assert (found.verdict == "reject") == (not passes)
