"""[disk] Taking over a Maildir that Dovecot kept: UIDs, keywords and subscriptions stay what they were.

`dovecot-uidlist`, version 3: a header `3 V<uidvalidity> N<uidnext> G<guid>`, then lines
`<uid> [<letter><value> …] :<file name>`; version 1 has `1 <uidvalidity> <uidnext>` and `<uid> <file name>`.
`dovecot-keywords`: lines `<number> <keyword>`, number 0 being the letter "a". `subscriptions`: one folder
a line, after the line `V<tab>2` with the levels split by tabs.
"""

from __future__ import annotations

import os

from attrs import frozen

from mailserver.disk import durable
from mailserver.errors import CannotName
from mailserver.store import files, maildir
from mailserver.wire import utf7

UIDLIST = "dovecot-uidlist"
KEYWORDS = "dovecot-keywords"
_LARGEST = 256 << 20


@frozen
class TakenOver:
    """What Dovecot knew of a folder: base name -> UID."""

    uidvalidity: int
    uidnext: int
    uids: dict[str, int]
    keywords: list[str]


def read(folder: str) -> TakenOver | None:
    """None where Dovecot was not here, or left nothing that makes sense."""
    try:
        fd = files.open_message(os.path.join(folder, UIDLIST))
    except OSError as error:
        files.check_absent(error)
        return None
    try:
        with durable.told():
            if os.fstat(fd).st_size > _LARGEST:
                return None
            data = b"".join(files.chunks_of(fd))
    finally:
        os.close(fd)
    return parse_uidlist(data.decode("utf-8", "surrogateescape"), files.read_keywords(folder, KEYWORDS))


def parse_uidlist(text: str, keywords: list[str]) -> TakenOver | None:
    header, _, rest = text.partition("\n")
    words = header.split()
    try:
        if words[0] == "3":
            values = {word[0]: word[1:] for word in words[1:]}
            uidvalidity, uidnext = int(values["V"]), int(values["N"])
        elif words[0] == "1":
            uidvalidity, uidnext = int(words[1]), int(words[2])
        else:
            return None
    except (IndexError, KeyError, ValueError):
        return None
    if not (0 < uidvalidity < 1 << 32 and 0 < uidnext < 1 << 32):
        return None
    uids: dict[str, int] = {}
    last = 0
    for line in rest.splitlines():
        number, _, tail = line.partition(" ")
        name = tail[tail.find(":") + 1 :] if words[0] == "3" else tail
        if not (number.isascii() and number.isdigit()) or not last < int(number) < 1 << 32 or not name:
            continue  # a damaged line costs one message its UID, not all theirs
        last = int(number)
        uids[maildir.base_of(name)] = last
    return TakenOver(uidvalidity, max(uidnext, last + 1), uids, keywords)


def parse_subscriptions(data: bytes) -> list[str]:
    """Folder names; lines that name none are left out."""
    lines = data.decode("utf-8", "replace").split("\n")
    tabs = bool(lines) and lines[0] == "V\t2"
    names: list[str] = []
    for line in lines[2 if tabs else 0 :]:
        if not line:
            continue
        parts = line.split("\t") if tabs else line.replace(".", "/").split("/")
        try:
            name = maildir.normal_name("/".join(_decoded(part) for part in parts))
            maildir.check_name(name)
        except CannotName:
            continue
        if name not in names:
            names.append(name)
    return names


def _decoded(part: str) -> str:
    """Modified UTF-7, or UTF-8 where the name holds other than ASCII."""
    if not part.isascii():
        return part
    try:
        return utf7.decode(part.encode("ascii"))
    except CannotName:
        return part


def subscriptions_file(names: list[str]) -> bytes:
    """The same format, version 2: other programs may read it."""
    lines = ["\t".join(utf7.encode(part).decode("ascii") for part in name.split("/")) for name in names]
    return "".join(f"{line}\n" for line in ["V\t2", "", *lines]).encode("ascii")
