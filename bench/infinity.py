"""How many messages a second `classify` does beside Infinity, an embedding server.

Infinity needs an older `transformers`, so it lives in a virtual environment of its own, made here
the first time; torch is shared with the project's. Its engine is asked within its process, so the
cost of HTTP is not held against it, and its best of float32 and int8 counts.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import IO, Final

from bench.classify import (
    BASE_TEXTS,
    CannotRunError,
    Row,
    Side,
    base_shape,
    load,
    our_classify,
    ratio,
)
from worker.limits import available_cores
from worker.settings import BUNDLED_MODEL

ENVIRONMENT: Final = Path(__file__).parent.parent / ".venv-infinity"
PYTHON: Final = ENVIRONMENT / "bin" / "python"
MADE: Final = ENVIRONMENT / ".made"
WANTED: Final = ("infinity-emb[torch,server]", "transformers>=4.57,<4.58")
STATED: Final = ("infinity-emb", "transformers")  # what the figures depend on most
SERVER: Final = Path(__file__).parent / "infinity_server.py"
DTYPES: Final = ("float32", "int8")
OURS: Final = "classify, int8, msg/s"
OVER: Final = "classify over Infinity's best"


def run(texts: list[str], rounds: int) -> list[Row]:
    """A row a model: int8 here, beside Infinity's best. Raises CannotRunError."""
    install()
    rows = [compare("bundled model", BUNDLED_MODEL, texts, rounds)]
    with tempfile.TemporaryDirectory() as folder:
        base = base_shape(Path(folder))
        rows.append(compare("RoBERTa-base shape", base, texts[:BASE_TEXTS], rounds))
    return rows


def compare(name: str, folder: Path, texts: list[str], rounds: int) -> Row:
    """All on the same texts, in turn."""
    rates: dict[str, list[float]] = {"ours": [], **{dtype: [] for dtype in DTYPES}}
    ours = our_classify(folder, texts, load(folder, "int8"))
    with tempfile.TemporaryDirectory() as copy:
        theirs = readable(folder, Path(copy))
        with ExitStack() as engines:
            sides: dict[str, Callable[[], float]] = {"ours": lambda: timed(ours)}
            for dtype in DTYPES:
                sides[dtype] = engines.enter_context(asking(theirs, dtype, texts))
            for number in range(rounds + 1):  # the first to warm up
                for side, measure in sides.items():
                    seconds = measure()
                    if number:
                        rates[side].append(len(texts) / seconds)
    best = max(DTYPES, key=lambda dtype: median(rates[dtype]))
    return {
        "model": name,
        OURS: median(rates["ours"]),
        **{f"Infinity {dtype}, msg/s": median(rates[dtype]) for dtype in DTYPES},
        OVER: ratio(rates, "ours", best),
    }


def timed(side: Side) -> float:
    """Seconds that `side` takes."""
    started = perf_counter()
    side()
    return perf_counter() - started


def install() -> None:
    """Make Infinity's environment, once. Raises CannotRunError in one line."""
    if MADE.exists():
        return
    print(f"infinity: making {ENVIRONMENT.name}, once", flush=True)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    torch = find_spec("torch")
    assert torch is not None  # noqa: S101  (the project needs it)
    assert torch.origin is not None  # noqa: S101
    try:
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True, capture_output=True)  # noqa: S603
        (packages,) = site_packages()
        # Torch is large: what is not installed here is found in the project's own environment.
        shared = Path(torch.origin).parent.parent
        (packages / "shared.pth").write_text(f"{shared}\n", encoding="utf-8")
        pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *WANTED], check=True, capture_output=True)  # noqa: S603
        subprocess.run([PYTHON, "-c", "import infinity_emb"], check=True, capture_output=True)  # noqa: S603
    except (subprocess.CalledProcessError, OSError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        last = said.decode(errors="replace").strip().splitlines()[-1]
        raise CannotRunError(f"infinity: cannot be installed here ({last})") from error
    MADE.touch()


def site_packages() -> list[Path]:
    """Where the environment has its libraries; nothing before it is made."""
    return list((ENVIRONMENT / "lib").glob("python*/site-packages"))


def versions() -> str:
    """What is installed there: not what is shared, nor what this process has."""
    there = distributions(path=list(map(str, site_packages())))
    # A wheel may spell its own name with either sign.
    found = {each.name.replace("_", "-").lower(): each.version for each in there}
    return ", ".join(f"{name} {found[name]}" for name in STATED)


def readable(folder: Path, copy: Path) -> Path:
    """`folder` as an older `transformers` reads it: it knows the tokenizer's class by no name."""
    for path in folder.iterdir():
        if path.name != "tokenizer_config.json":
            (copy / path.name).symlink_to(path.resolve())
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (copy / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return copy


@contextmanager
def asking(folder: Path, dtype: str, texts: Sequence[str]) -> "Iterator[Ask]":
    """An engine that classifies all texts each time it is asked; ended with the block."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": f"{available_cores()}",  # as ours has them
    }
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(  # noqa: S603
            [PYTHON, SERVER, folder, dtype],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as child,
    ):
        assert child.stdin is not None  # noqa: S101  (pipes, as asked for)
        assert child.stdout is not None  # noqa: S101
        print(json.dumps(texts), file=child.stdin, flush=True)
        try:
            yield Ask(child, child.stdin, child.stdout, said)
        finally:
            child.kill()  # it may be stopped, which only this ends


class Ask:
    """Have the texts classified once."""

    def __init__(
        self, child: "subprocess.Popen[str]", question: IO[str], answer: IO[str], said: IO[bytes]
    ) -> None:
        self._child = child
        self._question, self._answer, self._said = question, answer, said

    def __call__(self) -> float:
        """Seconds that it took. Raises CannotRunError where the engine has ended.

        It is stopped in between: an engine that waits looks round every few milliseconds.
        """
        self._child.send_signal(signal.SIGCONT)
        print(file=self._question, flush=True)
        line = self._answer.readline()
        self._child.send_signal(signal.SIGSTOP)
        if not line:
            self._said.seek(0)
            last = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise CannotRunError(f"infinity: it ended by itself ({' '.join(last)})")
        return float(line)
