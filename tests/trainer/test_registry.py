"""Versions are immutable, aliases move whole or not at all, and one trainer writes at a time."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fsspec
import pytest

from schemas.manifest import FILE_NAME
from schemas.promotion import ModelPromotion
from trainer import lock as locks
from trainer import promote
from trainer.lock import LOCK, LOCK_SECONDS
from trainer.registry import Registry, RegistryError
from trainer.settings import TrainerSettings
from worker import parts
from worker import registry as workers
from worker.config import ModelError
from worker.metrics import Metrics
from worker.promotions import Promotions
from worker.settings import SettingsError, WorkerSettings

from .commands import Listening, command, without_rights
from .conftest import full_after, s3_at

NOW = "2026-11-24T04:00:00.000Z"
MEMORY = "memory://models"


@pytest.fixture(params=["folder", "memory", "s3"])
def given(request: pytest.FixtureRequest, options: TrainerSettings) -> TrainerSettings:
    """Settings with a registry on a disk, in memory, and in an object store."""
    if request.param == "folder":
        return options
    if request.param == "s3":
        return options.model_copy(update={"registry": request.getfixturevalue("bucket")})
    fsspec.filesystem("memory").store.clear()
    return options.model_copy(update={"registry": MEMORY})


def put(
    model: Path, options: TrainerSettings, day: str = "2026-11-24", expected: str | None = None
) -> ModelPromotion:
    stated = promote.state(
        model, options, made_at=f"{day}T04:00:00.000Z", metrics={"macro_f1": 0.8}
    )
    return promote.promote(model, stated, options, expected=expected)


def test_the_worker_finds_what_was_promoted(tiny_model: Path, given: TrainerSettings) -> None:
    promotion = put(tiny_model, given)
    found = workers.resolve(f"registry:{given.registry}#champion")
    assert found.model.version == promotion.version
    assert (found.folder / "model.safetensors").read_bytes() == (
        tiny_model / "model.safetensors"
    ).read_bytes()
    store = Registry(given.registry, given.name)
    assert store.versions() == [promotion.version]
    assert store.alias("champion") == promotion
    assert (promotion.previous_version, promotion.metrics) == (None, {"macro_f1": 0.8})


def test_rollback_goes_to_what_served_before_however_often_it_is_said(
    tiny_model: Path, given: TrainerSettings
) -> None:
    """Whoever says it again has not heard that it was done; back and forth needs a name."""
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    store = Registry(given.registry, given.name)
    for _ in range(3):
        assert promote.rollback(given).version == first.version
        assert promote.rollback(given, first.version).version == first.version
        assert store.is_withdrawn("champion", second.version)
    assert promote.rollback(given, second.version).version == second.version
    assert not store.is_withdrawn("champion", second.version)
    assert promote.rollback(given, first.version).version == first.version
    found = workers.resolve(f"registry:{given.registry}#champion")
    assert found.model.version == first.version


def test_a_rollback_killed_before_the_alias_moved_is_done_by_the_next(
    tiny_model: Path, given: TrainerSettings
) -> None:
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    Registry(given.registry, given.name).withdraw("champion", second.version)
    assert promote.rollback(given).version == first.version


def test_an_alias_that_was_lost_is_pointed_at_a_version_again(
    tiny_model: Path, given: TrainerSettings
) -> None:
    first = put(tiny_model, given)
    files, root = fsspec.core.url_to_fs(given.registry)
    files.rm_file(f"{root}/aliases/champion.json")
    assert promote.rollback(given, first.version).version == first.version
    with pytest.raises(RegistryError, match="is the first"):
        promote.rollback(given)


def test_the_command_moves_the_alias_back_and_tells_kafka(
    tiny_model: Path,
    given: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    kafka, store = Listening(monkeypatch), Registry(given.registry, given.name)
    for arguments, expected in ((), first), ([second.version], second):
        assert command(given, monkeypatch, "rollback", *arguments) == 0
        assert f"rollback: champion is {expected.version} now" in capsys.readouterr().out
        standing = store.alias("champion")
        assert standing is not None
        assert (standing.version, standing.sha256) == (expected.version, expected.sha256)
        assert kafka.told[-1] == ("emotion.models", b"maum", standing)
    assert len(kafka.told) == 2
    assert command(given, monkeypatch, "rollback", "7") == 1
    assert "no version 7 of maum" in capsys.readouterr().err
    assert len(kafka.told) == 2


def test_an_upload_shows_how_far_it_is(
    tiny_model: Path, options: TrainerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tiny_model, options)
    assert "promote: 100%" in capsys.readouterr().err


def test_there_is_nothing_to_roll_back_to_at_first(
    tiny_model: Path, given: TrainerSettings
) -> None:
    with pytest.raises(RegistryError, match="points at nothing yet"):
        promote.rollback(given)
    put(tiny_model, given)
    with pytest.raises(RegistryError, match="is the first"):
        promote.rollback(given)
    with pytest.raises(RegistryError, match="no version 7 of maum"):
        promote.rollback(given, "7")


def test_of_two_trainers_one_wins_and_the_other_says_so(
    tiny_model: Path, given: TrainerSettings
) -> None:
    """Both compared with the same champion: whoever comes second compared with an old one."""
    put(tiny_model, given, "2026-11-24")
    with pytest.raises(RegistryError, match="another trainer was first"):
        put(tiny_model, given, "2026-11-25")
    assert len(Registry(given.registry, given.name).versions()) == 2


def test_while_one_writes_the_other_is_refused(tiny_model: Path, given: TrainerSettings) -> None:
    store = Registry(given.registry, given.name)
    with store.alone(), pytest.raises(RegistryError, match="another trainer is writing"):
        put(tiny_model, given)
    assert store.alias("champion") is None
    put(tiny_model, given)


def test_a_version_is_on_the_disk_before_its_manifest_and_that_before_the_alias(
    tiny_model: Path, options: TrainerSettings, synced: list[int]
) -> None:
    version = put(tiny_model, options).version
    root = Path(options.registry)
    folder = root / "maum" / version
    files = {path.stat().st_ino for path in (folder, *folder.rglob("*")) if path.name != FILE_NAME}
    manifest = synced.index((folder / FILE_NAME).stat().st_ino)
    alias = synced.index((root / "aliases/champion.json").stat().st_ino)
    assert files <= set(synced[:manifest])
    above = {each.stat().st_ino for each in (folder, folder.parent, root)}
    assert above <= set(synced[manifest:alias])
    assert (root / "aliases").stat().st_ino in synced[alias:]


def test_the_same_version_is_uploaded_once(tiny_model: Path, given: TrainerSettings) -> None:
    first = put(tiny_model, given)
    again = put(tiny_model, given, expected=first.version)
    assert (again.version, again.sha256) == (first.version, first.sha256)


def test_a_half_written_version_is_ignored_and_cleaned(
    tiny_model: Path, options: TrainerSettings
) -> None:
    half = Path(options.registry) / "maum" / "2026.11.01-00000000"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    store = Registry(options.registry, options.name)
    assert store.versions() == []
    put(tiny_model, options)
    assert not half.exists()
    assert len(store.versions()) == 1


def test_what_a_killed_trainer_left_does_not_stop_the_next(
    tiny_model: Path, options: TrainerSettings
) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    lock = Path(options.registry) / LOCK
    lock.parent.mkdir()
    here = {"host": socket.gethostname(), "pid": int(dead.stdout), "since": time.time()}
    lock.write_text(json.dumps(here))
    put(tiny_model, options)
    assert not lock.exists()


def test_a_lock_of_the_same_process_number_in_an_earlier_life_is_nobodys(
    tiny_model: Path, options: TrainerSettings
) -> None:
    """A container that is started anew has its host's name, and its first process the number 1."""
    lock = Path(options.registry) / LOCK
    lock.parent.mkdir()
    before = {"host": socket.gethostname(), "pid": os.getpid(), "began": "before"}
    lock.write_text(json.dumps(before | {"since": time.time()}))
    put(tiny_model, options)
    assert not lock.exists()


