"""Header names of any bytes, as producers in C may write them; aiokafka's takes text alone."""

from typing import Self

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

BATCH_BYTES = 262_144


class Name(str):
    """A header's name that is written as `raw`."""

    __slots__ = ("raw",)
    raw: bytes

    def __new__(cls, raw: bytes) -> Self:
        """An empty text, but for that."""
        name = super().__new__(cls)
        name.raw = raw
        return name

    def encode(self, *_: str) -> bytes:
        """Whatever the encoding."""
        return self.raw


def records(codec: int = 0) -> _DefaultRecordBatchBuilderPy:
    """Takes a `Name` where aiokafka's fast builder takes only a `str`."""
    return _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, 0, BATCH_BYTES)


def batch() -> BatchBuilder:
    """The same, for `send_batch` of a producer that is not idempotent."""
    made = BatchBuilder(BATCH_BYTES, 0)
    made._builder = records()
    return made
