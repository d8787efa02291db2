"""The two dialects that the SMTP server speaks: SMTP itself, and LMTP (RFC 2033).

LMTP is for delivery from a queue next door: it opens with LHLO, and the end of a message is answered once for
each recipient, so that each can have an end of its own and nothing needs to be queued here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen


@frozen(eq=False)
class Dialect:
    """greeting: the word behind our name in the greeting (RFC 5321, 4.3.1; RFC 2033, 4.2).
    hello:  the commands that open a session, and whether extensions come with them
    help:   what HELP answers
    each:   a message is answered once for each recipient
    """

    greeting: str
    hello: Mapping[bytes, bool]
    help: str
    each: bool = False

    @property
    def first_hello(self) -> str:
        return next(iter(self.hello)).decode("ascii")


SMTP = Dialect(
    "ESMTP",
    MappingProxyType({b"EHLO": True, b"HELO": False}),
    "See RFC 5321; EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT AUTH STARTTLS",
)
LMTP = Dialect(
    "LMTP",
    MappingProxyType({b"LHLO": True}),
    "See RFC 2033; LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT STARTTLS",
    each=True,
)
