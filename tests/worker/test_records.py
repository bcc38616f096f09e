"""Batches are read whatever the names of their headers are."""

from collections.abc import Sequence

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from tests.rawnames import Name, records
from worker.records import Records

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = pytest.mark.parametrize("codec", [NONE, GZIP, SNAPPY, LZ4, ZSTD])
LATIN = "préfixe".encode("latin-1")


def batch(names: Sequence[bytes], first: int = 0, codec: int = NONE) -> bytes:
    """A record with two headers for each name, at the offsets from `first` on."""
    made = records(codec)
    for place, name in enumerate(names):
        headers = [("app", None), (Name(name), b"\xff")]
        made.append(place, 7, b"key", b"value %d" % place * 20, headers)
    return first.to_bytes(8) + bytes(made.build())[8:]


def read(fetched: bytes) -> list[tuple[int, bytes, list[tuple[str, bytes | None]]]]:
    batches, found = Records(fetched), []
    while batches.has_next():
        one = batches.next_batch()
        assert one.validate_crc()
        found += [(each.offset, each.value, each.headers) for each in one]
        assert one.next_offset == found[-1][0] + 1
    return found


def expected(names: Sequence[bytes], first: int = 0) -> list[object]:
    texts = [name.decode(errors="replace") for name in names]
    return [
        (first + place, b"value %d" % place * 20, [("app", None), (text, b"\xff")])
        for place, text in enumerate(texts)
    ]


@CODECS
def test_a_name_that_is_not_utf_8_hides_neither_its_record_nor_its_neighbours(codec: int) -> None:
    names = [b"trace", LATIN, b"", "방".encode(), b"\xff\xfe", b"end"]
    assert read(batch(names, codec=codec)) == expected(names)


@given(st.lists(st.lists(st.binary(max_size=9), min_size=1, max_size=5), max_size=4))
def test_any_names_in_any_batches_are_read(batches: list[list[bytes]]) -> None:
    fetched, first = b"", 41
    wanted: list[object] = []
    for names in batches:
        fetched += batch(names, first)
        wanted += expected(names, first)
        first += len(names)
    assert read(fetched) == wanted


def test_a_batch_that_was_cut_off_waits_for_the_next_fetch() -> None:
    whole, half = batch([LATIN]), batch([b"next"], first=1)[:-3]
    assert read(whole + half) == expected([LATIN])
    assert Records(whole + half).size_in_bytes() == len(whole + half)


def test_sound_records_are_the_very_ones_of_aiokafka() -> None:
    fetched = batch([b"a", b"b"])
    ours, theirs = Records(fetched).next_batch(), MemoryRecords(fetched).next_batch()
    assert theirs is not None
    assert ours.base_offset == theirs.base_offset
    assert ours.is_control_batch is theirs.is_control_batch
    assert [type(each) for each in ours] == [type(each) for each in theirs]


def test_what_is_broken_is_still_said_to_be() -> None:
    made = records()
    made.append(0, 7, None, b"value", [(Name(LATIN), b"v")])
    raw = made.build()
    raw[-2] = 0x7E  # the length of the header's value, which is then longer than the record
    with pytest.raises(CorruptRecordException):
        list(Records(bytes(raw)).next_batch())
