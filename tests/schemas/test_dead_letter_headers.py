"""The headers of a dead letter."""

from schemas import deadletter
from schemas.deadletter import Reason


def test_the_headers_are_utf_8_and_in_the_order_of_the_contract() -> None:
    headers = deadletter.headers(
        Reason.INVALID, "DecodeError: 잘못됨", "chat.messages", 2, 41, "1.0.0"
    )

    assert headers == [
        ("dlq.reason", b"invalid"),
        ("dlq.error", "DecodeError: 잘못됨".encode()),
        ("dlq.topic", b"chat.messages"),
        ("dlq.partition", b"2"),
        ("dlq.offset", b"41"),
        ("dlq.worker", b"1.0.0"),
    ]


def test_the_reasons_are_those_of_the_contract() -> None:
    assert [str(reason) for reason in Reason] == [
        "undecodable",
        "invalid",
        "too_large",
        "unclassifiable",
    ]


def test_an_error_that_is_not_unicode_still_makes_a_header() -> None:
    headers = deadletter.headers(Reason.UNDECODABLE, "bad \ud800", "t", 0, 0, "1")

    assert dict(headers)["dlq.error"] == rb"bad \ud800"
