"""The whole story, on small models: it promotes what is better, and a kill changes nothing."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import broker
from schemas.promotion import ModelPromotion
from trainer import __main__ as program
from trainer import collect, evaluate, facts, history, promote, report, review, stage
from trainer.collect import Waiting
from trainer.dataset import DataError, Labelled
from trainer.gate import Outcome
from trainer.leakage import LeakageError
from trainer.recipe import Recipe
from trainer.settings import TrainerSettings
from trainer.sources import Sources
from worker import registry as workers

from .conftest import GOLDEN_FILLER, WORDS, chat, tsv
from .test_collect import Topic, sample

ROOT = Path(__file__).resolve().parents[2]

KILLED = """
import os, signal, sys
from trainer import __main__ as program
from trainer import checkpoint

mark = checkpoint.MarkWhole.on_save

def killing(self, args, *given, **named):
    mark(self, args, *given, **named)
    if f"/{sys.argv[1]}/" in args.output_dir:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.MarkWhole.on_save = killing
program.main(["run", "--no-collect"])
"""


@pytest.fixture
def given(tmp_path: Path, options: TrainerSettings) -> TrainerSettings:
    """Settings of a run on files alone, without the ablation."""
    unlabelled = tsv(tmp_path / "unlabelled.tsv", chat(120, 5, "u"))
    changes = {"unlabelled": unlabelled, "announce": False, "ablation": False, "epochs": 2}
    return options.model_copy(update=changes)


def run(options: TrainerSettings, said: list[str] | None = None) -> Outcome:
    lines: list[str] = [] if said is None else said
    found = Recipe(options, lines.append, {}).run(collecting=False, promoting=True)
    assert isinstance(found, Outcome)
    return found


def environment(options: TrainerSettings) -> dict[str, str]:
    """The settings for another process."""
    stated = options.model_dump(mode="json", exclude_none=True)
    return os.environ | {f"TRAINER_{name.upper()}": str(each) for name, each in stated.items()}


def test_a_run_promotes_the_first_student_and_the_worker_finds_it(given: TrainerSettings) -> None:
    said: list[str] = []
    outcome = run(given, said)
    assert outcome.promotion is not None
    found = workers.resolve(f"registry:{given.registry}#champion")
    assert found.model.version == outcome.promotion.version
    stages = [line.partition(":")[0] for line in said]
    assert stages == [
        "teach",
        "pseudo-label",
        "select",
        "finetune (seed)",
        "publish",
        "evaluate",
        "promote",
        "report",
    ]
    again: list[str] = []
    run(given, again)
    assert all("unchanged" in line for line in again if "→" in line)


def test_a_run_killed_at_every_boundary_ends_as_an_undisturbed_one(
    tmp_path: Path, given: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each stage, after the alias was moved, after the facts were kept and after the run was
    remembered: twice round, so that there is a champion the second time.
    """

    class Killed(BaseException):
        """Stands for SIGKILL at a boundary: what is on the disk is all that is left."""

    class Killing:
        """Does what it stands for, and is killed after it, once for each thing done."""

        def __init__(self, does: Callable[..., Any]) -> None:
            self.does = does
            self.seen: set[str] = set()
            self.kills = 0

        def __call__(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401
            done = self.does(*args, **named)
            what = str(done.folder) if isinstance(done, stage.Done) else str(args[0:1])
            skipped = isinstance(done, stage.Done) and done.skipped
            if not skipped and what not in self.seen:
                self.seen.add(what)
                self.kills += 1
                raise Killed
            return done

    places = [(stage, "run"), (promote, "promote"), (facts, "write"), (history, "add")]
    other = {"work": tmp_path / "other", "registry": str(tmp_path / "r2")}
    later = {"seed": 8, "epochs": 6}  # a better one
    monkeypatch.setattr(evaluate, "TIMED_SECONDS", 0.0)
    verdicts = []
    for changes, expected in (({}, [6, 1, 1, 1]), (later, [8, 1, 1, 1])):
        options = given.model_copy(update=changes | {"min_speed": 0.0})
        disturbed: Outcome | None = None
        with monkeypatch.context() as patch:
            killing = [Killing(getattr(module, name)) for module, name in places]
            for (module, name), each in zip(places, killing, strict=True):
                patch.setattr(module, name, each)
            while disturbed is None:
                try:
                    disturbed = run(options)
                except Killed:
                    assert sum(each.kills for each in killing) < 20
        undisturbed = run(options.model_copy(update=other))
        assert [each.kills for each in killing] == expected
        weights = [
            stage.fingerprint_of(each.student.folder / "model/model.safetensors")
            for each in (disturbed, undisturbed)
        ]
        assert weights[0] == weights[1]
        assert disturbed.verdict == undisturbed.verdict == "promote"
        verdicts.append([each.comparison for each in (disturbed, undisturbed)])
    assert verdicts[0] == [None, None]
    assert verdicts[1][0] is not None
    assert verdicts[1][1] is not None
    assert verdicts[1][0].macro_f1 == verdicts[1][1].macro_f1
    assert len(history.read(given.work)) == 2


@pytest.mark.timeout(1200)  # two and a half runs: minutes where the machine is busy
@pytest.mark.parametrize("fit", ["teach", "finetune"])
def test_a_run_killed_with_9_in_a_fit_goes_on_with_the_same_command(
    tmp_path: Path, given: TrainerSettings, fit: str
) -> None:
    done = subprocess.run(  # kills and reaps it where it takes too long
        [sys.executable, "-c", KILLED, fit],
        cwd=ROOT,
        env=environment(given),
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(given.work.glob(f"{fit}/.partial-*/checkpoints/*/whole"))
    finished = {path: path.stat().st_mtime_ns for path in given.work.glob("*/[!.]*/stage.json")}
    resumed = run(given)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(finished) == (0 if fit == "teach" else 3)
    other = {"work": tmp_path / "other", "registry": str(tmp_path / "r2")}
    undisturbed = run(given.model_copy(update=other))
    outputs = [each.student.manifest.outputs for each in (resumed, undisturbed)]
    assert outputs[0]["model/model.safetensors"] == outputs[1]["model/model.safetensors"]
    numbers = [each.student.manifest.numbers for each in (resumed, undisturbed)]
    assert numbers[0] == numbers[1]


def test_a_student_no_better_than_the_champion_is_not_promoted(
    given: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "TIMED_SECONDS", 0.0)
    first = run(given)
    assert first.promotion is not None
    other = given.model_copy(update={"seed": 8})
    second = run(other)
    assert second.comparison is not None
    assert (second.promotion is None) == (second.comparison.verdict != "promote")
    standing = workers.read_alias(f"registry:{given.registry}#champion")
    expected = second.promotion or first.promotion
    assert standing.version == expected.version
    assert [each.verdict for each in history.read(given.work)] == ["promote", second.verdict]


def test_golden_texts_in_the_labelled_file_stop_the_run_and_nothing_is_promoted(
    given: TrainerSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = chat(120, 99, "g", GOLDEN_FILLER)
    tsv(given.labelled, [*chat(240, 1), Labelled("leak", golden[3].text, "기쁨")])
    with pytest.raises(LeakageError, match="leak ~ g3"):
        run(given)
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert program.main(["run", "--no-collect"]) == 1
    assert "leak ~ g3 (1.00)" in capsys.readouterr().err
    assert not Path(given.registry).exists()


def test_golden_texts_in_a_stream_are_left_out(tmp_path: Path, given: TrainerSettings) -> None:
    golden = chat(120, 99, "g", GOLDEN_FILLER)
    rows = [*chat(6, 5, "u"), Labelled("same", golden[0].text, "기쁨")]
    options = given.model_copy(update={"unlabelled": tsv(tmp_path / "few.tsv", rows)})
    texts = Sources(options).texts()
    assert {each.id for each in texts} == {f"u{number}" for number in range(6)}


def test_what_a_reviewer_says_wins_over_the_file(given: TrainerSettings) -> None:
    rows = chat(240, 1)
    review.add(given.work, Labelled("chat-0-1", rows[0].text, "당황"))
    found = {row.text: row.emotion for row in Sources(given).labelled}
    assert found[rows[0].text] == "당황"
    assert len(found) == 240


def test_nothing_to_label_is_one_line(options: TrainerSettings) -> None:
    with pytest.raises(DataError, match="nothing to pseudo-label"):
        Sources(options).texts()


def test_no_report_before_a_run(
    options: TrainerSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(options).items():
        monkeypatch.setenv(name, value)
    assert program.main(["report"]) == 1
    assert "no run has finished" in capsys.readouterr().err


def test_two_trainers_in_one_folder_are_one_too_many(
    options: TrainerSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(options).items():
        monkeypatch.setenv(name, value)
    with stage.alone(options.work):
        assert program.main(["teach"]) == 1
    assert "another trainer is at work" in capsys.readouterr().err


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    with broker.running() as bootstrap_servers:
        yield bootstrap_servers


@pytest.mark.kafka
def test_from_the_review_topic_to_the_announcement(servers: str, options: TrainerSettings) -> None:
    """With the ablation, both kinds of selection and a report, as the scheduler calls it."""
    topic = Topic(servers, options.model_copy(update={"selection": "calibrated", "epochs": 2}))
    topic.create()
    rows = chat(60, 5, "s")
    topic.send([sample(n, text=row.text, low=n % 2 == 0) for n, row in enumerate(rows)])
    said: list[str] = []
    working = Recipe(topic.options, said.append, topic.connection)
    outcome = working.run(collecting=True, promoting=True)
    assert isinstance(outcome, Outcome)
    assert outcome.promotion is not None
    announced = topic.options.model_copy(update={"review_topic": topic.options.models_topic})
    (record,) = asyncio.run(collect._read_all(topic.connection, announced, {0: (0, 1)}))
    assert ModelPromotion.model_validate_json(record.value) == outcome.promotion
    folder = report.render_last(topic.options.work)
    page = (folder / report.HTML).read_text()
    for part in (*WORDS, "verdict: promote", "Ablation", "calibrated", "@font-face", "<svg"):
        assert part in page
    assert not any(mark in page for mark in ("http://fonts", "https://", "<script", " src="))
    assert rows[0].text not in page
    kept = facts.read(folder)
    assert set(kept.ablation) == {"none", "seed", "calibrated"}
    assert kept.production is not None
    assert kept.production.samples == 60
    assert "offsets 0: 0 to" in (folder / report.MARKDOWN).read_text()
    following = Recipe(topic.options, said.append, topic.connection)
    assert following.run(collecting=True, promoting=True) == Waiting(0)
    assert said[-1] == "collect: 0 samples wait, 5 are needed; nothing consumed"
    topic.send([sample(n, text=f"{row.text} 더") for n, row in enumerate(rows, start=100)])
    later = Recipe(topic.options, said.append, topic.connection)
    later.collect()
    assert {each.id for each in later.lineage.sources.texts()} >= {
        f"chat-0-{n}" for n in range(100, 160)
    }


@pytest.mark.kafka
def test_a_run_killed_after_collecting_goes_on_without_new_samples(
    servers: str, options: TrainerSettings
) -> None:
    topic = Topic(servers, options.model_copy(update={"ablation": False, "epochs": 2}))
    topic.create()
    topic.send([sample(n, text=row.text) for n, row in enumerate(chat(30, 5))])
    assert not isinstance(topic.collect(), Waiting)
    outcome = Recipe(topic.options, print, topic.connection).run(collecting=True, promoting=True)
    assert isinstance(outcome, Outcome)


def test_a_rollback_of_nothing_is_one_line(
    given: TrainerSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert program.main(["rollback"]) == 1
    assert "points at nothing yet" in capsys.readouterr().err
