"""What is derived of a header for SEARCH, SORT and THREAD."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.message.digest import GROUPS, MAX_REFERENCES, digest, ids
from tests.helpers.cost import cheaper_than

EVERY = tuple(GROUPS)


def values(header: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, row in zip(EVERY, digest(header, EVERY), strict=True):
        found.update(zip(GROUPS[name].fields, row, strict=True))
    return found


def test_a_header() -> None:
    header = b"""\
Received: from somewhere
From: =?utf-8?q?J=C3=BCrgen?= <J@Example.org>, other@example.org
TO : Team: a@example.org, b@example.org;
cc: "Quoted \\"Name\\"" <c@example.org>
Subject: Re: [list]
\t=?utf-8?b?R3LDvMOfZQ==?=
Date: 31 Dec 2000 16:01:33 -0800
Message-ID: <"a b"@example.org>
References: <1@x> junk <2@x>
 <"3"@x>
In-Reply-To: <9@x>

From: not@header
""".replace(b"\n", b"\r\n")
    assert values(header[: header.index(b"\r\n\r\n") + 2]) == {
        "sent": 978307293,
        "day": 11322,
        "subject": "RE: [LIST]\tGRU\u0308ßE",
        "base": "GRU\u0308ßE",
        "reply": True,
        "from_": "JU\u0308RGEN <J@EXAMPLE.ORG>, OTHER@EXAMPLE.ORG",
        "from_mailbox": "J",
        "from_name": "JU\u0308RGEN",
        "to_": "TEAM: A@EXAMPLE.ORG, B@EXAMPLE.ORG;",
        "to_mailbox": "TEAM",
        "to_name": "TEAM",
        "cc": '"QUOTED \\"NAME\\"" <C@EXAMPLE.ORG>',
        "cc_mailbox": "C",
        "bcc": None,
        "ids": "a b@example.org\n1@x\n2@x\n3@x",
    }


def test_nothing_there() -> None:
    assert values(b"X-Other: x\n\n") == {
        field: value for group in GROUPS.values() for field, value in group.fields.items()
    }


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"In-Reply-To: Your message of <yesterday> <1@x> <2@x>\n", "\n1@x"),
        (b"References: nothing valid\nIn-Reply-To: <1@x>\n", "\n1@x"),
        (b"References: <1@x>\nIn-Reply-To: <2@x>\nMessage-ID: <3@x>\n", "3@x\n1@x"),
        (b"Message-ID: <not an id>\n", ""),
        (b"Message-ID: < spaced @ x >\n", "spaced@x"),
        (b"Message-ID: <a@[192.0.2.1]>\n", "a@[192.0.2.1]"),
        (b"Message-ID: <A@x>\n", "A@x"),  # case counts
    ],
)
def test_message_ids(header: bytes, expected: str) -> None:
    """RFC 5256, 3: REFERENCES."""
    assert values(header)["ids"] == expected


def test_quoting_does_not_matter() -> None:
    assert ids(b'<"01KF8JCEOCBS0045PS"@xxx.yyy.com>') == ids(b"<01KF8JCEOCBS0045PS@xxx.yyy.com>")
    assert ids(rb'<"a\"b"@x>') == ['a"b@x']


@pytest.mark.parametrize(
    ("value", "mailbox", "name"),
    [
        (b"Ann <ann@example.org>", "ANN", "ANN"),
        (b"ann@example.org", "ANN", "ANN@EXAMPLE.ORG"),
        (b'"" <ann@example.org>', "ANN", "ANN@EXAMPLE.ORG"),
        (b"=?utf-8?q??= <ann@example.org>", "ANN", "ANN@EXAMPLE.ORG"),
        (b"ann@example.org (Ann B)", "ANN", "ANN B"),
        (b"", "", ""),
    ],
)
def test_sort_keys_of_addresses(value: bytes, mailbox: str, name: str) -> None:
    """RFC 5256, 3; RFC 5957, 3."""
    found = values(b"From: " + value + b"\n")
    assert (found["from_mailbox"], found["from_name"]) == (mailbox, name)


def test_several_fields_of_a_name() -> None:
    found = values(b"Subject: Re: one\nSubject: two\nTo: a@x\nTo: b@x\n")
    assert (found["subject"], found["base"], found["to_"]) == ("RE: ONE\nTWO", "ONE", "A@X\nB@X")


@given(st.binary(max_size=200))
def test_any_header_gives_values_that_can_be_kept(header: bytes) -> None:
    for value in values(b"Subject: " + header).values():
        if isinstance(value, str):
            value.encode("utf-8")


@pytest.mark.parametrize(
    "header",
    [
        b"References: " + b"<a@b> " * 10_000,
        b"References: " + b"<" * 60_000,
        b'Message-ID: <"' + b"\\" * 60_000,
        b"From: " + b"(" * 60_000,
        b"Subject:" + b"\n " * 30_000,
        b"Date: " + b"1 " * 30_000,
    ],
)
def test_E10_hostile_headers_cost_little(header: bytes) -> None:
    with cheaper_than(0.5):
        assert len(values(header + b"\n")["ids"].split("\n")) <= MAX_REFERENCES + 1
