"""Address lists of header fields (RFC 5322, 3.4 and 4.4), for ENVELOPE and for searching.

Takes what mail really holds: groups, nested comments, source routes, quoted and unquoted phrases,
encoded words (left as they are), missing parts. Never raises; linear in the length of the value.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailserver.message.parameters import unquote

MAX_ADDRESSES = 10_000
MISSING_MAILBOX = b"MISSING_MAILBOX"
MISSING_DOMAIN = b"MISSING_DOMAIN"


class Address(NamedTuple):
    """One address structure of RFC 3501, 7.4.2: group start has only `mailbox`, group end nothing."""

    name: bytes | None = None
    route: bytes | None = None
    mailbox: bytes | None = None
    host: bytes | None = None


GROUP_END = Address()

# One address without comments, groups or anything unusual, up to the comma: nearly all there are.
_SPECIAL = rb'"()<>@,;:\\\[\]'
_SIMPLE = re.compile(
    rb"[ \t]*+(?:"
    rb'(?:"([^"\\]*+)"[ \t]*+|([^' + _SPECIAL + rb"]*+))"
    rb"<([^" + _SPECIAL + rb" \t]++)@([^" + _SPECIAL + rb" \t]++)>"
    rb"|([^" + _SPECIAL + rb" \t]++)@([^" + _SPECIAL + rb" \t]++)"
    rb")[ \t]*+(?:,|$)"
)

_TOKENS = re.compile(
    rb"([ \t\r\n]++)"
    rb'|"([^"\\]*+(?:\\.[^"\\]*+)*+)"?+'
    rb"|(\[[^\]]*+\]?+)"
    rb"|([<>@,;:.()\\\]])"
    rb'|([^ \t\r\n"\[<>@,;:.()\\\]]++)',
    re.DOTALL,
)
_COMMENT = re.compile(rb"[()]|\\.|[^()\\]++|\\", re.DOTALL)


def parse_addresses(value: bytes) -> list[Address]:
    """The addresses of an unfolded field value, in order."""
    found: list[Address] = []
    at, end = 0, len(value)
    match = _SIMPLE.match
    while at < end and len(found) < MAX_ADDRESSES:
        simple = match(value, at)
        if simple is None:
            return _General(value, at, found).run()
        found.append(_plain(simple))
        at = simple.end()
    return found


def first_address(value: bytes) -> Address | None:
    """The first of `parse_addresses`, without a look at the others where it is a plain one."""
    simple = _SIMPLE.match(value)
    if simple is not None:
        return _plain(simple)
    found = parse_addresses(value)
    return found[0] if found else None


def _plain(simple: re.Match[bytes]) -> Address:
    """What a match of `_SIMPLE` says."""
    quoted, phrase, mailbox, host, bare_mailbox, bare_host = simple.groups()
    if bare_mailbox is not None:
        return Address(None, None, bare_mailbox, bare_host)
    name = b" ".join(phrase.split()) if quoted is None else quoted
    return Address(name or None, None, mailbox, host)


class _General:
    """The full grammar, one token after the other; state is what was read since the last separator."""

    def __init__(self, value: bytes, at: int, found: list[Address]) -> None:
        self.value = value
        self.at = at
        self.found = found
        self.words: list[tuple[bool, bytes]] = []  # (after white space, text) of phrase or local part
        self.comment = b""
        self.angle: bytes | None = None
        self.domain: list[bytes] | None = None
        self.route: bytes | None = None
        self.in_group = False
        self.in_angle = False
        self.spaced = False

    def run(self) -> list[Address]:
        value, end = self.value, len(self.value)
        while self.at < end and len(self.found) < MAX_ADDRESSES:
            match = _TOKENS.match(value, self.at)
            if match is None:
                self.at += 1
                continue
            self.at = match.end()
            space, quoted, literal, special, atom = match.groups()
            if space is not None:
                self.spaced = True
            elif special is not None:
                self._special(special)
            elif quoted is not None:
                self._word(unquote(quoted))
            else:
                self._word(literal if literal is not None else atom)
        self._flush()
        if self.in_group:
            self.found.append(GROUP_END)
        return self.found

    def _word(self, text: bytes) -> None:
        if self.angle is not None and not self.in_angle:
            return  # what stands behind "<…>" names nothing
        if self.domain is not None:
            self.domain.append(text)
        else:
            self.words.append((self.spaced, text))
        self.spaced = False

    def _special(self, special: bytes) -> None:
        if special == b"(":
            self._read_comment()
        elif special == b"," and not self.in_angle:
            self._flush()
        elif special == b";":
            self._flush()
            if self.in_group:
                self.in_group = False
                self.found.append(GROUP_END)
        elif special == b"<" and not self.in_angle:
            self.angle = self._phrase()
            self.words, self.domain = [], None
            self.in_angle = True
        elif special == b">":
            self.in_angle = False
        elif special == b":":
            self._colon()
        elif special == b"@":
            self._at_sign()
        elif special != b"\\":
            self._word(special)

    def _colon(self) -> None:
        """The end of a source route, or of a group's name."""
        if self.in_angle:
            if self.domain is not None:
                self.route = b"".join((*(text for _, text in self.words), b"@", *self.domain))
            self.words, self.domain = [], None
        elif not self.in_group and self.domain is None:
            self.found.append(Address(mailbox=self._phrase()))
            self.in_group = True
            self._reset()
        else:
            self._word(b":")

    def _at_sign(self) -> None:
        if self.domain is None:
            self.domain = []
        elif self.in_angle:  # @one,@two: of a route
            self.domain.append(b"@")
        else:
            # "a@b c@d" or "a@b@c": what stood before the last @ is the mailbox
            self.words.append((False, b"@"))
            self.words.extend((False, text) for text in self.domain)
            self.domain = []

    def _phrase(self) -> bytes:
        """The words before `<` or `:`, one space where there was white space."""
        words = list(self.words)
        if self.domain is not None:  # "user@host <user@host>"
            words += [(False, b"@"), *((False, text) for text in self.domain)]
        return b"".join(b" " + text if spaced else text for spaced, text in words).strip()

    def _read_comment(self) -> None:
        """A comment with what is nested in it; the last one names an address without phrase."""
        kept: list[bytes] = []
        depth = 1
        for piece in _COMMENT.finditer(self.value, self.at):
            text = piece[0]
            self.at = piece.end()
            if text == b"(":
                depth += 1
            elif text == b")":
                depth -= 1
                if not depth:
                    break
            kept.append(text[1:] if text[:1] == b"\\" else text)
        self.comment = b"".join(kept).strip()
        self.spaced = True

    def _flush(self) -> None:
        """The end of one address."""
        mailbox = b"".join(text for _, text in self.words)
        if self.angle is not None:
            name = self.angle or self.comment
        else:
            name = self.comment
            if self.domain is None:  # words without an @: a name rather than a mailbox
                mailbox = self._phrase()
        host = b"".join(self.domain) if self.domain is not None else b""
        if self.angle is not None or mailbox or host:
            self.found.append(
                Address(name or None, self.route, mailbox or MISSING_MAILBOX, host or MISSING_DOMAIN)
            )
        self._reset()

    def _reset(self) -> None:
        self.words = []
        self.comment = b""
        self.angle = self.domain = self.route = None
        self.in_angle = self.spaced = False
