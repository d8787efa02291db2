"""Base subjects (RFC 5256, 2.1)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.message.subject import base_subject
from tests.helpers.cost import cheaper_than


@pytest.mark.parametrize(
    ("subject", "base", "reply"),
    [
        ("", "", False),
        ("   ", "", False),
        ("Lunch", "Lunch", False),
        ("Re: Lunch", "Lunch", True),
        ("RE:re:fw: FWD  : Lunch", "Lunch", True),
        ("Re[2]: Lunch", "Lunch", True),
        ("Re [x] : Lunch", "Lunch", True),
        ("[list] Re: Lunch", "Lunch", True),
        ("[a][b] Re: [c] Lunch", "Lunch", True),
        ("[list] Lunch", "Lunch", False),
        ("[list] [other]", "[other]", False),
        ("[list]", "[list]", False),
        ("Lunch [was: dinner]", "Lunch [was: dinner]", False),
        ("Lunch (fwd)", "Lunch", True),
        ("Lunch (FWD) (fwd) ", "Lunch", True),
        ("[Fwd: Lunch]", "Lunch", True),
        ("Re: [fwd: [list] Re: Lunch (fwd)]", "Lunch", True),
        ("[fwd: [fwd: Lunch] ]", "Lunch", True),
        ("[fwd: Lunch] x", "x", False),  # a blob like any other
        ("[fwd: Lunch", "[fwd: Lunch", False),
        ("Re:", "", True),
        ("(fwd)", "", True),
        ("[fwd:]", "", True),
        ("Reply: Lunch", "Reply: Lunch", False),
        ("re Lunch", "re Lunch", False),
        ("AW: Lunch", "AW: Lunch", False),  # RFC 5256, 7: no translations
        ("Re: Long\t \r\n subject", "Long subject", True),
        ("[a [b] c", "[a [b] c", False),
        ("ſe: no mark", "ſe: no mark", False),
    ],
)
def test_extraction(subject: str, base: str, reply: bool) -> None:
    assert base_subject(subject) == (base, reply)


def by_the_letter(subject: str) -> tuple[str, bool]:
    """The seven steps, one after the other."""
    blob = r"\[[^\[\]]*\] *"
    refwd = rf"(?:re|fwd?) *(?:{blob})?:"
    text, reply = re.sub(r"[ \t\r\n]+", " ", subject), False
    while True:
        while match := re.search(r"(?:\(fwd\)| )\Z", text, re.IGNORECASE | re.ASCII):  # (2)
            text, reply = text[: match.start()], reply or match[0] != " "
        while True:
            match = re.match(rf"(?:{blob})*{refwd}| ", text, re.IGNORECASE | re.ASCII)  # (3)
            if match:
                text, reply = text[match.end() :], reply or match[0] != " "
                continue
            match = re.match(blob, text)  # (4)
            if match and text[match.end() :].strip():
                text = text[match.end() :]
                continue
            break
        if text[:5].lower() == "[fwd:" and text[5:].endswith("]"):  # (6)
            text, reply = text[5:-1], True
            continue
        return text, reply


@given(
    st.lists(
        st.sampled_from(["re", "Fwd", "fw", ":", " ", "[", "]", "x", "(fwd)", "[fwd:", "[b]"]), max_size=14
    )
)
def test_as_the_steps_say(pieces: list[str]) -> None:
    subject = "".join(pieces)
    assert base_subject(subject) == by_the_letter(subject)


@pytest.mark.parametrize("piece", ["re:", "[a]", "[fwd:", "(fwd)", "[", "] ", "re [a", " "])
def test_E10_hostile_subjects_cost_little(piece: str) -> None:
    with cheaper_than(0.2):
        base_subject(piece * 20_000 + "]" * 20_000)
