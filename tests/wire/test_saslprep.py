"""SASLprep: the examples of RFC 4013, 3, and what it prohibits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.saslprep import saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u0007", None),
        ("\u0627\u0031", None),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
        ("a\u00a0b", "a b"),
        ("e\u0301", "\u00e9"),
        ("\ufffd", None),
        ("\ue000", None),
        ("a\u0627", None),
        ("", ""),
    ],
)
def test_examples(text: str, prepared: str | None) -> None:
    assert saslprep(text) == prepared


@given(st.text())
def test_any_text_is_prepared_or_refused(text: str) -> None:
    prepared = saslprep(text)
    if prepared is not None:
        assert saslprep(prepared) in (prepared, None)
