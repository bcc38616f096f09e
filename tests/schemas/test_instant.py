"""Moments on the wire: the quick way says what the thorough one says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instant import datetime_text, parse, text_of

two_digits = st.integers(0, 61).map("{:02d}".format)
days = st.tuples(
    st.sampled_from(["0000", "0001", "1969", "2024", "2026", "9999"]), two_digits, two_digits
).map("-".join)
clocks = st.tuples(two_digits, two_digits, two_digits).map(":".join)
fractions = st.sampled_from(["", ".", ".1", ".12", ".123", ".1239", "." + "9" * 60])
offsets = st.sampled_from(["Z", "z", "+09:00", "-23:59", "+23:59", "+24:00", ""])


@given(days, st.sampled_from("Tt "), clocks, fractions, offsets)
def test_the_quick_way_writes_and_refuses_as_the_thorough_one(
    day: str, between: str, clock: str, fraction: str, offset: str
) -> None:
    value = f"{day}{between}{clock}{fraction}{offset}"
    try:
        expected = datetime_text(parse(value))
    except ValueError:
        with pytest.raises(ValueError, match=r"RFC 3339|moment|leap"):
            text_of(value)
    else:
        assert text_of(value) == expected
