"""The printed schemas: what the command does, and that the files in docs are still true."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas import asyncapi, topics
from schemas.__main__ import main

DOCS = Path(__file__).parents[2] / "docs" / "schemas"
NAMES = [
    "chat-message",
    "emotion-event",
    "review-sample",
    "model-promotion",
    "model-manifest",
    "asyncapi",
]


def references(node: object) -> Iterator[str]:
    """Find every ``$ref`` below a node."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(document: dict[str, Any], reference: str) -> object:
    """Follow a reference inside the document. Raises KeyError where it leads nowhere."""
    root, *steps = reference.split("/")
    assert root == "#"
    node: Any = document
    for step in steps:
        node = node[step]
    return node


def test_the_files_in_docs_are_what_the_code_says(tmp_path: Path) -> None:
    assert main(["--write", str(tmp_path / "new" / "folder")]) == 0

    written = {path.name: path.read_text() for path in (tmp_path / "new" / "folder").iterdir()}
    kept = {path.name: path.read_text() for path in DOCS.iterdir()}
    assert written == kept, "run: python -m schemas --write docs/schemas"


def test_all_documents_are_printed_as_one_object(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main([]) == 0

    assert list(json.loads(capfdbinary.readouterr().out)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_one_document_is_printed_alone(
    name: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main([name]) == 0
    alone = json.loads(capfdbinary.readouterr().out)

    main([])

    assert json.loads(capfdbinary.readouterr().out)[name] == alone


@pytest.mark.parametrize(
    "arguments", [["emotion"], ["--wrong"], ["--write"], ["asyncapi", "--write", "somewhere"]]
)
def test_a_wrong_argument_is_said_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)

    printed = capsys.readouterr()
    assert end.value.code == 2
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1


def test_a_folder_that_cannot_be_written_fails_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")

    assert main(["--write", str(tmp_path / "file")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_package_runs_as_a_command_in_any_locale() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "schemas", "emotion-event"],
        cwd=DOCS.parents[1],
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )

    assert "분노" in done.stdout.decode()


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_resolves_inside_its_document(name: str) -> None:
    suffix = "json" if name == "asyncapi" else "schema.json"
    document = json.loads((DOCS / f"{name}.{suffix}").read_bytes())

    for reference in references(document):
        assert resolve(document, reference)


def test_what_a_writer_always_writes_is_required() -> None:
    schema = json.loads((DOCS / "emotion-event.schema.json").read_bytes())

    assert schema["required"] == list(schema["properties"])


def test_what_a_platform_may_leave_out_is_not_required() -> None:
    schema = json.loads((DOCS / "chat-message.schema.json").read_bytes())

    assert schema["required"] == ["message_id", "text"]


def test_the_five_topics_are_channels() -> None:
    channels = asyncapi.document()["channels"]

    assert {channel["address"] for channel in channels.values()} == {
        "chat.messages",
        "chat.emotions",
        "chat.emotions.review",
        "chat.messages.dlq",
        "emotion.models",
    }


def test_only_the_topic_of_models_is_compacted() -> None:
    compacted = [
        channel["address"]
        for channel in asyncapi.document()["channels"].values()
        if "compact" in str(channel["bindings"])
    ]

    assert compacted == [topics.EMOTION_MODELS]


def test_every_channel_is_used_and_every_message_says_its_key() -> None:
    document = asyncapi.document()

    used = {operation["channel"]["$ref"] for operation in document["operations"].values()}
    assert used == {f"#/channels/{name}" for name in document["channels"]}
    for message in document["components"]["messages"].values():
        assert message["bindings"]["kafka"]["key"]["description"]
        assert "traceparent" in message["headers"]["properties"]


def test_a_dead_letter_has_every_header_and_any_payload() -> None:
    letter = asyncapi.document()["components"]["messages"]["DeadLetter"]

    assert letter["headers"]["required"] == [
        "dlq.reason",
        "dlq.error",
        "dlq.topic",
        "dlq.partition",
        "dlq.offset",
        "dlq.worker",
    ]
    assert "type" not in letter["payload"]
