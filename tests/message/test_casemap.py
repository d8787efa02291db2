"""i;unicode-casemap (RFC 5051)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.message.casemap import fold


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World_1", "HELLO, WORLD_1"),
        ("é", "E\u0301"),
        ("e\u0301", "E\u0301"),
        ("ǆ", "D\u017d".replace("\u017d", "z\u030c")),  # title case is Dž, which decomposes
        ("ﬁ", "fi"),  # no title case in UnicodeData.txt; the decomposition is not cased any more
        ("ß", "ß"),
        ("ς", "Σ"),
        ("Å", "A\u030a"),  # the ångström sign is decomposed twice
        ("Ⅷ", "VIII"),
        ("한", "한"),  # syllables have no decomposition in UnicodeData.txt
        ("東京", "東京"),
        ("\U00010428", "\U00010400"),
        ("\ud800", "\ud800"),
    ],
)
def test_characters(text: str, expected: str) -> None:
    assert fold(text) == expected


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_part_is_found_in_the_whole(first: str, second: str) -> None:
    assert fold(first) + fold(second) == fold(first + second)


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_case_does_not_matter(text: str) -> None:
    assert fold(text.lower()) == fold(text) == fold(text.upper())
