"""Decisions kept for token sequences that come again: ㅋㅋㅋ, ㅇㅇ, 네.

Packed into bytes, as there are many and they stay: as tuples of numbers, which are objects in
Python, they would take five times the memory.
"""

from array import array
from collections import OrderedDict
from struct import Struct
from typing import Final

from schemas.emotion import EMOTIONS
from worker.decision import Decision
from worker.engines import Tokens

PACKED: Final = Struct(f"<B?dd{len(EMOTIONS)}d")  # emotion, low margin; confidence, margin; scores


class Cache:
    """The latest `entries`: what was asked for longest ago leaves first; 0 keeps nothing."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._packed: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        """Entries held."""
        return len(self._packed)

    def get(self, tokens: Tokens) -> Decision | None:
        """What was decided of `tokens`, if that is still known."""
        if not self._packed:
            return None
        key = _key(tokens)
        packed = self._packed.get(key)
        if packed is None:
            return None
        self._packed.move_to_end(key)
        emotion, low_margin, confidence, margin, *scores = PACKED.unpack(packed)
        return Decision(EMOTIONS[emotion], confidence, margin, low_margin, tuple(scores))

    def put(self, tokens: Tokens, decision: Decision) -> None:
        """Keep `decision`, and let go of what is too much."""
        if not self._entries:
            return
        emotion, confidence, margin, low_margin, scores = decision
        number = EMOTIONS.index(emotion)
        self._packed[_key(tokens)] = PACKED.pack(number, low_margin, confidence, margin, *scores)
        if len(self._packed) > self._entries:
            self._packed.popitem(last=False)

    def clear(self) -> None:
        """Forget all, as another model decides otherwise."""
        self._packed.clear()


def _key(tokens: Tokens) -> bytes:
    return array("I", tokens).tobytes()