def test_what_is_no_lock_of_a_trainer_is_one_line(
    tiny_model: Path, options: TrainerSettings
) -> None:
    lock = Path(options.registry) / LOCK
    lock.parent.mkdir()
    lock.write_bytes(b"")
    with pytest.raises(RegistryError, match="is no lock of a trainer; remove it"):
        put(tiny_model, options)


def lock_of(given: TrainerSettings) -> tuple[Any, str]:
    """The file system of the registry, and where its lock stands."""
    files, root = fsspec.core.url_to_fs(given.registry)
    files.makedirs(root, exist_ok=True)
    return files, f"{root}/{LOCK}"


def test_of_two_that_find_a_dead_trainers_lock_one_gets_it(
    given: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, path = lock_of(given)
    dead = {"host": socket.gethostname(), "pid": 0, "since": time.time()}
    files.pipe_file(path, json.dumps(dead).encode())
    is_alive = locks._is_alive
    first, second = (Registry(given.registry, given.name) for _ in range(2))
    with ExitStack() as held:

        def overtaken(_: object) -> bool:
            """The second has looked at the lock; before it does anything, the first has it all."""
            monkeypatch.setattr(locks, "_is_alive", is_alive)
            held.enter_context(first.alone())
            return False

        monkeypatch.setattr(locks, "_is_alive", overtaken)
        with pytest.raises(RegistryError, match="another trainer is writing"), second.alone():
            pass
        assert json.loads(files.cat_file(path))["pid"] == os.getpid()
    assert not files.exists(path)
    assert not [each for each in files.find(path.rpartition("/")[0]) if "stale" in each]


@pytest.mark.parametrize("left", [b"somebody else's", None])
def test_a_lock_that_was_taken_over_is_left_to_who_has_it(
    given: TrainerSettings, left: bytes | None
) -> None:
    files, path = lock_of(given)
    with Registry(given.registry, given.name).alone():
        files.rm_file(path)
        if left:
            files.pipe_file(path, left)
    assert files.exists(path) == bool(left)


@pytest.mark.parametrize(("age", "stopped"), [(0.0, True), (LOCK_SECONDS + 1, False)])
def test_the_lock_of_another_machine_holds_for_a_while(
    tiny_model: Path, options: TrainerSettings, *, age: float, stopped: bool
) -> None:
    lock = Path(options.registry) / LOCK
    lock.parent.mkdir()
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": time.time() - age}))
    if stopped:
        with pytest.raises(RegistryError, match="another trainer is writing"):
            put(tiny_model, options)
    else:
        put(tiny_model, options)


def test_a_changed_file_of_a_version_is_refused_by_the_worker(
    tiny_model: Path, options: TrainerSettings
) -> None:
    promotion = put(tiny_model, options)
    config = Path(options.registry) / "maum" / promotion.version / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(ModelError, match="differs from its manifest"):
        workers.resolve(f"registry:{options.registry}#champion")


def test_what_is_no_model_of_six_is_not_promoted(tmp_path: Path, options: TrainerSettings) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RegistryError, match=r"holds no config\.json"):
        put(tmp_path / "empty", options)
    assert not Path(options.registry).exists()


