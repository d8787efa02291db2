"""Which conversation a message belongs to, told from its own header: THREADID (RFC 8474, 5.2).

The first message of a conversation is named first in References by every answer to it (RFC 5322, 3.6.4), so
that name, hashed, is the id of all: nothing need be looked up or remembered, messages of one conversation
have one id whatever mailbox they lie in and in whatever order they came, and the id never changes. A message
without References belongs to the one that it answers (In-Reply-To), or begins a conversation.
"""

from __future__ import annotations

import re
from hashlib import sha256

_FIELDS = re.compile(
    rb"\n(references|in-reply-to|message-id)[ \t]*:([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.IGNORECASE
)
_ID = re.compile(rb"<([^<>]++)>")
_BLANK = b" \t\r\n"


def thread_id(header: bytes) -> bytes:
    """The objectid for a header block, with LF or CRLF line ends. Never raises; linear."""
    found: dict[bytes, bytes] = {}
    for name, value in _FIELDS.findall(b"\n" + header):
        match = _ID.search(value)
        if match is not None:
            found.setdefault(name.lower(), match[1].translate(None, _BLANK))
    for name in (b"references", b"in-reply-to", b"message-id"):
        if name in found:
            return _digest(b"<" + found[name])
    return _digest(b"\n" + header.replace(b"\r\n", b"\n"))


def _digest(what: bytes) -> bytes:
    return b"T" + sha256(what).hexdigest()[:32].encode("ascii")
