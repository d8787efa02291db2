"""THREADID: one id for a conversation, told from each message alone."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mailserver.message.threads import thread_id

ROOT = b"Message-ID: <root@example.org>\r\nSubject: Lunch\r\n\r\n"


def test_an_answer_belongs_to_the_first_that_it_refers_to() -> None:
    answers = (
        b"Message-ID: <2@a>\r\nReferences: <root@example.org>\r\nIn-Reply-To: <root@example.org>\r\n\r\n",
        b"References: <root@example.org> <2@a>\r\nMessage-ID: <3@a>\r\nIn-Reply-To: <2@a>\r\n\r\n",
        b"message-id : <4@a>\nreferences:\n\t<root@example.org>\n <2@a>\n <3@a>\nSubject: x\n\n",
        b"Message-ID: <5@a>\r\nIn-Reply-To: (your mail) <root@example.org>\r\n\r\n",
        b"Message-ID: <6@a>\r\nReferences: <root\r\n @example.org>\r\n\r\n",
        b"Message-ID: <7@a>\r\nReferences: nonsense\r\nIn-Reply-To: <root@example.org>\r\n\r\n",
    )
    assert {thread_id(answer) for answer in answers} == {thread_id(ROOT)}


def test_others_are_others() -> None:
    headers = (ROOT, b"Message-ID: <ROOT@example.org>\r\n\r\n", b"Subject: Lunch\r\n\r\n", b"", b"\r\n")
    assert len({thread_id(header) for header in headers}) == len(headers)


def test_what_stands_in_other_fields_does_not_count() -> None:
    forged = b"Subject: x\r\n References: <root@example.org>\r\nX-References: <root@example.org>\r\n\r\n"
    assert thread_id(forged) != thread_id(ROOT)


def test_the_same_for_both_line_ends() -> None:
    for header in (ROOT, b"Subject: none\r\n\r\n"):
        assert thread_id(header) == thread_id(header.replace(b"\r\n", b"\n"))


@given(st.binary(max_size=300) | st.lists(st.sampled_from([b"References:", b"<", b">", b"\n ", b"a"])))
def test_every_header_has_an_objectid(header: bytes | list[bytes]) -> None:
    data = header if isinstance(header, bytes) else b"".join(header)
    assert re.fullmatch(rb"T[0-9a-f]{32}", thread_id(data))
