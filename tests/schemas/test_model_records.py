"""ModelPromotion and ModelManifest, and whether a folder is what its manifest says."""

import hashlib
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from schemas.emotion import EMOTIONS
from schemas.manifest import FILE_NAME, ModelManifest, build_files, verify
from schemas.promotion import ModelPromotion

HASH = "0123456789abcdef" * 4

PROMOTION: dict[str, Any] = {
    "schema_version": 1,
    "name": "maum",
    "version": "2024.05.01-2",
    "alias": "champion",
    "uri": "s3://models/maum/2024.05.01-2",
    "sha256": HASH,
    "previous_version": None,
    "promoted_at": "2024-05-01T12:00:00.123Z",
    "metrics": {"macro_f1": 0.75, "accuracy": 0.8125},
}

MANIFEST: dict[str, Any] = {
    "schema_version": 1,
    "name": "maum",
    "version": "2024.05.01-2",
    "created_at": "2024-05-01T12:00:00.123Z",
    "labels": list(EMOTIONS),
    "files": {"config.json": HASH, "onnx/model.onnx": HASH},
    "parent": "klue/roberta-base",
    "metrics": {"macro_f1": 0.75},
    "settings": {
        "epochs": 3,
        "learning_rate": 2.0,
        "bf16": True,
        "scheduler": "linear",
        "cap": None,
    },
    "int8": {"agreement": 0.995, "macro_f1_delta": -0.001, "used": True},
}

RECORDS = pytest.mark.parametrize(
    ("record", "fields"), [(ModelPromotion, PROMOTION), (ModelManifest, MANIFEST)]
)

