"""An image has what its command needs by default, and may write where that writes."""

import re
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest
import yaml

from trainer.settings import TrainerSettings
from worker.engines import agreement
from worker.settings import BUNDLED_MODEL

ROOT = Path(__file__).parents[2]
STAGES = ("worker", "trainer")


def instructions(target: str) -> list[tuple[str, str]]:
    """Those of a stage and of what it is made from, joined over their lines, without comments."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    stages: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in filter(None, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            parent, _, name = rest.partition(" AS ")
            stages[name] = list(stages.get(parent, []))
        else:
            stages[name].append((word, " ".join(rest.split())))
    return stages[target]


def copied(target: str) -> set[str]:
    """What comes out of the repository: files, and folders with a slash."""
    rests = [rest for word, rest in instructions(target) if word == "COPY" and "--from" not in rest]
    return {source for rest in rests for source in rest.split()[:-1]}


def environment(target: str) -> dict[str, str]:
    rests = [rest for word, rest in instructions(target) if word == "ENV"]
    return dict(pair.split("=", 1) for rest in rests for pair in rest.split())


def has(target: str, path: Path) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return any(name == source or f"{name}/".startswith(source) for source in copied(target))


@pytest.mark.parametrize("target", STAGES)
def test_all_that_is_copied_exists_and_reaches_the_builder(target: str) -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    for source in copied(target):
        assert (ROOT / source).exists()
        assert any(fnmatch(source, pattern) for pattern in let_in), source


@pytest.mark.parametrize("target", STAGES)
def test_the_worker_and_its_bundled_model_are_in_both(target: str) -> None:
    assert has(target, ROOT / "worker")
    assert has(target, BUNDLED_MODEL)
    assert has(target, agreement.GOLDEN[0])


def test_the_data_that_the_trainer_reads_by_default_is_in_its_image() -> None:
    fields = TrainerSettings.model_fields
    for name in ("golden", "labelled"):
        assert has("trainer", fields[name].default), name


def test_what_the_trainer_writes_is_in_a_volume_of_its_own_user() -> None:
    steps = instructions("trainer")
    (volume,) = (rest for word, rest in steps if word == "VOLUME")
    stated = environment("trainer")
    for name in ("TRAINER_WORK", "TRAINER_REGISTRY", "HF_HOME"):
        assert PurePosixPath(volume) in PurePosixPath(stated[name]).parents
    made = next(rest for word, rest in steps if word == "RUN" and volume in rest)
    owner = re.search(r"--owner=(\w+)", made)
    assert owner is not None
    assert (
        f"useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin {owner[1]}"
        in made
    )
    assert [rest for word, rest in steps if word == "USER"] == ["10001"]
    assert steps.index(("USER", "10001")) > steps.index(("RUN", made))


def test_in_compose_trainer_and_workers_share_that_volume() -> None:
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    (volume,) = (rest for word, rest in instructions("trainer") if word == "VOLUME")
    assert services["trainer"]["volumes"] == [f"models:{volume}"]
    assert services["worker"]["volumes"] == [f"models:{volume}:ro"]
    default = services["worker"]["environment"]["WORKER_MODEL"]
    assert default == f"${{WORKER_MODEL:-/app/{BUNDLED_MODEL.relative_to(ROOT).as_posix()}}}"
