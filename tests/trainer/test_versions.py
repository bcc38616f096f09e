"""A version is there whole or not at all, and its files are what its manifest says."""

import json
import shutil
from pathlib import Path

import fsspec
import pytest

from schemas.manifest import FILE_NAME
from trainer import promote
from trainer.depot import RegistryError
from trainer.registry import Registry
from trainer.settings import TrainerSettings
from worker import registry as workers
from worker.config import ModelError

from .conftest import full_after
from .stored import put

NOW = "2026-11-24T04:00:00.000Z"


def test_an_upload_shows_how_far_it_is(
    tiny_model: Path, options: TrainerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tiny_model, options)
    assert "promote: 100%" in capsys.readouterr().err


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
    others = half.parent / ".git"  # somebody's folder that has the model's name
    others.mkdir()
    store = Registry(options.registry, options.name)
    assert store.versions.names() == []
    put(tiny_model, options)
    assert not half.exists()
    assert others.exists()
    assert len(store.versions.names()) == 1


def test_a_model_that_was_rolled_back_from_is_known_whatever_graphs_it_comes_with(
    tiny_model: Path, tmp_path: Path, given: TrainerSettings
) -> None:
    store, first = Registry(given.registry, given.name), put(tiny_model, given)
    store.withdraw("champion", first.version)
    again, other = (Path(shutil.copytree(tiny_model, tmp_path / name)) for name in ("a", "b"))
    (again / "engines").mkdir()
    (again / "engines" / "int8.onnx").write_bytes(b"made anew")
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    states = [
        promote.state(each, given, made_at="2026-11-24T04:00:00.000Z", metrics={})
        for each in (again, other)
    ]
    assert states[0].version != first.version
    assert [store.withdrawn_as("champion", each) for each in states] == [first.version, None]


def test_a_changed_file_of_a_version_is_refused_by_the_worker(
    tiny_model: Path, options: TrainerSettings
) -> None:
    promotion = put(tiny_model, options)
    config = Path(options.registry) / "maum" / promotion.version / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(ModelError, match="differs from its manifest"):
        workers.resolve(f"registry:{options.registry}#champion")


def test_a_version_says_what_it_was_made_from(tiny_model: Path, options: TrainerSettings) -> None:
    promotion = put(tiny_model, options)
    folder = Path(options.registry) / "maum" / promotion.version
    stated = json.loads((folder / FILE_NAME).read_text())
    assert stated["parent"] == options.student
    assert stated["settings"]["selection"] == "seed"
    assert set(stated["files"]) == {path.name for path in folder.iterdir()} - {FILE_NAME}


def test_a_disk_that_has_no_room_for_a_version_is_one_line_and_the_next_try_puts_it(
    tiny_model: Path, options: TrainerSettings
) -> None:
    first = put(tiny_model, options)
    store = Registry(options.registry, options.name)
    room = (tiny_model / "model.safetensors").stat().st_size // 2
    with full_after(room), pytest.raises(RegistryError, match="cannot be written: ") as caught:
        put(tiny_model, options, "2026-11-25", expected=first.version)
    assert "\n" not in str(caught.value)
    assert (store.versions.names(), store.alias("champion")) == ([first.version], first)
    second = put(tiny_model, options, "2026-11-25", expected=first.version)
    assert store.alias("champion") == second


def test_a_version_that_another_trainer_put_into_a_store_is_seen_at_once(
    tiny_model: Path, options: TrainerSettings, bucket: str
) -> None:
    """The library of the store remembers what it listed."""
    given = options.model_copy(update={"registry": bucket})
    store = Registry(bucket, given.name)
    first = put(tiny_model, given)
    assert store.versions.names() == [first.version]
    elsewhere, root = fsspec.core.url_to_fs(bucket, skip_instance_cache=True)
    elsewhere.pipe_file(f"{root}/{given.name}/2026.11.25-0/{FILE_NAME}", b"{}")
    assert store.versions.names() == [first.version, "2026.11.25-0"]
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
