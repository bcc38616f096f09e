"""A run that is killed, wherever, leaves what an undisturbed one leaves, and consumes no more."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.promotion import ModelPromotion
from trainer import (
    backlog,
    evaluate,
    facts,
    history,
    promote,
    records,
    report,
    stage,
    tables,
)
from trainer.history import Run
from trainer.job import FITTED
from trainer.recipe import Recipe
from trainer.registry import Registry
from trainer.settings import TrainerSettings
from trainer.snapshot import SAMPLES
from trainer.versions import Versions

from .commands import environment
from .conftest import chat
from .topic import Topic, sample

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(1200),  # minutes where the machine is busy
]

ROOT = Path(__file__).resolve().parents[2]
BATCH = 30  # review samples of one run
FITS = 4  # the teacher, and a student of each selection
FIRST = {"ablation": True, "student_learning_rate": 1e-4}
SECOND = {"ablation": False, "seed": 8}  # better, so that it replaces the first

KILLED = """
import os, signal, sys
from trainer import __main__ as program
from trainer import checkpoint

mark = checkpoint.MarkWhole.on_save

def killing(self, args, state, *given, **named):
    mark(self, args, state, *given, **named)
    if state.epoch <= 1:  # once: it goes on from here
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.MarkWhole.on_save = killing
sys.exit(program.main(["run"]))
"""


class Trainers:
    """Trainers of one topic, which see the same: each has a group, a folder and a registry."""

    def __init__(self, topic: Topic, folder: Path) -> None:
        self.topic = topic
        self.undisturbed = self.one("undisturbed", folder)
        for changes in (FIRST, SECOND):
            self.run(self.undisturbed, changes)

    def one(self, name: str, folder: Path) -> TrainerSettings:
        models_topic = f"{self.topic.options.models_topic}.{name}"
        changes = {
            "group_id": f"{self.topic.options.group_id}-{name}",
            "models_topic": models_topic,
            "work": folder / name / "runs",
            "registry": str(folder / name / "registry"),
        }
        self.topic.make(models_topic, 1)
        return self.topic.options.model_copy(update=changes)

    def run(self, options: TrainerSettings, changes: dict[str, Any]) -> None:
        given = options.model_copy(update=changes)
        Recipe(given, print, self.topic.connection).run(collecting=True, promoting=True)

    def announced(self, options: TrainerSettings) -> list[ModelPromotion]:
        topic = options.model_copy(update={"review_topic": options.models_topic, "group_id": "all"})
        connection = self.topic.connection
        waiting = asyncio.run(backlog.look(connection, topic))
        found = asyncio.run(records.read(connection, topic, waiting))
        return [ModelPromotion.model_validate_json(record.value) for record in found]


@pytest.fixture(scope="module")
def shared() -> list[Trainers]:
    """The trainers, once there are some: the undisturbed run is the same for all tests."""
    return []


@pytest.fixture
def trainers(
    servers: str,
    tmp_path: Path,
    options: TrainerSettings,
    shared: list[Trainers],
    monkeypatch: pytest.MonkeyPatch,
) -> Trainers:
    """With samples for two runs on the topic, and both runs done by one that nobody disturbed."""
    monkeypatch.setattr(evaluate, "TIMED_SECONDS", 0.0)
    if not shared:
        easy = {"min_confidence": 0.3, "target_precision": 0.1, "min_speed": 0.0}
        topic = Topic(servers, options.model_copy(update=easy))
        topic.create()
        # Each of the two partitions ends with the marker of the transaction.
        topic.options = topic.options.model_copy(update={"max_samples": BATCH + 2})
        rows = chat(2 * BATCH, 5, "s")
        for first in (0, BATCH):
            batch = range(first, first + BATCH)
            topic.send([sample(number, text=rows[number].text) for number in batch])
        shared.append(Trainers(topic, tmp_path))
    return shared[0]


def made(work: Path) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """The files of each stage, by their hashes; but for those that tell of seconds."""
    found = set()
    for path in work.glob("*/[!.]*/stage.json"):
        manifest = stage.read(path.parent)
        assert manifest is not None, path
        if manifest.stage not in {"evaluate", "compare"}:
            files = {name: sha for name, sha in manifest.outputs.items() if name != FITTED}
            found.add((manifest.stage, tuple(files.items())))
    return found


def runs(options: TrainerSettings) -> list[Run]:
    """What is remembered. A stage's name may be another where it was made from a curve, which
    tells of seconds, and a version's where its day has passed.
    """
    return [
        run.model_copy(
            update={
                "selected": "",
                "version": run.version and run.version.rpartition("-")[2],
                "used": sorted(name.partition("/")[0] for name in run.used),
            }
        )
        for run in history.read(options.work)
    ]


def reported(options: TrainerSettings) -> list[Any]:
    """What the reports say; but for what tells of seconds."""
    found = []
    for run in history.read(options.work):
        folder = facts.folder(options.work, Path(run.student).name)
        assert (folder / report.HTML).read_text().endswith("</html>\n")
        assert (folder / report.MARKDOWN).exists()
        kept = facts.read(folder)
        ablation = {name: each.intervals for name, each in kept.ablation.items()}
        found.append([ablation, kept.after.intervals, kept.production])
    return found


class Killed(BaseException):
    """Stands for SIGKILL: what is on the disk, and in Kafka, is all that is left."""


class Killer:
    """Kills a run after each thing that it does, once."""

    def __init__(self) -> None:
        self.after: list[str] = []

    def at(self, does: Callable[..., Any]) -> Callable[..., Any]:
        def killed_after(*args: Any, **named: Any) -> Any:  # noqa: ANN401
            done = does(*args, **named)
            what = does.__name__
            if isinstance(done, stage.Done):
                what = f"{done.manifest.stage}/{done.folder.name}"
                if done.skipped:
                    return done
            if what not in self.after:
                self.after.append(what)
                raise Killed
            return done

        return killed_after


def test_a_run_killed_at_every_boundary_ends_as_an_undisturbed_one(
    tmp_path: Path, trainers: Trainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each stage, also before its offsets are committed; after the version was uploaded, the
    alias moved, the record published; after each part of the ablation; after the facts, the report
    and the run were kept. Twice round, so that there is a champion the second time.
    """
    options = trainers.one("disturbed", tmp_path)
    places = [
        (stage, "run"),
        (Versions, "put"),
        (promote, "promote"),
        (promote, "announce"),
        (facts, "write"),
        (report, "render"),
        (history, "add"),
    ]
    found = []
    for changes in (FIRST, SECOND):
        killer = Killer()
        with monkeypatch.context() as patch:
            for owner, name in places:
                patch.setattr(owner, name, killer.at(getattr(owner, name)))
            while "add" not in killer.after:  # what would come after it is another run
                with pytest.raises(Killed):
                    trainers.run(options, changes)
        found.append([what.partition("/")[0] for what in killer.after])
    until_asked = ["collect", "teach", "pseudo-label", "select", "finetune", "publish", "evaluate"]
    promoted = ["put", "promote", "announce"]
    arms = ["finetune", "finetune", "evaluate", "evaluate"]
    kept = ["write", "render", "add"]
    assert found == [
        [*until_asked, *promoted, *arms, *kept],
        [*until_asked, "evaluate", "compare", *promoted, *kept],
    ]
    assert made(options.work) == made(trainers.undisturbed.work)
    assert runs(options) == runs(trainers.undisturbed)
    assert [run.verdict for run in runs(options)] == ["promote", "promote"]
    assert reported(options) == reported(trainers.undisturbed)
    told = trainers.announced(options)
    versions = [run.version for run in history.read(options.work)]
    assert list(dict.fromkeys(each.version for each in told)) == versions
    assert told[-1] == Registry(options.registry, options.name).alias(options.alias)
    ids = [
        row["id"] for each in history.snapshots(options.work) for row in tables.read(each / SAMPLES)
    ]
    assert sorted(ids) == sorted(f"chat-0-{number}" for number in range(2 * BATCH))


def test_a_run_killed_with_9_in_each_of_its_fits_goes_on_with_the_same_command(
    tmp_path: Path, trainers: Trainers
) -> None:
    options = trainers.one("killed", tmp_path)
    stated = environment(options.model_copy(update=FIRST))
    stated["KAFKA_BOOTSTRAP_SERVERS"] = trainers.topic.connection["bootstrap_servers"]
    for fits in range(FITS):
        done = subprocess.run(  # kills and reaps it where it takes too long
            [sys.executable, "-c", KILLED],
            cwd=ROOT,
            env=stated,
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        finished = [name for name, _ in made(options.work)]
        assert finished.count("teach") + finished.count("finetune") == fits
        (_,) = options.work.glob("*/.partial-*/checkpoints/*/whole")
    trainers.run(options, FIRST)
    assert made(options.work) <= made(trainers.undisturbed.work)
    assert runs(options) == runs(trainers.undisturbed)[:1]
