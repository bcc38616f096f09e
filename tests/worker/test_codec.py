"""What is read from the input topic, and what is refused, with the right reason and no text."""

import json
import tracemalloc
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.chat import ChatMessage
from schemas.deadletter import Reason
from worker import codec
from worker.codec import DecodeError, dead_letter, decode, trace_headers

from .fakes import FakeRecord

LIMIT = 524_288
WRITTEN = "비밀-이야기"
BODY = f'"message_id":"m-1","text":"{WRITTEN}"'


def refusal(value: bytes, limit: int = LIMIT) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(value, limit)
    return caught.value


UNDECODABLE = {
    "nothing": b"",
    "not UTF-8": b'{"message_id":"m","text":"' + WRITTEN.encode() + b'\xff"}',
    "UTF-16": f"{{{BODY}}}".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + f"{{{BODY}}}".encode(),
    "not JSON": f"message: {WRITTEN}".encode(),
    "cut off": f"{{{BODY}".encode(),
    "something behind": f"{{{BODY}}} {WRITTEN}".encode(),
    "an array": f"[{{{BODY}}}]".encode(),
    "a string": f'"{WRITTEN}"'.encode(),
    "a number": b"12",
    "null": b"null",
    "NaN": f'{{{BODY},"sent_at":NaN}}'.encode(),
    "infinity": f'{{{BODY},"other":-Infinity}}'.encode(),
    "an escaped lone surrogate": rf'{{"message_id":"m","text":"{WRITTEN}\ud800"}}'.encode(),
    "an encoded lone surrogate": f'{{"message_id":"m","text":"{WRITTEN}'.encode()
    + b'\xed\xa0\x80"}',
    "a raw control character": f'{{"message_id":"m","text":"{WRITTEN}\n"}}'.encode(),
    "arrays nested 5,000 deep": f'{{{BODY},"x":{"[" * 5000}{"]" * 5000}}}'.encode(),
    "objects nested 5,000 deep": (f'{{{BODY},"x":' + '{"x":' * 5000 + "1" + "}" * 5001).encode(),
    "a comment": f"{{{BODY}}} // {WRITTEN}".encode(),
}


@pytest.mark.parametrize("value", UNDECODABLE.values(), ids=UNDECODABLE)
def test_what_is_no_json_object_is_undecodable(value: bytes) -> None:
    error = refusal(value)
    assert error.reason is Reason.UNDECODABLE
    assert WRITTEN not in str(error)


INVALID = {
    "no message_id": f'{{"text":"{WRITTEN}"}}',
    "no text": f'{{"message_id":"{WRITTEN}"}}',
    "empty object": "{}",
    "empty message_id": f'{{"message_id":"","text":"{WRITTEN}"}}',
    "long message_id": f'{{"message_id":"{WRITTEN * 50}","text":"a"}}',
    "message_id is a number": f'{{"message_id":1,"text":"{WRITTEN}"}}',
    "text is null": f'{{"message_id":"{WRITTEN}","text":null}}',
    "text is a list": f'{{"message_id":"m","text":["{WRITTEN}"]}}',
    "room_id is a number": f'{{{BODY},"room_id":7}}',
    "user_id is an object": f'{{{BODY},"user_id":{{"{WRITTEN}":1}}}}',
    "sent_at is no moment": f'{{{BODY},"sent_at":"{WRITTEN}"}}',
    "sent_at is true": f'{{{BODY},"sent_at":true}}',
    "sent_at is negative": f'{{{BODY},"sent_at":-1}}',
    "sent_at is a fraction": f'{{{BODY},"sent_at":1.5}}',
    "NUL in the text": rf'{{"message_id":"m","text":"{WRITTEN}\u0000"}}',
    "NUL in the id": rf'{{"message_id":"{WRITTEN}\u0000","text":"a"}}',
    "a name twice": f'{{{BODY},"text":"{WRITTEN}!"}}',
    "a name twice, equal": f"{{{BODY},{BODY}}}",
    "a name twice, once escaped": rf'{{{BODY},"t\u0065xt":"{WRITTEN}"}}',
    "a name twice, behind an escaped quote": (
        rf'{{"message_id":"\"","text":"a\\","text":"{WRITTEN}"}}'
    ),
    "a name twice, a number": f'{{{BODY},"x":1,"x":2}}',
    "a name twice, of another type": f'{{{BODY},"x":null,"x":"{WRITTEN}"}}',
    "a name twice, nested": f'{{{BODY},"x":{{"y":1,"y":2}}}}',
    "a name twice, nested in a list": f'{{{BODY},"x":[[{{"y":1,"\\u0079":2}}]]}}',
}


@pytest.mark.parametrize("value", INVALID.values(), ids=INVALID)
def test_an_object_that_is_no_message_is_invalid(value: str) -> None:
    error = refusal(value.encode())
    assert error.reason is Reason.INVALID
    assert WRITTEN not in str(error)


def test_too_many_bytes_are_too_large() -> None:
    value = f"{{{BODY}}}".encode()
    assert decode(value, len(value)).text == WRITTEN
    error = refusal(value, len(value) - 1)
    assert error.reason is Reason.TOO_LARGE
    assert str(error) == f"TooLarge: {len(value)} bytes, at most {len(value) - 1} are taken"


