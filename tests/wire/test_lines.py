"""Line ends, checked against what the words say, octet by octet."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailserver.wire.lines import ends_in_pairs, size_on_wire, to_kept

TEXTS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"."]), max_size=12).map(b"".join)


def pairs(data: bytes) -> bool:
    return all(
        (octet != 13 or data[at + 1 : at + 2] == b"\n") and (octet != 10 or data[at - 1 : at] == b"\r")
        for at, octet in enumerate(data)
        if octet in (10, 13)
    )


@given(TEXTS)
@example(b"\n\r\n")
@example(b"\r\n\r")
@example(b"\r\r\n")
def test_stray_line_ends_are_found(data: bytes) -> None:
    assert ends_in_pairs(data) == pairs(data)


@given(TEXTS)
@example(b"\r\r\n")
def test_crlf_becomes_lf_and_nothing_else_changes(data: bytes) -> None:
    kept, size = to_kept(data)
    assert kept == b"\n".join(data.split(b"\r\n"))
    assert size == size_on_wire(kept) == len(kept) + sum(octet == 10 for octet in kept)


@pytest.mark.parametrize("data", [b"", b"\r\n", b"one\r\ntwo\r\n"])
def test_the_wire_form_of_a_message_is_its_size(data: bytes) -> None:
    assert to_kept(data)[1] == len(data)