def test_a_registry_that_cannot_be_written_is_one_line(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings
) -> None:
    (tmp_path / "file").write_text("")
    bad = options.model_copy(update={"registry": str(tmp_path / "file" / "registry")})
    with pytest.raises(RegistryError, match="cannot be written to: Not a directory"):
        put(tiny_model, bad)


def test_a_registry_without_write_rights_is_one_line_and_its_alias_stays(
    tiny_model: Path, options: TrainerSettings
) -> None:
    first = put(tiny_model, options)
    second = put(tiny_model, options, "2026-11-25", expected=first.version)
    root = Path(options.registry)
    folders = [each for each in (root, *root.rglob("*")) if each.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    done = without_rights(options, "rollback")
    told = f"trainer: {root} cannot be written to: Permission denied\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)
    for folder in folders:
        folder.chmod(0o700)
    assert Registry(options.registry, options.name).alias("champion") == second


@pytest.mark.parametrize("links", [True, False], ids=["with hard links", "without"])
def test_a_disk_that_has_no_room_for_a_lock_is_one_line_and_the_next_try_gets_it(
    tiny_model: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    if not links:

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    first = put(tiny_model, options)
    with full_after(9), pytest.raises(RegistryError, match="cannot be written to: ") as caught:
        promote.rollback(options, first.version)
    assert "\n" not in str(caught.value)
    assert not list(Path(options.registry).glob(f"{LOCK}*"))
    second = put(tiny_model, options, "2026-11-25", expected=first.version)
    assert Registry(options.registry, options.name).alias("champion") == second


def test_a_disk_that_has_no_room_for_a_version_is_one_line_and_the_next_try_puts_it(
    tiny_model: Path, options: TrainerSettings
) -> None:
    first = put(tiny_model, options)
    store = Registry(options.registry, options.name)
    room = (tiny_model / "model.safetensors").stat().st_size // 2
    with full_after(room), pytest.raises(RegistryError, match="cannot be written: ") as caught:
        put(tiny_model, options, "2026-11-25", expected=first.version)
    assert "\n" not in str(caught.value)
    assert (store.versions(), store.alias("champion")) == ([first.version], first)
    second = put(tiny_model, options, "2026-11-25", expected=first.version)
    assert store.alias("champion") == second


def test_a_disk_that_has_no_room_for_an_alias_leaves_the_old_one_and_nothing_else(
    tiny_model: Path, options: TrainerSettings
) -> None:
    first = put(tiny_model, options)
    store = Registry(options.registry, options.name)
    with full_after(9), pytest.raises(RegistryError, match="champion cannot be moved: "):
        store.move("champion", first.version, expected=first.version, metrics={}, now=NOW)
    assert store.alias("champion") == first
    aliases = Path(options.registry) / "aliases"
    assert [each.name for each in aliases.iterdir()] == ["champion.json"]


class Failing:
    """A file system of which one call fails, as of an object store that is away."""

    def __init__(self, files: Any, call: str) -> None:  # noqa: ANN401
        self.files = files
        self.call = call

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        def fail(*_: object, **__: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        return fail if name == self.call else getattr(self.files, name)


@pytest.mark.parametrize(
    ("call", "ask"),
    [
        ("exists", lambda store, _: store.is_withdrawn("champion", "1")),
        ("exists", lambda store, _: store.aliases()),
        ("exists", lambda store, _: store.versions()),
        ("exists", lambda store, _: store.require("1")),
        ("exists", lambda store, standing: store.previous(standing)),
        ("ls", lambda store, _: store.aliases()),
        ("ls", lambda store, _: store.versions()),
        ("cat_file", lambda store, _: store.alias("champion")),
        ("cat_file", lambda store, standing: store.previous(standing)),
    ],
)
def test_a_registry_that_does_not_answer_is_one_line(
    tiny_model: Path,
    given: TrainerSettings,
    call: str,
    ask: Callable[[Registry, ModelPromotion], object],
) -> None:
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    store = Registry(given.registry, given.name)
    store._files = Failing(store._files, call)
    with pytest.raises(RegistryError, match=r"cannot be .*: Input/output error$"):
        ask(store, second)


def test_a_kind_of_registry_that_is_not_installed_is_one_line(
    tiny_model: Path, options: TrainerSettings
) -> None:
    bad = options.model_copy(update={"registry": "nosuch://bucket"})
    with pytest.raises(SettingsError, match="TRAINER_REGISTRY: nosuch") as caught:
        put(tiny_model, bad)
    assert "\n" not in str(caught.value)


def test_a_version_says_what_it_was_made_from(tiny_model: Path, options: TrainerSettings) -> None:
    promotion = put(tiny_model, options)
    folder = Path(options.registry) / "maum" / promotion.version
    stated = json.loads((folder / FILE_NAME).read_text())
    assert stated["parent"] == options.student
    assert stated["settings"]["selection"] == "seed"
    assert set(stated["files"]) == {path.name for path in folder.iterdir()} - {FILE_NAME}


def test_a_lock_that_cannot_be_let_go_of_spoils_nothing(
    tiny_model: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written stands; whoever comes next breaks the lock of a process that is gone."""
    store = Registry(options.registry, options.name)
    with monkeypatch.context() as away, store.alone():
        away.setattr(store._files, "rm_file", Failing(store._files, "rm_file").rm_file)
    assert (Path(options.registry) / LOCK).exists()
    monkeypatch.setattr(locks, "_is_alive", lambda _: False)
    put(tiny_model, options)


async def test_an_object_store_that_is_away_is_one_line_and_the_worker_serves_on(
    tiny_model: Path,
    options: TrainerSettings,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    unused_tcp_port: int,
) -> None:
    """What its library raises then is no OSError."""
    given = options.model_copy(update={"registry": bucket})
    promotion = put(tiny_model, given)
    spec = f"registry:{bucket}#champion"
    swapped: list[Any] = []
    metrics = Metrics()
    watcher = Promotions(
        spec, lambda found: parts.promoted(WorkerSettings(), found), swapped.append, metrics, 1.0
    )
    nowhere = s3_at(f"http://127.0.0.1:{unused_tcp_port}")
    with monkeypatch.context() as away:
        away.setitem(fsspec.config.conf, "s3", nowhere)
        with pytest.raises(RegistryError, match=r"cannot be read: Could not connect"):
            Registry(bucket, given.name).alias("champion")
        with pytest.raises(RegistryError, match="cannot be written to: Could not connect"):
            put(tiny_model, given, "2026-11-25", expected=promotion.version)
        with pytest.raises(ModelError, match="cannot be read: EndpointConnectionError"):
            workers.read_alias(spec)
        with pytest.raises(workers.FetchError, match="cannot be fetched: EndpointConnection"):
            workers.fetch(promotion)
        assert await watcher._look("old") == "old"
    assert not swapped
    assert await watcher._look("old") == promotion.sha256
    assert [each.model.version for each in swapped] == [promotion.version]


def test_a_version_that_another_trainer_put_into_a_store_is_seen_at_once(
    tiny_model: Path, options: TrainerSettings, bucket: str
) -> None:
    """The library of the store remembers what it listed."""
    given = options.model_copy(update={"registry": bucket})
    store = Registry(bucket, given.name)
    first = put(tiny_model, given)
    assert store.versions() == [first.version]
    elsewhere, root = fsspec.core.url_to_fs(bucket, skip_instance_cache=True)
    elsewhere.pipe_file(f"{root}/{given.name}/2026.11.25-0/{FILE_NAME}", b"{}")
    assert store.versions() == [first.version, "2026.11.25-0"]
    assert store.aliases() == ["champion"]
    body = elsewhere.cat_file(f"{root}/aliases/champion.json")
    elsewhere.pipe_file(f"{root}/aliases/tried.json", body)
    assert store.alias("tried") == first


def spoil(given: TrainerSettings, version: str, name: str, body: bytes | None) -> str:
    """Change a stored file, or remove it; where it lies."""
    files, root = fsspec.core.url_to_fs(given.registry)
    path = f"{root}/{given.name}/{version}/{name}"
    if body is None:
        files.rm_file(path)
    else:
        files.pipe_file(path, body)
    return path


@pytest.mark.parametrize(
    ("name", "body", "complaint"),
    [
        ("model.safetensors", b"", "is damaged: it has not the hash"),
        ("config.json", None, "is missing"),
        ("other.bin", b"", "is none of the files of"),
        (FILE_NAME, b"", "is no manifest of a model"),
    ],
)
def test_nothing_moves_to_a_version_whose_stored_files_are_damaged(
    tiny_model: Path, given: TrainerSettings, name: str, body: bytes | None, complaint: str
) -> None:
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    path = spoil(given, first.version, name, body)
    store = Registry(given.registry, given.name)
    for version in (None, first.version):
        with pytest.raises(RegistryError, match=f"{path} {complaint}") as caught:
            promote.rollback(given, version)
        assert str(caught.value).endswith(
            "; restore that file from a copy, or name another version"
        )
        assert "\n" not in str(caught.value)
    with store.alone(), pytest.raises(RegistryError, match=complaint):
        store.move("champion", first.version, expected=second.version, metrics={}, now=NOW)
    assert store.alias("champion") == second
    assert not store.is_withdrawn("champion", second.version)


@pytest.mark.parametrize(
    ("name", "body"), [("model.safetensors", b""), ("config.json", None), (FILE_NAME, b"")]
)
def test_a_damaged_version_that_is_put_again_is_written_anew(
    tiny_model: Path, given: TrainerSettings, name: str, body: bytes | None
) -> None:
    first = put(tiny_model, given)
    spoil(given, first.version, name, body)
    again = put(tiny_model, given, expected=first.version)
    assert (again.version, again.sha256) == (first.version, first.sha256)
    assert workers.resolve(f"registry:{given.registry}#champion").model.version == first.version


def test_what_an_alias_says_of_a_damaged_version_is_true_once_it_is_written_anew(
    tiny_model: Path, given: TrainerSettings
) -> None:
    """Another run of the same model states other figures; the alias knows the old ones' hash."""
    first = put(tiny_model, given)
    spoil(given, first.version, "model.safetensors", b"")
    stated = promote.state(tiny_model, given, made_at="2026-11-24T05:00:00.000Z", metrics={})
    promote.mend(tiny_model, stated, given)
    assert Registry(given.registry, given.name).alias("champion") == first
    assert workers.resolve(f"registry:{given.registry}#champion").model.version == first.version


@pytest.mark.parametrize("body", [b"", b"{", b'{"name": "maum"}'])
def test_an_alias_that_is_damaged_says_what_mends_it_and_that_does(
    tiny_model: Path, given: TrainerSettings, body: bytes
) -> None:
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    files, root = fsspec.core.url_to_fs(given.registry)
    path = f"{root}/aliases/champion.json"
    files.pipe_file(path, body)
    told = f"{path} is no ModelPromotion; `python -m trainer rollback VERSION` writes it anew"
    with pytest.raises(RegistryError, match=told) as caught:
        promote.rollback(given)
    assert f"(there are: {first.version}, {second.version})" in str(caught.value)
    with pytest.raises(RegistryError, match=told):
        put(tiny_model, given, "2026-11-26", expected=second.version)
    assert files.cat_file(path) == body
    moved = promote.rollback(given, first.version)
    assert (moved.version, moved.previous_version) == (first.version, None)
    assert Registry(given.registry, given.name).alias("champion") == moved


def test_the_command_mends_a_damaged_alias(
    tiny_model: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet = options.model_copy(update={"announce": False})
    first = put(tiny_model, quiet)
    capsys.readouterr()
    (Path(quiet.registry) / "aliases/champion.json").write_bytes(b"")
    assert command(quiet, monkeypatch, "rollback") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert command(quiet, monkeypatch, "rollback", first.version) == 0
    assert f"rollback: champion is {first.version} now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "adopt: what stood in the place of champion was no ModelPromotion"),
        (None, "adopt: champion pointed at nothing, though {} stands in the registry"),
    ],
)
def test_adopting_in_place_of_an_alias_that_is_lost_says_so(
    tiny_model: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    body: bytes | None,
    told: str,
) -> None:
    quiet = options.model_copy(update={"announce": False})
    before = put(tiny_model, quiet)
    alias = Path(quiet.registry) / "aliases/champion.json"
    alias.unlink()
    if body:
        alias.write_bytes(body)
    assert command(quiet, monkeypatch, "adopt", str(tiny_model)) == 0
    assert told.format(before.version) in capsys.readouterr().err
    standing = Registry(quiet.registry, quiet.name).alias("champion")
    assert standing is not None
    assert standing.version != before.version
