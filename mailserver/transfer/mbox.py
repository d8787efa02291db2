"""mbox files: where messages begin and end in all their dialects, and what programs write into the header.

A message begins with a From_ line: `From `, an address, a date, after an empty line or at the beginning. In
the dialects *mboxo* and *mboxrd* lines of the text that look so are quoted with ">" (mboxrd: also those
that are quoted already, so that it can be undone); *mboxcl* and *mboxcl2* tell the length of the text in
Content-Length, and mboxcl2 quotes nothing. Which it is can be told from each message: a Content-Length that
leads to the next From_ line, or the end, is right, and where the text then holds a bare `From ` nothing was
quoted.

mboxrd is written: it is the one that loses nothing.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from attrs import frozen

VARIANTS = ("auto", "mboxrd", "mboxo", "mboxcl", "mboxcl2")
_LONGEST_LINE = 1000  # of a From_ line

_EMPTY_LINE = re.compile(rb"\n\r?\n")
_TIME_OF_DAY = re.compile(rb"\b\d{1,2}:\d\d\b")
_YEAR = re.compile(rb"\b(?:19[7-9]\d|2[01]\d\d)\b")
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:|>From |\r?\n|\Z")
_CONTENT_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d{1,15})[ \t]*\r?$")
_DATE = re.compile(
    rb"\b([A-Z][a-z]{2}) +(\d{1,2}) +(\d{1,2}):(\d\d)(?::(\d\d))?"
    rb"((?: +[A-Z]{1,5}\b)?(?: +[+-]\d{4})?) +(\d{4})(?: +([+-]\d{4}))?"
)
_MONTHS = {name.encode(): number for number, name in enumerate(calendar.month_abbr) if name}
_QUOTED = {
    "mboxrd": (re.compile(rb"(?m)^>(>*From )"), rb"\1"),
    "mboxo": (re.compile(rb"(?m)^>From "), rb"From "),
}
_TO_QUOTE = re.compile(rb"(?m)^(>*From )")

# Fields that mail programs keep their own notes in; they are read, and are no part of the message.
_NOTES = re.compile(
    rb"(?im)^(status|x-status|x-keywords|x-uid|x-imap|x-imapbase|x-mozilla-status2?|x-mozilla-keys|content-length)"
    rb":[ \t]*(.*(?:\n[ \t].*)*)\n"
)
_STATUS = {"R": "\\Seen", "A": "\\Answered", "F": "\\Flagged", "D": "\\Deleted", "T": "\\Draft"}
_MOZILLA = {0x1: "\\Seen", 0x2: "\\Answered", 0x4: "\\Flagged", 0x1000: "$Forwarded"}
_MOZILLA_EXPUNGED = 0x8


class NotMbox(ValueError):
    """The file does not begin as an mbox file does."""


@frozen
class Found:
    """One message: its From_ line, its text with LF line ends, and where the next one begins.

    expunged: its program has removed it and not compacted the file yet
    """

    separator: bytes
    text: bytes
    next: int
    flags: frozenset[str] = frozenset()
    expunged: bool = False


def split(data: bytes, variant: str = "auto") -> Iterator[Found]:
    """All messages of a file (bytes or mmap), one after the other. Raises NotMbox."""
    start = _skip_empty(data, 0)
    if start < len(data) and not is_separator(data, start):
        raise NotMbox("it does not begin with a From line")
    while start < len(data):
        line_end = _line_end(data, start)
        found = _message(data, start, line_end, variant)
        yield found
        start = found.next


def is_separator(data: bytes, start: int) -> bool:
    """Does a From_ line begin here? It has a time of day and a year, and a header follows."""
    if data[start : start + 5] != b"From ":
        return False
    end = _line_end(data, start)
    line = data[start:end]
    return (
        end - start <= _LONGEST_LINE
        and _TIME_OF_DAY.search(line) is not None
        and _YEAR.search(line) is not None
        and _FIELD.match(data[end : end + 200]) is not None
    )


def _message(data: bytes, start: int, header: int, variant: str) -> Found:
    body = _body_start(data, header)
    end = after = -1
    if variant in ("auto", "mboxcl", "mboxcl2"):
        end, after = _by_length(data, header, body)
    counted = end >= 0
    if not counted:
        end, after = _by_separator(data, header)
    end = max(end, min(body, after))  # an empty text may have no empty line of its own behind it
    head = data[header : min(body, end)].replace(b"\r\n", b"\n")
    text = data[min(body, end) : end].replace(b"\r\n", b"\n")
    if variant == "auto":
        bare = counted and (text.startswith(b"From ") or b"\nFrom " in text)
        dialect = "mboxcl2" if bare else "mboxrd"
    else:
        dialect = "mboxo" if variant == "mboxcl" else variant
    if dialect in _QUOTED and b">From " in text:
        pattern, plain = _QUOTED[dialect]
        text = pattern.sub(plain, text)
    head, flags, expunged = take_notes(head)
    return Found(data[start:header].rstrip(b"\r\n"), head + text, after, flags, expunged)


def _line_end(data: bytes, start: int) -> int:
    end = data.find(b"\n", start)
    return len(data) if end < 0 else end + 1


def _skip_empty(data: bytes, start: int) -> int:
    while data[start : start + 1] in (b"\n", b"\r"):
        start += 1
    return start


def _body_start(data: bytes, header: int) -> int:
    """Behind the empty line that ends the header."""
    found = _EMPTY_LINE.search(
        data, header - 1
    )  # not `find` of either form: one may come at the end, or never
    return found.end() if found is not None else len(data)


def _by_length(data: bytes, header: int, body: int) -> tuple[int, int]:
    """End of the text and beginning of the next message by Content-Length; (-1, -1) where that is wrong."""
    written = _CONTENT_LENGTH.search(data[header : min(body, header + 65536)])
    if written is None:
        return -1, -1
    end = body + int(written[1])
    if end > len(data):
        return -1, -1
    after = _skip_empty(data, end)
    if after == len(data) or is_separator(data, after):
        return end, after
    return -1, -1


def _by_separator(data: bytes, header: int) -> tuple[int, int]:
    """The same by looking for the next From_ line behind an empty one, which belongs to it."""
    at = header - 1
    while (at := data.find(b"\nFrom ", at)) >= 0:
        behind_empty = data[at - 1 : at] == b"\n" or data[at - 2 : at] == b"\n\r"
        if behind_empty and at >= header and is_separator(data, at + 1):
            end = at - 1 if data[at - 1 : at] == b"\r" else at
            return max(end, header), at + 1
        at += 1
    end = len(data)
    for empty in (b"\n\n", b"\n\r\n"):  # the empty line that mbox puts behind a message
        if data[end - len(empty) : end] == empty and end - len(empty) + 1 > header:
            return end - len(empty) + 1, len(data)
    return end, end


def take_notes(header: bytes) -> tuple[bytes, frozenset[str], bool]:
    """The header without the notes of mail programs; flags; was the message removed?"""
    flags: set[str] = set()
    expunged = False
    for name, value in _NOTES.findall(header):
        text = value.decode("latin-1").strip()
        match name.lower():
            case b"status" | b"x-status":
                flags.update(_STATUS[letter] for letter in text if letter in _STATUS)
            case b"x-keywords" | b"x-mozilla-keys":
                flags.update(word for word in text.split() if is_keyword(word))
            case b"x-mozilla-status":
                with suppress(ValueError):
                    bits = int(text, 16)
                    flags.update(flag for bit, flag in _MOZILLA.items() if bits & bit)
                    expunged = bool(bits & _MOZILLA_EXPUNGED)
    return _NOTES.sub(b"", header), frozenset(flags), expunged


def is_keyword(word: str) -> bool:
    """Can it be a keyword in IMAP (RFC 3501, 9: atom)?"""
    return bool(word) and len(word) <= 100 and all("!" <= c <= "~" and c not in '(){%*"\\]' for c in word)


def date_of(separator: bytes) -> float | None:
    """The date of a From_ line, in UTC where it tells no zone (RFC 4155)."""
    found = _DATE.search(separator)
    if found is None or found[1] not in _MONTHS:
        return None
    zone = (found[8] or found[6][-5:]).decode("ascii")
    day, hour, minute, second = (int(part or b"0") for part in found.group(2, 3, 4, 5))
    with suppress(ValueError, OverflowError):
        when = float(calendar.timegm((int(found[7]), _MONTHS[found[1]], day, hour, minute, second)))
        if len(zone) == 5 and zone[0] in "+-":
            offset = int(zone[1:3]) * 3600 + int(zone[3:]) * 60
            when += -offset if zone[0] == "+" else offset
        return when
    return None


def written(text: bytes, sender: bytes, date: float, flags: Iterable[str]) -> bytes:
    """A message (LF line ends) as it stands in an mboxrd file, with its flags in the header."""
    at = -1 if text.startswith(b"\n") else text.find(b"\n\n")
    if at < 0 and not text.startswith(b"\n"):
        head, body = text.rstrip(b"\n") + b"\n", b""
    else:
        head, body = text[: at + 1], text[at + 2 :]
    header, _, _ = take_notes(head)
    known = {flag: letter for letter, flag in _STATUS.items()}
    names = sorted(set(flags))
    letters = "".join(known.get(name, "") for name in names if name != "\\Seen")
    header += b"Status: " + (b"RO" if "\\Seen" in names else b"O") + b"\n"
    if letters:
        header += b"X-Status: " + "".join(sorted(letters)).encode() + b"\n"
    keywords = [name for name in names if not name.startswith("\\")]
    if keywords:
        header += b"X-Keywords: " + " ".join(keywords).encode("ascii", "replace") + b"\n"
    body = _TO_QUOTE.sub(rb">\1", body)
    if body and not body.endswith(b"\n"):
        body += b"\n"
    stamp = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(max(date, 0.0))).encode("ascii")
    address = sender if sender and b" " not in sender and sender.isascii() else b"MAILER-DAEMON"
    return b"From %b %b\n%b\n%b\n" % (address, stamp, header, body)
