"""Mail addresses and paths: what is taken is safe, and means the same when it is read again."""

from __future__ import annotations

import re

from mailserver.errors import BadAddress
from mailserver.wire.address import (
    Mailbox,
    domain_to_ascii,
    fold_local,
    key_of,
    normalise,
    parse_mailbox,
    parse_path,
    path_end,
    split,
)

TOKENS = [
    *(
        b"<a@b.example>",
        b"<>",
        b"<@a,@b:c@d>",
        b"<postmaster>",
        b'"a b"@c.example',
        b'"\\""@x',
        b"[192.0.2.1]",
    ),
    *(
        b"[IPv6:2001:db8::1]",
        b"\xc3\xbc@\xc3\xbc.example",
        b"xn--tda.example",
        b"%",
        b"!",
        b"@",
        b".",
        b'"',
        b"\\",
    ),
    *(
        b"\xe2\x80\xae",
        b"\0",
        b"\r\n",
        b"\n",
        b"\xef\xbd\x81",
        b"\xcc\x88",
        b"\xf0\x9f\x98\x80",
        b"-",
        b"_",
        b":",
    ),
]
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check(data: bytes) -> None:
    _path(data)
    text = data.decode("utf-8", "surrogateescape")
    try:
        mailbox = parse_mailbox(text)
    except BadAddress:
        mailbox = None
    if mailbox is not None:
        _mailbox(text, mailbox)
    try:
        domain = domain_to_ascii(text)
    except BadAddress:
        return
    assert domain.isascii() and domain == domain.lower()
    assert domain_to_ascii(domain) == domain


def _path(data: bytes) -> None:
    for postmaster in (False, True):
        try:
            mailbox, rest = parse_path(data, postmaster=postmaster)
        except BadAddress:
            continue
        end = path_end(data)
        assert rest == data[end + 1 :]
        if mailbox is not None and mailbox.domain:
            _mailbox(str(mailbox), mailbox)


def _mailbox(text: str, mailbox: Mailbox) -> None:
    written = str(mailbox)
    assert not _CONTROL.search(written), "a control character passed"
    assert len(mailbox.domain) <= 253
    assert mailbox.domain.isascii()
    if len(written.encode("utf-8")) > 254 or len(split(written)[0].encode("utf-8")) > 64:
        return  # quotes that came with the spelling, or A-labels, which are longer than what was given
    again = parse_mailbox(written)
    assert (again.local, again.domain) == (mailbox.local, mailbox.domain), "another meaning when read again"
    key = key_of(mailbox)
    assert fold_local(fold_local(mailbox.local)) == fold_local(mailbox.local)
    if len(key.encode("utf-8")) <= 254 and len(split(key)[0].encode("utf-8")) <= 64:
        assert normalise(key) == key, "a key that is not its own key"
