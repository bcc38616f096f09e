"""Print the JSON Schemas and the AsyncAPI document, or write them to files.

Exit codes: 0 done, 1 a file could not be written, 2 the arguments are wrong.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import orjson

from schemas import asyncapi
from schemas.arguments import Parser
from schemas.chat import ChatMessage
from schemas.emotion import EmotionEvent
from schemas.manifest import ModelManifest
from schemas.promotion import ModelPromotion
from schemas.record import Record
from schemas.review import ReviewSample

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _json_schema(
    record: type[Record], mode: Literal["validation", "serialization"]
) -> dict[str, Any]:
    return {"$schema": _DIALECT, **record.model_json_schema(mode=mode)}


# The platform may leave out what has a default; our own writers leave nothing out.
DOCUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "chat-message": partial(_json_schema, ChatMessage, "validation"),
    "emotion-event": partial(_json_schema, EmotionEvent, "serialization"),
    "review-sample": partial(_json_schema, ReviewSample, "serialization"),
    "model-promotion": partial(_json_schema, ModelPromotion, "serialization"),
    "model-manifest": partial(_json_schema, ModelManifest, "serialization"),
    "asyncapi": asyncapi.document,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments ask. Raises SystemExit (2) where they are wrong."""
    parser = Parser(
        prog="python -m schemas",
        description="Print the JSON Schema of every record, and the topics as AsyncAPI 3.0.",
    )
    parser.add_argument(
        "name", nargs="?", choices=list(DOCUMENTS), help="print this one alone, not one object"
    )
    parser.add_argument(
        "--write", metavar="DIR", type=Path, help="write each to its own file in DIR instead"
    )
    options = parser.parse_args(arguments)
    if options.write is not None:
        if options.name is not None:
            parser.error("--write writes every document: give it no name")
        return _write(options.write)
    if options.name is not None:
        document = DOCUMENTS[options.name]()
    else:
        document = {name: build() for name, build in DOCUMENTS.items()}
    sys.stdout.buffer.write(_to_bytes(document))
    return 0


def _write(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, build in DOCUMENTS.items():
            suffix = "json" if name == "asyncapi" else "schema.json"
            (folder / f"{name}.{suffix}").write_bytes(_to_bytes(build()))
    except OSError as error:
        sys.stderr.write(f"python -m schemas: {error}\n")
        return 1
    return 0


def _to_bytes(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    sys.exit(main())