MODEL_FIELDS_REFUSED = [
    ("schema_version", 2),
    ("name", ""),
    ("name", "../maum"),
    ("name", "/maum"),
    ("name", "maum/../../x"),
    ("version", ""),
    ("version", ".."),
    ("version", "a/b"),
    ("version", 3),
    ("metrics", {"macro_f1": "0.75"}),
    ("metrics", {"macro_f1": float("nan")}),
    ("metrics", None),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a model folder of three files and a manifest."""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"graph")
    (tmp_path / "onnx" / FILE_NAME).write_bytes(b"somebody else's")
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / FILE_NAME).write_bytes(b"this one's own")
    return tmp_path


def manifest_of(folder: Path) -> ModelManifest:
    """Give the manifest that is true of the folder now."""
    return ModelManifest.model_validate({**MANIFEST, "files": build_files(folder)})


@RECORDS
def test_a_record_is_written_as_it_was_read_in_the_order_of_its_fields(
    record: type[ModelPromotion | ModelManifest], fields: dict[str, Any]
) -> None:
    read = record.model_validate(fields)

    assert orjson.dumps(read.model_dump()) == orjson.dumps(fields)


@RECORDS
def test_fields_of_a_later_writer_are_ignored(
    record: type[ModelPromotion | ModelManifest], fields: dict[str, Any]
) -> None:
    later = {**fields, "signed_by": "somebody"}

    assert record.model_validate(later) == record.model_validate(fields)


@RECORDS
def test_every_field_but_the_version_and_the_int8_check_is_required(
    record: type[ModelPromotion | ModelManifest], fields: dict[str, Any]
) -> None:
    for field in fields.keys() - {"schema_version", "int8"}:
        with pytest.raises(ValidationError, match=field):
            record.model_validate({key: value for key, value in fields.items() if key != field})


def test_the_bytes_of_a_promotion_stay_as_they_are() -> None:
    promotion = ModelPromotion.model_validate(PROMOTION)

    assert orjson.dumps(promotion.model_dump()) == (
        b'{"schema_version":1,"name":"maum","version":"2024.05.01-2","alias":"champion",'
        b'"uri":"s3://models/maum/2024.05.01-2",'
        b'"sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",'
        b'"previous_version":null,"promoted_at":"2024-05-01T12:00:00.123Z",'
        b'"metrics":{"macro_f1":0.75,"accuracy":0.8125}}'
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *MODEL_FIELDS_REFUSED,
        ("alias", ""),
        ("alias", "../champion"),
        ("uri", ""),
        ("uri", None),
        ("sha256", HASH.upper()),
        ("sha256", HASH[1:]),
        ("sha256", f"{HASH}\n"),
        ("previous_version", ""),
        ("promoted_at", "2024-05-01T12:00:00Z"),
    ],
)
def test_a_wrong_field_of_a_promotion_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        ModelPromotion.model_validate({**PROMOTION, field: value})

    assert {error["loc"][0] for error in refusal.value.errors()} == {field}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *MODEL_FIELDS_REFUSED,
        ("created_at", "2024-05-01"),
        ("labels", []),
        ("labels", list(EMOTIONS[:5])),
        ("labels", [*EMOTIONS[:5], EMOTIONS[0]]),
        ("labels", [*EMOTIONS, EMOTIONS[0]]),
        ("labels", [*EMOTIONS[:5], "joy"]),
        ("files", {"config.json": "short"}),
        *(
            ("files", {path: HASH})
            for path in [
                "",
                ".",
                "..",
                "../x",
                "a/../../x",
                "/etc/x",
                "./x",
                "a//x",
                "a\\x",
                "c:x",
                "x\x00",
                FILE_NAME,
            ]
        ),
        ("parent", ""),
        ("settings", {"seeds": [1, 2]}),
        ("settings", {"rate": float("inf")}),
        ("int8", {"agreement": 1.5, "macro_f1_delta": 0.0, "used": True}),
        ("int8", {"agreement": 0.5, "macro_f1_delta": 0.0}),
    ],
)
def test_a_wrong_field_of_a_manifest_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        ModelManifest.model_validate({**MANIFEST, field: value})

    assert {error["loc"][0] for error in refusal.value.errors()} == {field}


def test_a_model_may_have_its_labels_in_another_order() -> None:
    labels = list(reversed(EMOTIONS))

    assert ModelManifest.model_validate({**MANIFEST, "labels": labels}).labels == labels


def test_settings_keep_their_types() -> None:
    settings = ModelManifest.model_validate(MANIFEST).settings

    assert {key: type(value) for key, value in settings.items()} == {
        "epochs": int,
        "learning_rate": float,
        "bf16": bool,
        "scheduler": str,
        "cap": type(None),
    }


def test_every_file_but_the_folders_own_manifest_is_hashed_in_order(folder: Path) -> None:
    files = build_files(folder)

    assert list(files.items()) == [
        ("config.json", hashlib.sha256(b"{}").hexdigest()),
        ("onnx/manifest.json", hashlib.sha256(b"somebody else's").hexdigest()),
        ("onnx/model.onnx", hashlib.sha256(b"graph").hexdigest()),
    ]


def test_a_folder_is_what_it_was_when_its_files_were_hashed(folder: Path) -> None:
    assert verify(folder, manifest_of(folder)) == []


def test_every_difference_is_named(folder: Path) -> None:
    manifest = manifest_of(folder)
    (folder / "config.json").unlink()
    (folder / "onnx" / "model.onnx").write_bytes(b"graft")
    (folder / "extra.bin").write_bytes(b"")
    actual, expected = (hashlib.sha256(data).hexdigest() for data in (b"graft", b"graph"))

    assert verify(folder, manifest) == [
        "missing: config.json",
        "unexpected: extra.bin",
        f"changed: onnx/model.onnx (sha256 {actual}, expected {expected})",
    ]


def test_a_folder_in_a_files_place_is_a_missing_file(folder: Path) -> None:
    manifest = manifest_of(folder)
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()

    assert verify(folder, manifest) == ["missing: config.json"]


def test_a_link_to_a_file_counts_as_the_file(folder: Path) -> None:
    manifest = manifest_of(folder)
    (folder / "config.json").rename(folder.parent / f"{folder.name}-blob")
    (folder / "config.json").symlink_to(folder.parent / f"{folder.name}-blob")

    assert verify(folder, manifest) == []
    assert build_files(folder) == manifest.files


def test_a_link_to_nothing_is_a_missing_file(folder: Path) -> None:
    manifest = manifest_of(folder)
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(folder / "nowhere")

    assert verify(folder, manifest) == ["missing: config.json"]
    assert "config.json" not in build_files(folder)


def test_what_is_no_file_is_not_hashed_and_not_expected(folder: Path) -> None:
    manifest = manifest_of(folder)
    os.mkfifo(folder / "pipe")
    (folder / "more").symlink_to(folder / "onnx", target_is_directory=True)

    assert build_files(folder) == manifest.files
    assert verify(folder, manifest) == ["unexpected: more", "unexpected: pipe"]


def test_an_empty_folder_inside_makes_no_difference(folder: Path) -> None:
    manifest = manifest_of(folder)
    (folder / "empty").mkdir()

    assert verify(folder, manifest) == []


def test_a_folder_that_is_not_there_is_an_error(folder: Path) -> None:
    manifest = manifest_of(folder)

    with pytest.raises(NotADirectoryError):
        verify(folder / "gone", manifest)
    with pytest.raises(NotADirectoryError):
        build_files(folder / "config.json")
