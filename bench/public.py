"""`classify` on texts that people wrote: comments (KOTE) and questions to a chatbot.

The files are public, but not part of the project: `--data DIR` or BENCH_DATA says where they are.
"""

import tempfile
from pathlib import Path
from typing import Final

from bench.classify import CannotRunError, Row, base_shape, compare
from worker.settings import BUNDLED_MODEL

TEXTS: Final = 512
BASE_TEXTS: Final = 96
FILES: Final = {"kote_44.tsv": "text", "chatbot.tsv": "question"}  # the column that is read


def run(folder: Path | None, rounds: int) -> list[Row]:
    """A row a file, model and precision. Raises CannotRunError without the files."""
    if folder is None:
        raise CannotRunError(f"public: --data DIR says where {' and '.join(FILES)} are")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as made:
        base = base_shape(Path(made))
        for name in FILES:
            texts = read(folder / name)
            found = compare("bundled model", BUNDLED_MODEL, texts, rounds)
            found += compare("RoBERTa-base shape", base, texts[:BASE_TEXTS], rounds)
            rows += [{"texts": name, **row} for row in found]
    return rows


def read(path: Path) -> list[str]:
    """The first texts of `path`, a table with a line of names. Raises CannotRunError."""
    try:
        names, *lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CannotRunError(f"public: {path.name} cannot be read ({error.strerror})") from error
    column = names.split("\t").index(FILES[path.name])
    return [line.split("\t")[column] for line in lines[:TEXTS]]
