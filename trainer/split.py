"""Which labelled rows are held out: decided by each text itself, so it stays so as data grows."""

from collections.abc import Sequence
from hashlib import blake2b

from trainer.leakage import W, normal


def split(rows: Sequence[W], share: float, seed: int) -> tuple[list[W], list[W]]:
    """(train, held out): about `share` of the texts; equal texts, however spelt, stay together."""
    held_out = [_draw(normal(row.text), seed) < share for row in rows]
    train = [row for row, held in zip(rows, held_out, strict=True) if not held]
    return train, [row for row, held in zip(rows, held_out, strict=True) if held]


def _draw(text: str, seed: int) -> float:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, salt=str(seed).encode())
    return int.from_bytes(digest.digest(), "big") / 2.0**64
