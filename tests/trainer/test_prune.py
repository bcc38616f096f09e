"""What older runs left: models go, texts and reports stay."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainer import history, stage
from trainer.history import Run
from trainer.prune import prune
from trainer.stage import Numbers


@dataclass
class Runs:
    """Runs on a clock of their own: each uses stages, made or found made, one after another."""

    work: Path
    now: int = 1_000_000_000

    def use(self, name: str, settings: str) -> Path:
        def make(folder: Path) -> Numbers:
            (folder / "model").write_text("weights")
            return {}

        done = stage.run(self.work, name, {}, {"made of": settings}, make)
        self.age(done.folder / stage.MANIFEST)
        return done.folder

    def age(self, path: Path) -> None:
        """A minute later."""
        self.now += 60
        os.utime(path, (self.now, self.now))

    def run(self, student: str, teacher: str = "labels", verdict: str = "reject") -> list[Path]:
        """A run; its models, in order."""
        models = [("teach", teacher), ("finetune", student), ("publish", student)]
        found = [self.use(*each) for each in models]
        ended = Run(
            snapshots=[],
            selected="select/1/seed.parquet",
            student=found[1].relative_to(self.work).as_posix(),
            verdict=verdict,
            version=None,
        )
        history.add(self.work, ended)
        return found

    def left(self) -> set[Path]:
        return {folder for folder in self.work.glob("*/*") if folder.is_dir()}


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_models_that_no_recent_run_used_go_and_a_teacher_that_each_found_made_stays(
    runs: Runs,
) -> None:
    teacher, *first = runs.run("one")
    _, *second = runs.run("two")
    _, *third = runs.run("three")
    assert prune(runs.work, 3) == prune(runs.work, 0) == []
    # What an older run used after its student goes a run later.
    assert prune(runs.work, 1) == [*sorted([first[0], second[0]]), first[1]]
    assert runs.left() == {teacher, second[1], *third}
    assert prune(runs.work, 1) == []


def test_a_student_that_a_recent_run_found_made_stays(runs: Runs) -> None:
    runs.run("one")
    _, second, _ = runs.run("two")
    runs.run("one")
    assert prune(runs.work, 2) == []
    assert prune(runs.work, 1) == [second]
    runs.run("one", verdict="promote")
    assert prune(runs.work, 1) == []


def test_a_teacher_that_was_made_anew_goes_with_the_last_run_that_used_it(runs: Runs) -> None:
    teacher, first, _ = runs.run("one", "old labels")
    runs.run("two", "new labels")
    assert prune(runs.work, 1) == [teacher, first]


def test_a_fit_that_was_given_up_goes_and_one_that_is_gone_on_with_stays(runs: Runs) -> None:
    given_up, going_on = (runs.work / f"finetune/.partial-{name}" for name in ("a", "b"))
    for folder in (given_up, going_on):
        (folder / "checkpoints").mkdir(parents=True)
        for path in (folder / "checkpoints", folder):
            runs.age(path)
    _, first, _ = runs.run("one")
    runs.run("two")
    (going_on / "checkpoints/2").touch()
    assert prune(runs.work, 1) == sorted([given_up, first])
    assert going_on.exists()


def test_texts_and_what_is_no_stage_stay(runs: Runs) -> None:
    texts = [runs.use(name, "old") for name in ("collect", "pseudo-label", "select", "evaluate")]
    mine = runs.work / "teach/mine"
    mine.mkdir(parents=True)
    runs.age(mine)
    runs.run("one")
    runs.run("two")
    assert prune(runs.work, 1)
    assert runs.left() > {*texts, mine}
