"""Modified UTF-7 (RFC 3501, 5.1.3): mailbox names in IMAP, and folder names on the disk.

Only the canonical form is accepted, so that a name has exactly one encoding: printable ASCII stands for
itself, "&" is "&-", everything else is UTF-16BE in a base64 with "," for "/", in one run per stretch.
"""

from __future__ import annotations

import binascii
import re

from mailserver.errors import CannotName

_TO_BASE64 = bytes.maketrans(b",", b"/")
_FROM_BASE64 = bytes.maketrans(b"/", b",")
_OTHER = re.compile(r"[^\x20-\x7e]+|&")
_SHIFTED = re.compile(rb"&([^-]*)-")


def encode(name: str) -> bytes:
    """Raises CannotName for lone surrogates, which UTF-16 cannot hold."""
    if name.isascii() and name.isprintable() and "&" not in name:
        return name.encode("ascii")
    try:
        return _OTHER.sub(_encode_run, name).encode("ascii")
    except UnicodeEncodeError as error:
        raise CannotName(cause=error) from error


def _encode_run(match: re.Match[str]) -> str:
    run = match.group()
    if run == "&":
        return "&-"
    base64 = binascii.b2a_base64(run.encode("utf-16-be"), newline=False).rstrip(b"=")
    return "&" + base64.translate(_FROM_BASE64).decode("ascii") + "-"


def decode(name: bytes) -> str:
    """Raises CannotName for anything but the canonical encoding of a name."""
    if b"&" not in name:
        if not name.isascii() or not name.decode("ascii").isprintable():
            raise CannotName(cause="not modified UTF-7")
        return name.decode("ascii")
    try:
        text = "".join(_decode_parts(name))
    except (UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise CannotName(cause=error) from error
    if encode(text) != name:
        raise CannotName(cause="not the canonical form of modified UTF-7")
    return text


def _decode_parts(name: bytes) -> list[str]:
    parts: list[str] = []
    done = 0
    for match in _SHIFTED.finditer(name):
        parts.append(name[done : match.start()].decode("ascii"))
        base64 = match.group(1).translate(_TO_BASE64)
        if base64:
            padded = base64 + b"=" * (-len(base64) % 4)
            parts.append(binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be"))
        else:
            parts.append("&")
        done = match.end()
    rest = name[done:]
    if b"&" in rest:
        raise ValueError("unfinished shift")
    parts.append(rest.decode("ascii"))
    return parts
