"""Messages that can be told from one another and made again from their number alone."""

from __future__ import annotations

import random
import re

NUMBER = re.compile(rb"^X-Crash-Number: ([0-9]+)$", re.MULTILINE)


def message(number: int) -> bytes:
    """The message of a number, LF line ends: 200 octets to about 60 KB, dots at the beginning of lines."""
    dice = random.Random(number)
    size = dice.choice((200, 1_000, 4_000, 9_000, 60_000))
    head = (
        f"From: load@sender.example\nTo: someone@example.org\nSubject: load {number}\n"
        f"X-Crash-Number: {number}\n\n"
    ).encode()
    line = f"{number:08d} {dice.getrandbits(200):050x}\n".encode()
    dotted = b".\n..\n." + line
    return head + (dotted + line * 9) * (size // 600) + line


def number_of(data: bytes) -> int | None:
    """The number that a message carries."""
    match = NUMBER.search(data[:4096])
    return int(match[1]) if match else None


def fault(data: bytes) -> str | None:
    """What is wrong with a stored message (LF line ends), None where it is whole: our message to the last
    octet, with nothing but the server's own header fields before it."""
    number = number_of(data)
    if number is None:
        return f"no number in {len(data)} octets that begin with {data[:60]!r}"
    ours = message(number)
    if not data.endswith(ours):
        return f"message {number} is not whole: {len(data)} octets, sent were {len(ours)}"
    added = data[: -len(ours)]
    if added and not (added.startswith(b"Return-Path: ") and added.endswith(b"\n") and b"\n\n" not in added):
        return f"message {number} has a strange header: {added[:200]!r}"
    return None
