"""Files of rows: JSON Lines, CSV, TSV and Parquet, in UTF-8, each row as it stands there."""

import codecs
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

KINDS: Final = (".jsonl", ".csv", ".tsv", ".parquet")
MARKS: Final = {  # the longer ones first: UTF-16's mark begins one of UTF-32
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
NULS: Final = 0.05  # of the bytes: in UTF-16 each space, tab and digit has one, in UTF-8 none has


class DataError(Exception):
    """A file cannot be used; the message is one clear line."""


def read(path: Path) -> list[dict[str, Any]]:
    """Every row of a file, as it stands there. Raises DataError."""
    reader = {".jsonl": _jsonl, ".csv": _csv, ".tsv": _tsv, ".parquet": _parquet}.get(path.suffix)
    if reader is None:
        raise DataError(f"{path}: the name must end in one of {', '.join(KINDS)}")
    try:
        rows = reader(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    if not rows:
        raise DataError(f"{path} is empty")
    return rows


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows`; the columns are those of the first. Raises DataError, such as a full disk."""
    import pyarrow as pa  # noqa: PLC0415  (lazy: --help need not wait for it)
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path, compression="zstd")
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be written: {error}") from error


def _decoded(path: Path) -> str:
    raw = path.read_bytes()
    if wide := _wide(raw):
        raise DataError(f"{path} is {wide.upper()}, not UTF-8; {_convert(wide)}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line} is not UTF-8; {_convert('cp949')}") from None


def _wide(raw: bytes) -> str | None:
    """The encoding of several bytes a letter that a file's mark, or many NULs, show."""
    for mark, name in MARKS.items():
        if raw.startswith(mark):
            return name
    if raw.count(0) <= NULS * len(raw):
        return None
    return "utf-16le" if raw[1::2].count(0) > raw[::2].count(0) else "utf-16be"


def _convert(encoding: str) -> str:
    return f"convert it (iconv -f {encoding} -t utf-8) first"


def _jsonl(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if "\\u" in line:  # half an emoji is JSON, but no tokenizer and no Parquet takes it
                json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{path}: line {number} has half a character (a lone surrogate)"
            ) from None
        except ValueError as error:
            raise DataError(f"{path}: line {number} is no JSON: {error}") from None
        except RecursionError:
            raise DataError(f"{path}: line {number} is nested too deep to be read") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number} is no JSON object")
        rows.append(row)
    if rows and (lacking := [n for n, row in enumerate(rows, 1) if row.keys() != rows[0].keys()]):
        raise DataError(f"{path}: row {lacking[0]} has other fields than the first")
    return rows


def _csv(path: Path) -> list[dict[str, Any]]:
    return _table(path, csv.DictReader(io.StringIO(_decoded(path), newline=""), strict=True))


def _tsv(path: Path) -> list[dict[str, Any]]:
    # No quoting: a quotation mark in chat is a quotation mark.
    file = io.StringIO(_decoded(path), newline="")
    return _table(path, csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _table(path: Path, reader: "csv.DictReader[str]") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(f"{path}: line {reader.line_num} has not as many fields as the top")
            rows.append(dict(row))
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from None
    return rows


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa  # noqa: PLC0415  (as above)
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"{path} is no Parquet file: {str(error).splitlines()[0]}") from None
    except UnicodeDecodeError:  # its strings are whatever bytes somebody put there
        raise DataError(f"{path} has text that is not UTF-8") from None
    return rows
