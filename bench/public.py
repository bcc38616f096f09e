"""`classify` beside the pipeline and Infinity on texts that people wrote: comments and questions.

The files are public, but not part of the project: `--data DIR` or BENCH_DATA says where they are.
"""

import tempfile
from pathlib import Path
from typing import Final

from bench import infinity
from bench.classify import CannotRunError, Row, base_shape, compare
from worker.settings import BUNDLED_MODEL

TEXTS: Final = 512
RATES: Final = tuple(f"Infinity {dtype}, msg/s" for dtype in infinity.DTYPES)
BESIDE: Final = "classify beside it, msg/s"  # in the run that the ratio is of
BEST: Final = "Infinity's best, msg/s"
FILES: Final = {"kote_44.tsv": "text", "chatbot.tsv": "question"}  # the column that is read


def run(folder: Path | None, rounds: int) -> list[Row]:
    """A row a file, model and precision. Raises CannotRunError without the files."""
    if folder is None:
        raise CannotRunError(f"public: --data DIR says where {' and '.join(FILES)} are")
    rows: list[Row] = []
    files = {name: read(folder / name) for name in FILES}
    infinity.install()
    with tempfile.TemporaryDirectory() as made:
        base = base_shape(Path(made))
        for file, texts in files.items():
            for name, model in (("bundled model", BUNDLED_MODEL), ("RoBERTa-base shape", base)):
                found = compare(name, model, texts, rounds)
                beside = infinity.compare(name, model, texts, rounds)
                rows += [{"texts": file, **row, **_of_infinity(row, beside)} for row in found]
    return rows


def _of_infinity(row: Row, beside: Row) -> Row:
    """Its columns, which are about int8."""
    if not str(row["model"]).endswith("int8"):
        return {BESIDE: "", BEST: "", infinity.OVER: ""}
    return {
        BESIDE: beside[infinity.OURS],
        BEST: max(float(beside[name]) for name in RATES),
        infinity.OVER: beside[infinity.OVER],
    }


def read(path: Path) -> list[str]:
    """The first texts of `path`, a table with a line of names. Raises CannotRunError."""
    try:
        names, *lines = path.read_text(encoding="utf-8").splitlines()
        column = names.split("\t").index(FILES[path.name])
        found = dict.fromkeys(line.split("\t")[column] for line in lines)  # each text once
        return list(found)[:TEXTS]
    except OSError as error:
        raise CannotRunError(f"public: {path.name} cannot be read ({error.strerror})") from error
    except (ValueError, IndexError) as error:  # empty, no UTF-8, no such column, a short line
        wanted = f"tab-separated UTF-8 with a column {FILES[path.name]}"
        raise CannotRunError(f"public: {path.name} is no {wanted}") from error
