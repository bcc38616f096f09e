"""What older runs left: models go, texts and reports stay."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from trainer import history, prune, stage
from trainer.history import Run
from trainer.settings import TrainerSettings
from trainer.stage import Numbers


@dataclass
class Runs:
    """Runs that make stages, or find them made."""

    options: TrainerSettings
    said: list[str] = field(default_factory=list)

    def use(self, name: str, settings: str) -> Path:
        def make(folder: Path) -> Numbers:
            (folder / "model").write_text("weights")
            return {}

        return stage.run(self.options.work, name, {}, {"made of": settings}, make).folder

    def run(self, student: str, teacher: str = "labels", verdict: str = "reject") -> list[Path]:
        """A run; its models, in order. The arm without pseudo-labels depends on labels alone."""
        stages = [("teach", teacher), ("finetune", student), ("publish", student)]
        found = [self.use(*each) for each in stages]
        self.add(student, [*found, self.use("finetune", f"none of {teacher}")], verdict)
        return found

    def add(self, student: str, used: list[Path], verdict: str = "reject") -> None:
        names = [each.relative_to(self.options.work).as_posix() for each in used]
        ended = Run(
            snapshots=[],
            selected="select/1/seed.parquet",
            student=f"finetune/{student}",
            verdict=verdict,
            version=None,
            used=names,
        )
        history.add(self.options.work, ended)

    def prune(self, keep: int) -> None:
        prune.prune(self.options.model_copy(update={"keep_runs": keep}), self.said.append)

    def left(self) -> set[Path]:
        return {folder for folder in self.options.work.glob("*/*") if folder.is_dir()}


@pytest.fixture
def runs(options: TrainerSettings) -> Runs:
    return Runs(options)


def test_models_that_no_recent_run_used_go_and_what_each_found_made_stays(runs: Runs) -> None:
    teacher, *first = runs.run("one")
    _, *second = runs.run("two")
    _, *third = runs.run("three")
    before = runs.left()
    runs.prune(3)
    runs.prune(0)
    assert (runs.left(), runs.said) == (before, [])
    runs.prune(1)
    arm = runs.use("finetune", "none of labels")
    assert runs.left() == {teacher, arm, *third}
    (line,) = runs.said
    assert line.startswith("prune: only older runs used ")
    assert all(f"{path.parent.name}/{path.name}" in line for path in [*first, *second])
    runs.prune(1)
    assert len(runs.said) == 1


def test_a_student_that_was_an_arm_since_takes_nothing_with_it(runs: Runs) -> None:
    runs.run("none of labels")  # it believed nothing, and is the arm of each run that follows
    second = runs.run("two")
    runs.prune(1)
    assert runs.left() == {*second, runs.use("finetune", "none of labels")}


def test_a_teacher_that_was_made_anew_goes_with_the_last_run_that_used_it(runs: Runs) -> None:
    teacher, *_ = runs.run("one", "old labels")
    runs.run("two", "new labels")
    runs.prune(1)
    assert not teacher.exists()


def test_what_promote_said_later_of_a_run_is_no_run_of_its_own(runs: Runs) -> None:
    runs.run("one")
    runs.run("two", verdict="not asked")
    runs.run("two", verdict="promote")
    runs.prune(2)
    assert not runs.said


def test_nothing_goes_while_a_recent_run_did_not_state_what_it_used(runs: Runs) -> None:
    runs.run("one")
    runs.add("two", [])
    runs.run("three")
    runs.prune(2)
    assert not runs.said
    runs.prune(1)
    assert runs.said


def test_a_model_that_the_next_run_starts_from_stays(runs: Runs) -> None:
    _, first, _ = runs.run("one")
    runs.run("two")
    (first / "model").unlink()
    (first / "model").mkdir()
    runs.options = runs.options.model_copy(update={"student": str(first / "model")})
    runs.prune(1)
    assert first.exists()


def test_texts_and_what_is_no_stage_stay(runs: Runs) -> None:
    texts = [runs.use(name, "old") for name in ("collect", "pseudo-label", "select", "evaluate")]
    others = [runs.options.work / f"teach/{name}" for name in ("mine", ".partial-1")]
    for folder in others:
        folder.mkdir(parents=True)
    (others[1] / stage.MANIFEST).touch()  # a kill may come before it gets its name
    runs.run("one")
    runs.run("two")
    runs.prune(1)
    assert runs.said
    assert runs.left() > {*texts, *others}


def test_what_a_kill_left_of_a_removal_goes_and_what_cannot_be_removed_is_told(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, published = runs.run("one")
    runs.run("two")

    def full(path: Path) -> None:
        if first.name in path.name:
            raise OSError("the disk is away")
        path.rmdir()  # another kind of failure: it holds something

    with monkeypatch.context() as patched:
        patched.setattr("trainer.prune.shutil.rmtree", full)
        runs.prune(1)
    assert [line.partition(" cannot be removed: ")[2] for line in runs.said] == [
        "the disk is away",
        "Directory not empty",
    ]
    half = {each.with_name(f".removed-{each.name}") for each in (first, published)}
    assert runs.left() > half
    runs.prune(1)
    assert not half & runs.left()
