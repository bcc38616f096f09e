"""A model that is too large, for real: the process is allowed less memory than it takes."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from worker.settings import BUNDLED_MODEL

ROOT: Final = Path(__file__).parents[2]
MODEL_BYTES: Final = 800_000_000
ALLOWED_BYTES: Final = 400_000_000  # beyond what the libraries take
PROGRAM: Final = f"""
import resource, sys
import onnx, onnxruntime, safetensors.numpy, torch
from transformers import RobertaForSequenceClassification
from worker.__main__ import main
from worker.engines import export, torch
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {ALLOWED_BYTES}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(main(["classify"]))
"""


def enlarge(folder: Path) -> None:
    """Give the model a huge vocabulary, as a hole in its file of weights."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header: dict[str, Any] = json.loads(content[8 : 8 + size])
    weights = content[8 + size :]
    name = "roberta.embeddings.word_embeddings.weight"
    header["former"] = header[name]  # no byte of the file may be without a name
    hidden = header[name]["shape"][1]
    words = MODEL_BYTES // (4 * hidden)
    end = len(weights) + 4 * hidden * words
    header[name] = {"dtype": "F32", "shape": [words, hidden], "data_offsets": [len(weights), end]}
    names = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(names)) + names + weights)
        file.truncate(8 + len(names) + end)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": words}))


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_a_model_too_large_for_memory_is_one_clear_line(tmp_path: Path, precision: str) -> None:
    model = tmp_path / "large"
    shutil.copytree(BUNDLED_MODEL, model, ignore=shutil.ignore_patterns("engines", "manifest.json"))
    enlarge(model)
    kept = {name: value for name, value in os.environ.items() if "WORKER_" not in name}
    given = {
        "WORKER_MODEL": str(model),
        "WORKER_PRECISION": precision,
        "WORKER_DEVICE": "cpu",
        "WORKER_CACHE_DIR": str(tmp_path / "cache"),
        "WORKER_LOG_LEVEL": "warning",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=kept | given,
        input="안녕\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"worker: the model in {model} does not fit into")
    assert (done.returncode, done.stdout) == (1, "")