def test_key_and_headers_count_as_the_value_does() -> None:
    record = FakeRecord(value=b"{}", key=b"room", headers=[("trace", b"1234"), ("empty", b"")])
    assert codec.size(record) == 2 + 4 + 5 + 4 + 5
    with pytest.raises(DecodeError) as refused:
        codec.decode(b"{}", 19, codec.size(record))
    assert str(refused.value) == "TooLarge: 20 bytes, at most 19 are taken"


VALID = {
    "plain": (f"{{{BODY}}}", WRITTEN),
    "spaces": (f" {{ {BODY} }}\r\n", WRITTEN),
    "empty text": ('{"message_id":"m","text":""}', ""),
    "unicode escapes": (r'{"message_id":"m","text":"\uc548\ub155 \ud83d\ude0a"}', "안녕 😊"),
    "escaped quotes": (r'{"message_id":"m","text":"\"네\" \\"}', '"네" \\'),
    "an escaped quote as \\u0022": (r'{"message_id":"m","text":"\u0022"}', '"'),
    "a name in the text": (
        r'{"message_id":"m","text":"\"text\":\"a\",\"text\":\"b\""}',
        '"text":"a","text":"b"',
    ),
    "unknown fields": (f'{{{BODY},"a":1,"b":true,"c":null,"d":"e","f":-1.5e3}}', WRITTEN),
    "nested unknown fields": (
        f'{{{BODY},"x":{{"text":"t","y":[{{"text":1}},{{"text":2}}]}}}}',
        WRITTEN,
    ),
    "nested 500 deep": (f'{{{BODY},"x":{"[" * 500}{"]" * 500}}}', WRITTEN),
    "a number of 5,000 digits": (f'{{{BODY},"x":[0.{"1" * 5000}]}}', WRITTEN),
    "nulls": (f'{{{BODY},"room_id":null,"user_id":null,"sent_at":null}}', WRITTEN),
}


@pytest.mark.parametrize(("value", "text"), VALID.values(), ids=VALID)
def test_a_message_is_read(value: str, text: str) -> None:
    assert decode(value.encode(), LIMIT).text == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
known = {"message_id", "text", "room_id", "user_id", "sent_at"}
others = st.dictionaries(st.text(max_size=5).filter(lambda name: name not in known), json_values)


@given(texts, others)
def test_any_text_and_any_other_fields_are_read(text: str, other: dict[str, Any]) -> None:
    value = orjson.dumps({"message_id": "m", **other, "text": text})
    assert decode(value, LIMIT).text == text


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_decode_error(value: bytes) -> None:
    with suppress(DecodeError):
        decode(value, LIMIT)


def test_a_dead_letter_keeps_the_record_and_says_why() -> None:
    record = FakeRecord(value=b"\xff", key=None, headers=[("traceparent", b"00-1"), ("a", b"\xfe")])
    letter = dead_letter("dlq", record, Reason.INVALID, "ValidationError: 텍스트\ud800")
    assert (letter.topic, letter.key, letter.value) == ("dlq", None, b"\xff")
    assert letter.headers == [
        ("traceparent", b"00-1"),
        ("a", b"\xfe"),
        ("dlq.reason", b"invalid"),
        ("dlq.error", "ValidationError: 텍스트\\ud800".encode()),
        ("dlq.topic", b"chat.messages"),
        ("dlq.partition", b"2"),
        ("dlq.offset", b"41"),
        ("dlq.worker", b"0.1.0"),
    ]


def test_the_trace_context_passes_and_nothing_else() -> None:
    headers = [("traceparent", b"00-1"), ("secret", b"x"), ("tracestate", b"a=b")]
    assert trace_headers(headers) == [("traceparent", b"00-1"), ("tracestate", b"a=b")]


NAMES = ("message_id", "text", "room_id", "user_id", "sent_at", "other")
VALUES: st.SearchStrategy[object] = (
    st.text('가a"\\\u0000{}:', max_size=4)
    | st.sampled_from(["x" * 256, "x" * 257, "2026-11-24T09:00:00.5+09:00", "2026-11-24"])
    | st.none()
    | st.booleans()
    | st.integers(-1, 10)
    | st.just([])
    | st.just({})
    | st.just({"text": "t"})
    | st.just(["t"])
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8))
def test_the_quick_way_takes_only_what_the_thorough_one_takes_and_reads_it_alike(
    pairs: list[tuple[str, Any]],
) -> None:
    pairs = [("message_id", "m"), ("text", "글"), *pairs]
    body = ",".join(f"{json.dumps(name)}:{orjson.dumps(each).decode()}" for name, each in pairs)
    value = f"{{{body}}}".encode()
    quick = codec._plain(value, orjson.loads(value))
    if quick is not None:
        assert len(dict(pairs)) == len(pairs)
        thorough = ChatMessage.model_validate_json(value)
        assert quick._asdict() == thorough.model_dump()


def test_the_quick_way_takes_what_a_platform_sends() -> None:
    fields = {
        "message_id": "m-1",
        "text": "오늘 ㅋㅋ",
        "room_id": "room",
        "user_id": None,
        "sent_at": "2026-11-24T09:00:00.000+09:00",
        "platform": 7,
    }
    assert codec._plain(orjson.dumps(fields), fields) is not None


def test_an_encoded_record_takes_no_more_memory_than_its_bytes() -> None:
    fields = {"message_id": "m-1", "text": WRITTEN * 20}
    tracemalloc.start()
    try:
        encoded = [codec.encode(fields) for _ in range(100)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert orjson.loads(encoded[0]) == fields
    assert held / len(encoded) < len(encoded[0]) + 100
