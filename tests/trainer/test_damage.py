"""The first file that is not as the manifest says is named, and how it differs."""

from collections.abc import Mapping

import pytest

from schemas.emotion import EMOTIONS
from schemas.manifest import FILE_NAME, ModelManifest
from trainer import damage

FOLDER = "models/maum/1"
STATED = ModelManifest(
    name="maum",
    version="1",
    created_at="2026-11-24T04:00:00.000Z",
    labels=list(EMOTIONS),
    files={"config.json": "a" * 64, "model.safetensors": "b" * 64},
    parent=None,
    metrics={},
    settings={},
)
SOUND = {f"{FOLDER}/{FILE_NAME}": "c" * 64} | {
    f"{FOLDER}/{name}": sha256 for name, sha256 in STATED.files.items()
}


def found(stored: Mapping[str, str]) -> str | None:
    return damage.find(STATED, FOLDER, stored.keys(), stored.__getitem__)


def test_nothing_is_said_of_what_is_as_stated() -> None:
    assert found(SOUND) is None


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("config.json", None, "is missing"),
        ("config.json", "b" * 64, f"is damaged: it has not the hash that {FILE_NAME} states"),
        ("engines/other.onnx", "a" * 64, "is none of the files of 1"),
    ],
)
def test_what_differs_is_named_with_its_path(name: str, change: str | None, told: str) -> None:
    path = f"{FOLDER}/{name}"
    stored = {at: sha256 for at, sha256 in SOUND.items() if at != path}
    assert found(stored | ({path: change} if change else {})) == f"{path} {told}"


def test_what_is_not_stated_is_told_of_before_anything_is_hashed() -> None:
    there = {*SOUND, f"{FOLDER}/other"}

    def unread(_: str) -> str:
        raise AssertionError

    assert damage.find(STATED, FOLDER, there, unread) == f"{FOLDER}/other is none of the files of 1"
