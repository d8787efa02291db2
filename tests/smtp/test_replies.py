"""Replies: one or many lines, and no way out of them."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailserver.errors import MailError, NoSuchUser
from mailserver.smtp import replies


class ReplyTests(SynchronousTestCase):
    def test_single_line(self) -> None:
        self.assertEqual(replies.error(NoSuchUser()), b"550 5.1.1 No such user here\r\n")
        self.assertEqual(replies.encode(220, "", "hello"), b"220 hello\r\n")

    def test_A20_line_ends_in_a_text(self) -> None:
        reply = replies.error(MailError("no\r\n250 ok\n.\rx", code=554, enhanced="5.7.1"))
        self.assertEqual(reply, b"554-5.7.1 no\r\n554-5.7.1 250 ok\r\n554-5.7.1 .\r\n554 5.7.1 x\r\n")

    @settings(max_examples=300, deadline=None)
    @given(st.text(max_size=2000), st.sampled_from(["", "5.7.1"]))
    def test_A20_any_text_makes_one_reply(self, text: str, enhanced: str) -> None:
        reply = replies.encode(550, enhanced, text)
        *made, last = reply.split(b"\r\n")
        assert last == b""
        prefix = f" {enhanced} ".lstrip() if enhanced else ""
        for number, line in enumerate(made):
            mark = " " if number == len(made) - 1 else "-"
            assert re.fullmatch(rf"550{mark}{re.escape(prefix)}[\x20-\x7e]*", line.decode("ascii"))
            assert len(line) <= 510
