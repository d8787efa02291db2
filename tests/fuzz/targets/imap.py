"""The IMAP engine and its grammar: all in one segment and octet by octet, in each state."""

from __future__ import annotations

import re

from mailserver.errors import MailError
from mailserver.imap.grammar.command import parse_command, parse_tag
from mailserver.imap.grammar.cursor import PLAIN, BadSyntax, Dialect
from mailserver.imap.transitions import State
from tests.fuzz.targets import options
from tests.imap.test_engine import Driver

STATES = [State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED]
DIALECTS = [PLAIN, Dialect(utf8=True)]
TOKENS = [
    *(b"a LOGIN a b\r\n", b"a LOGIN {1}\r\na {1+}\r\nb\r\n", b"a AUTHENTICATE PLAIN\r\n", b"AGEAYg==\r\n"),
    *(
        b"a SELECT INBOX",
        b" (CONDSTORE)",
        b" (QRESYNC (1 2 1:3 (1,2 3,4)))",
        b"a FETCH 1:* ",
        b"a UID FETCH ",
    ),
    *(
        b"(FLAGS BODY.PEEK[1.2.HEADER.FIELDS (To From)]<0.5> BINARY[1] PREVIEW (LAZY))",
        b" (CHANGEDSINCE 5 VANISHED)",
    ),
    *(
        b"a STORE 1 +FLAGS.SILENT (\\Seen x)",
        b" (UNCHANGEDSINCE 1)",
        b"a SEARCH RETURN (MIN MAX COUNT SAVE) ",
    ),
    *(
        b"CHARSET UTF-8 ",
        b"OR NOT (SEEN) TEXT x",
        b"HEADER To x",
        b"MODSEQ 1",
        b"SINCE 1-Jan-2020",
        b"$",
        b"*:1",
    ),
    *(
        b"a SORT (REVERSE DATE) UTF-8 ALL",
        b"a THREAD REFERENCES UTF-8 ALL",
        b'a LIST (SUBSCRIBED) "" (a b) RETURN',
    ),
    *(
        b" (STATUS (MESSAGES))",
        b"a NOTIFY SET (personal (MessageNew MessageExpunge))",
        b"a GETMETADATA (DEPTH 1) x /a",
    ),
    *(
        b"a SETMETADATA x (/shared/a ~{1+}\r\nx)",
        b"a SETACL x y +lr",
        b"a STATUS x (MESSAGES)",
        b"a ENABLE CONDSTORE",
    ),
    *(b'a APPEND x (\\Seen) "17-Jul-1996 02:44:25 -0700" {3+}\r\nabc\r\n', b"a REPLACE 1 x {1+}\r\nx\r\n"),
    *(b" CATENATE (URL /INBOX/;UID=1 TEXT {1+}\r\nx)", b" UTF8 (~{1+}\r\nx)", b"a ESEARCH IN (personal) ALL"),
    *(
        b"a COMPRESS DEFLATE\r\n",
        b"a IDLE\r\n",
        b"DONE\r\n",
        b"a LOGOUT\r\n",
        b"\r\n",
        b"{0}\r\n",
        b"{9999999999+}\r\n",
    ),
    *(b"(", b")", b'"', b"\\", b"\0", b"&AOk-", b"\xc3\xa9", b"NIL", b"4294967295", b"18446744073709551615"),
]
_OUTPUT = re.compile(rb"(?:(?:\+ |\* |[^\r\n\0 ]+ )[^\r\n\0]*\r\n)*")
_LITERAL = re.compile(rb"\{[0-9]+\+?\}\r\n")


def check(data: bytes) -> None:
    way, data = options(data, 12)
    state, refuse = STATES[way % 3], way // 3 % 2 == 1
    whole = Driver(state, refuse=refuse).feed(data)
    single = Driver(state, refuse=refuse).feed(data, 1)
    assert single.events == whole.events
    assert single.sent == whole.sent
    assert _OUTPUT.fullmatch(whole.sent), "something else than responses was sent"
    assert len(whole.sent) <= 200 + 1200 * data.count(b"\n"), "answers without bound"
    _grammar(data, DIALECTS[way // 6])


def _grammar(data: bytes, dialect: Dialect) -> None:
    """What the engine may give it: texts, each without a line end, with literals between them."""
    parts = tuple(_LITERAL.split(data.removesuffix(b"\r\n")))
    if len(parts) % 2 == 0:
        parts += (b"",)
    if any(b"\r\n" in text for text in parts[::2]):
        return
    try:
        command = parse_command(parts, dialect)
    except (BadSyntax, MailError) as error:
        text = getattr(error, "text", "") or str(error)
        assert "\r" not in text and "\n" not in text
        return
    assert parse_tag(parts[0]) == command.tag
    repr(command)
