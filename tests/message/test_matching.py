"""A text is found in a message wherever its pieces begin."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.message.casemap import fold
from mailserver.message.matching import Finder


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab", max_size=4), max_size=8), st.text("ab", min_size=1, max_size=6))
def test_a_text_is_found_across_pieces(pieces: list[str], wanted: str) -> None:
    finder = Finder(fold(wanted))
    hits = [finder.feed(number == 0, piece) for number, piece in enumerate(pieces)]

    assert any(hits) == (wanted in "".join(pieces))


def test_texts_do_not_run_into_one_another() -> None:
    finder = Finder("AB")

    assert not finder.feed(True, "a")
    assert not finder.feed(True, "b")
