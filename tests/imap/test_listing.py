"""Names against patterns (RFC 3501, 6.3.8, 6.3.9)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.imap.listing import Listed, list_folders, list_subscribed, matcher
from mailserver.interfaces import FolderInfo
from tests.helpers.cost import cheaper_than


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "a/b/c", True),
        ("%", "a", True),
        ("%", "a/b", False),
        ("a/%", "a/b", True),
        ("a/%", "a", False),
        ("a/%", "a/b/c", False),
        ("a*", "a/b/c", True),
        ("a*c", "a/b/c", True),
        ("a%c", "abc", True),
        ("a%c", "a/c", False),
        ("%/%", "a/b", True),
        ("%/*", "a/", True),
        ("*/%", "a/b/c", True),
        ("*b", "a/b", True),
        ("%b", "a/b", False),
        ("*%", "a/b", True),
        ("a", "a", True),
        ("a", "A", False),
        ("inbox", "INBOX", True),
        ("inb*", "INBOX", True),
        ("%", "INBOX", True),
        ("inbox/%", "INBOX/x", True),
        ("", "a", False),
        ("[(+", "[(+", True),
        ("a.c", "abc", False),
    ],
)
def test_H5_patterns(pattern: str, name: str, expected: bool) -> None:
    assert matcher(pattern)(name) is expected


def oracle(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "%": "[^/]*"}
    return re.compile("".join(parts.get(c) or re.escape(c) for c in pattern), re.DOTALL)


@settings(max_examples=300)
@given(st.text("ab/*%", max_size=8), st.text("ab/", max_size=8))
def test_H5_same_as_the_definition(pattern: str, name: str) -> None:
    assert matcher(pattern)(name) is (oracle(pattern).fullmatch(name) is not None)


@pytest.mark.parametrize("pattern", ["*%" * 200, "*a%" * 200, "%" * 5000 + "x", "a*" * 4000])
def test_H5_hostile_patterns_are_fast(pattern: str) -> None:
    match = matcher(pattern)
    with cheaper_than(0.5):
        match("a" * 10_000 + "b")


def folders(*names: str) -> list[FolderInfo]:
    return [FolderInfo(name, "\\Sent" if name == "Sent" else "") for name in names]


def test_attributes() -> None:
    assert list_folders(folders("INBOX", "Sent", "a", "a/b"), "*") == [
        Listed(("\\HasNoChildren",), "INBOX"),
        Listed(("\\HasNoChildren", "\\Sent"), "Sent"),
        Listed(("\\HasChildren",), "a"),
        Listed(("\\HasNoChildren",), "a/b"),
    ]


def test_level_that_is_no_folder() -> None:
    assert list_folders([*folders("a/b/c"), FolderInfo("x", selectable=False)], "%") == [
        Listed(("\\Noselect", "\\HasNoChildren"), "x"),
        Listed(("\\Noselect", "\\HasChildren"), "a"),
    ]


def test_lsub_example_of_the_rfc() -> None:
    """LSUB "" "%" where only #news.comp.mail.mime is subscribed (RFC 3501, 6.3.9)."""
    names = ["#news/comp/mail/mime", "INBOX"]
    assert list_subscribed(names, ["INBOX"], "%") == [Listed((), "INBOX"), Listed(("\\Noselect",), "#news")]
    assert list_subscribed(names, ["INBOX"], "#news/comp/mail/*") == [
        Listed(("\\Noselect",), "#news/comp/mail/mime")
    ]
