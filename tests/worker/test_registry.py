"""From an alias to a checked folder on this machine's disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from schemas import manifest
from tests import hub
from worker import registry
from worker.classifier import ModelId
from worker.config import ModelError

from .shelf import promote

NOW = "2024-05-01T12:00:00.123Z"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "maum" / "models"


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A registry with one version, at which the alias `champion` points."""
    folder = tmp_path / "registry" / "maum" / "7"
    (folder / "extra").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "extra" / "notes.txt").write_text("안녕")
    promote(folder, tmp_path / "registry")
    return folder


def spec(version: Path) -> str:
    return f"registry:{version.parents[1].as_uri()}#champion"


def test_an_alias_becomes_a_checked_folder(version: Path, cache: Path) -> None:
    found = registry.resolve(spec(version))
    assert found.model == ModelId("maum", "7")
    assert found.folder.parent == cache
    assert (found.folder / "extra" / "notes.txt").read_text() == "안녕"


def test_what_was_fetched_is_not_fetched_again(version: Path) -> None:
    promotion = registry.read_alias(spec(version))
    found = registry.fetch(promotion)
    for path in (version / "config.json", version / manifest.FILE_NAME):
        path.unlink()
    assert registry.fetch(promotion) == found


@pytest.mark.parametrize("name", ["config.json", "extra/notes.txt", manifest.FILE_NAME])
def test_a_tampered_file_is_refused_and_not_kept(version: Path, cache: Path, name: str) -> None:
    path = version / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelError, match=r"differs from its manifest|has the hash") as caught:
        registry.resolve(spec(version))
    assert "\n" not in str(caught.value)
    assert list(cache.iterdir()) == []


def test_an_unexpected_file_is_refused(version: Path) -> None:
    (version / "code.py").write_text("")
    with pytest.raises(ModelError, match=r"unexpected: code\.py"):
        registry.resolve(spec(version))


def test_a_file_that_was_spoilt_in_the_cache_is_fetched_anew(version: Path) -> None:
    found = registry.resolve(spec(version))
    original = (found.folder / "config.json").read_bytes()
    (found.folder / "config.json").write_text("[]")
    assert registry.resolve(spec(version)) == found
    assert (found.folder / "config.json").read_bytes() == original


def test_an_alias_that_is_not_there_is_one_line(version: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read") as caught:
        registry.resolve(spec(version).replace("champion", "nobody"))
    assert "\n" not in str(caught.value)


def test_an_alias_that_is_no_promotion_is_one_line(version: Path) -> None:
    (version.parents[1] / "aliases" / "champion.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read") as caught:
        registry.resolve(spec(version))
    assert "\n" not in str(caught.value)


def test_a_folder_with_a_manifest_is_named_by_it(version: Path) -> None:
    assert registry.resolve(str(version)).model == ModelId("maum", "7")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_a_folder_without_one_has_the_version_of_its_files(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text("1")
    first = registry.resolve(str(folder)).model
    assert first.name == "mine"
    assert registry.resolve(str(folder)).model == first
    (folder / name).write_text("2")
    assert registry.resolve(str(folder)).model.version != first.version


@pytest.mark.parametrize(
    "name", ["nowhere", "nowhere@refs/pr/1", "./no/where", "a/b/c", "~nobody-of-this-name/x"]
)
def test_what_is_no_model_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="is no folder"):
        registry.resolve(name)


ROOT = Path(__file__).parents[2]
RESOLVE = """
import sys
from worker import registry
from worker.classifier import ModelError
try:
    found = registry.resolve(sys.argv[1])
except ModelError as error:
    sys.exit(str(error))
print(found.folder, found.model.name, found.model.version, sep="\\n")
"""


def resolved_offline(cache: Path, spec: str) -> "subprocess.CompletedProcess[str]":
    """By what the cache has."""
    return resolved(spec, {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"})


def resolved(spec: str, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: the hub's client reads its variables once."""
    return subprocess.run(
        [sys.executable, "-c", RESOLVE, spec],
        cwd=ROOT,
        env=os.environ | variables,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_hub_id_is_a_folder_of_its_commit(tmp_path: Path, tiny_model: Path) -> None:
    """From the hub's cache, as there may be no network here."""
    snapshot = tmp_path / "hub/models--someone--tiny/snapshots/abc123"
    shutil.copytree(tiny_model, snapshot)
    (tmp_path / "hub/models--someone--tiny/refs").mkdir()
    (tmp_path / "hub/models--someone--tiny/refs/main").write_text("abc123")
    done = resolved_offline(tmp_path / "hub", "someone/tiny")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(snapshot), "someone/tiny", "abc123"]


def test_a_hub_id_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    done = resolved_offline(tmp_path / "hub", "someone/tiny")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("someone/tiny cannot be had from the Hugging Face hub: ")


def test_a_model_is_downloaded_from_a_hub_without_what_is_pickled(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "tiny")
    (folder / "pytorch_model.bin").write_bytes(b"code")
    with hub.running(someone__tiny=folder) as there:
        done = resolved("someone/tiny", there.environment(tmp_path / "cache"))
        assert done.returncode == 0, done.stderr
        _, *model = done.stdout.splitlines()
        assert model == ["someone/tiny", there.commit("someone/tiny")]
        assert any(path.endswith("model.safetensors") for path in there.asked)
        assert not any(path.endswith("pytorch_model.bin") for path in there.asked)


def test_a_hub_id_stays_with_the_revision_that_it_names(tmp_path: Path, tiny_model: Path) -> None:
    old = shutil.copytree(tiny_model, tmp_path / "old")
    (old / "README.md").write_text("old")
    with hub.running(someone__tiny=tiny_model) as there:
        there.models["someone/tiny@v1"] = old
        commit = there.commit("someone/tiny@v1")
        assert commit != there.commit("someone/tiny")
        for revision in ("v1", commit):
            done = resolved(f"someone/tiny@{revision}", there.environment(tmp_path / revision))
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[1:] == ["someone/tiny", commit]
        missing = resolved("someone/tiny@v2", there.environment(tmp_path / "cache"))
    assert missing.returncode == 1
    (line,) = missing.stderr.splitlines()
    assert line.startswith("someone/tiny@v2 cannot be had from the Hugging Face hub: ")


def test_a_folder_whose_name_looks_pinned_is_a_folder(tmp_path: Path, tiny_model: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "tiny@v1")
    assert registry.resolve(str(folder)).folder == folder


def test_a_proxy_that_refuses_the_hub_is_one_line(tmp_path: Path) -> None:
    with hub.running() as refuses:  # it knows no CONNECT
        through = {"HTTPS_PROXY": refuses.url, "HF_HUB_CACHE": str(tmp_path)}
        done = resolved("someone/tiny", through)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("someone/tiny cannot be had from the Hugging Face hub: ")
