"""Messages for the benchmarks: the same bytes in every run, varied like a person's mail."""

from __future__ import annotations

import base64
import os
import random
from functools import cache
from pathlib import Path

WORDS = (
    "the of and to in is that for it as was with be by on not he this are or his from at which but have an "
    "had they you were their one all we can her has there been if more when will would who so no report "
    "meeting budget invoice draft version release server garden holiday train ticket address question"
).split()
NAMES = ("Alice Able", "Bob Baker", "Carol Chen", "Dmitri Dvorak", "Eve Östberg", "Farid Fakih", "Grace Hall")


def words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(WORDS, k=count))


def paragraph(rng: random.Random, octets: int) -> bytes:
    """Lines of words, CRLF ends, at least `octets` long."""
    lines, size = [], 0
    while size < octets:
        line = words(rng, rng.randint(6, 11)).encode()
        lines.append(line)
        size += len(line) + 2
    return b"\r\n".join(lines) + b"\r\n"


def headers(rng: random.Random, number: int) -> bytes:
    """A header block as it arrives after two hops, without the MIME fields."""
    name = rng.choice(NAMES)
    local = name.split()[0].lower()
    day, hour = 1 + number % 28, number % 24
    subject = words(rng, rng.randint(2, 8)).capitalize()
    fields = [
        f"Received: from mx{number % 9}.origin.test (mx.origin.test [192.0.2.{number % 250}])\r\n"
        f"\tby mail.bench.test with ESMTPS id {number:08x};\r\n"
        f"\tMon, {day:02d} Jun 2026 {hour:02d}:10:11 +0200",
        f"Date: Mon, {day:02d} Jun 2026 {hour:02d}:09:58 +0200",
        f'From: "{name}" <{local}@origin.test>'
        if name.isascii()
        else f"From: =?utf-8?q?Eve_=C3=96stberg?= <{local}@origin.test>",
        f"To: user{number % 100:03d}@bench.test, {rng.choice(NAMES[:4])} <copy@bench.test>",
        f"Subject: {'Re: ' if number % 3 else ''}{subject}",
        f"Message-ID: <{number}.{rng.getrandbits(64):x}@origin.test>",
        "MIME-Version: 1.0",
        f"X-Mailer: Bench {number % 7}.{number % 5}",
    ]
    if number % 3:
        fields.append(f"In-Reply-To: <{number - 1}.{rng.getrandbits(64):x}@origin.test>")
    return "\r\n".join(fields).encode() + b"\r\n"


def mixed(number: int) -> bytes:
    """One of a person's messages: plain, alternative or with an attachment; 2 to 40 KiB, about 9 KiB."""
    rng = random.Random(number)
    head = headers(rng, number)
    text = paragraph(rng, rng.randint(800, 6000))
    kind = number % 4
    if kind < 2:
        return head + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text
    html = b"<html><body><p>" + text.replace(b"\r\n", b"<br>\r\n") + b"</p></body></html>\r\n"
    part = b"--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text
    part += b"--b1\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html + b"--b1--\r\n"
    if kind == 2:
        return head + b'Content-Type: multipart/alternative; boundary="b1"\r\n\r\n' + part
    blob = base64.encodebytes(rng.randbytes(rng.randint(1000, 12000))).replace(b"\n", b"\r\n")
    return (
        head
        + b'Content-Type: multipart/mixed; boundary="b2"\r\n\r\n--b2\r\n'
        + b'Content-Type: multipart/alternative; boundary="b1"\r\n\r\n'
        + part
        + b'\r\n--b2\r\nContent-Type: application/pdf; name="report.pdf"\r\n'
        + b"Content-Transfer-Encoding: base64\r\n"
        + b'Content-Disposition: attachment; filename="report.pdf"\r\n\r\n'
        + blob
        + b"--b2--\r\n"
    )


@cache
def sized(octets: int) -> bytes:
    """A plain message of exactly `octets`."""
    rng = random.Random(octets)
    head = headers(rng, 1) + b"Content-Type: text/plain\r\n\r\n"
    body = paragraph(rng, octets - len(head))
    return (head + body)[: octets - 2] + b"\r\n"


def fill(directory: Path, count: int, cache_dir: Path) -> None:
    """Put messages 0..count-1 (LF line ends) into a Maildir's `new`; hard links from `cache_dir`, which
    must be on the same file system."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "cur", "new"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        source = cache_dir / str(number)
        if not source.exists():
            source.write_bytes(mixed(number).replace(b"\r\n", b"\n"))
            os.utime(source, (1_780_000_000 + number,) * 2)
        os.link(source, directory / "new" / f"{1_780_000_000 + number}.M{number}P1.bench")
