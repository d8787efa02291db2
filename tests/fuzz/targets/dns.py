"""Answers of a name server, or of somebody who says he is one."""

from __future__ import annotations

from contextlib import suppress

from mailserver.dns.message import MAX_RECORDS, Alias, NoEdns, NotOurs, Truncated, make_question, read_answer
from mailserver.dns.values import Answer, DnsFailure
from tests.fuzz.targets import options

ID = 0x3132
KINDS = ["MX", "A", "AAAA", "TXT"]
TOKENS = [
    b"\xc0\x0c",
    b"\x00\x0f",
    b"\x00\x05",
    b"\x00\x01",
    b"\x00\x06",
    b"\x00\x29",
    b"\x81\x80",
    b"\x07example\x00",
]


def check(data: bytes) -> None:
    way, data = options(data, len(KINDS))
    question = make_question("a.example", KINDS[way], lambda: ID, edns=way % 2 == 0)
    for wire in (data, ID.to_bytes(2, "big") + data, _answer(question.wire, data)):
        with suppress(NotOurs, Truncated, NoEdns, DnsFailure):
            answer = read_answer(question, wire)
            if isinstance(answer, Alias):
                assert len(answer.target) <= 1024
            else:
                assert isinstance(answer, Answer)
                assert len(answer.records) <= MAX_RECORDS


def _answer(question: bytes, data: bytes) -> bytes:
    """The question as it was, and an answer section (of as many records as the first octet says)."""
    end = question.index(b"\0", 12) + 5
    count = data[:1].rjust(1, b"\0")
    return question[:2] + b"\x81\x80\0\1\0" + count + b"\0\0\0\0" + question[12:end] + data[1:]
