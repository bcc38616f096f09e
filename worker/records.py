"""Record batches as aiokafka reads them, but for header names that are not UTF-8.

Kafka keeps any bytes as a header's name. aiokafka raises UnicodeDecodeError in the middle of what
it fetched, and never gets past such a record. Here the name is read as Java's client reads it, with
U+FFFD for what is no UTF-8; the record takes its usual way, and a dead letter gets that name.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

LENGTH_AT: Final = 8  # a batch begins with its first offset, and how many bytes come after `HEAD`
HEAD: Final = 12


def install() -> None:
    """Let every consumer of this process read its batches as `Records`."""
    fetcher.MemoryRecords = Records


class Records:
    """The batches of one fetched partition; what aiokafka asks of its own MemoryRecords."""

    def __init__(self, fetched: bytes) -> None:
        self._left = memoryview(fetched)
        self._batches = MemoryRecords(fetched)

    def size_in_bytes(self) -> int:
        """Of all that was fetched."""
        return int(self._batches.size_in_bytes())

    def has_next(self) -> bool:
        """Whether one more batch is whole."""
        return bool(self._batches.has_next())

    def next_batch(self) -> "Batch":
        """The next one. Raises CorruptRecordException."""
        size = HEAD + int.from_bytes(self._left[LENGTH_AT:HEAD])
        raw, self._left = self._left[:size], self._left[size:]
        return Batch(self._batches.next_batch(), raw)


class Batch:
    """aiokafka's fast batch; from a name on that it cannot read, its Python one goes on."""

    def __init__(self, fast: Any, raw: memoryview) -> None:  # noqa: ANN401  (aiokafka is untyped)
        self._fast = fast
        self._raw = raw

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._fast, name)

    def __next__(self) -> Any:  # noqa: ANN401  (a control batch's marker)
        return next(self._fast)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._fast:
                yield record
                read += 1
        except UnicodeDecodeError:
            yield from islice(_LenientBatch(self._raw), read, None)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _Lenient(self._buffer)


class _Lenient(bytearray):
    """Bytes whose parts decode whatever they are."""

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401
        part = super().__getitem__(place)
        return part if isinstance(part, int) else _Lenient(part)

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)
