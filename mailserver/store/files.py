"""[disk] What stands in a folder: its files, and the small files of ours beside the mail.

`mailserver-uidvalidity` in every folder (`key value` lines) says what the index must never forget:

    uidvalidity   given when the folder was made, unique within the account
    uidnext       no UID at or above it was ever given; while the server runs it lies ahead by a reserve
    modseq        the same for MODSEQ
    special       the special use, where the folder has one (RFC 6154)
    run           which start of the server has made the reserve, where one stands: BOOT/START

So an index that is lost, or that a power cut threw back, never makes a UID be given twice.
`mailserver-keywords` has the lines `NUMBER NAME` of the folder's keywords (the letters a to z of file names
are the first 26). `mailserver-last-uidvalidity` of the account keeps the greatest of deleted folders.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from attrs import evolve, frozen

from mailserver import durable

UIDS = "mailserver-uidvalidity"
KEYWORDS = "mailserver-keywords"
LAST = "mailserver-last-uidvalidity"
SUBSCRIPTIONS = "subscriptions"
_LARGEST = 1 << 20  # octets of a small file that is read
_CHUNK = 1 << 18


@frozen
class Uids:
    """The file `mailserver-uidvalidity`."""

    uidvalidity: int = 0
    uidnext: int = 1
    modseq: int = 1
    special: str = ""
    run: str = ""

    def reserved(self, uidnext: int, modseq: int, run: str = "") -> Uids:
        return evolve(self, uidnext=uidnext, modseq=modseq, run=run)


def read_small(path: str) -> bytes | None:
    """A small regular file, or None; a symbolic link is not followed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        return os.read(fd, min(status.st_size, _LARGEST))  # the room for the largest is dear
    except OSError:
        return None
    finally:
        os.close(fd)


def read_uids(folder: str) -> Uids | None:
    """None where the file is absent or makes no sense."""
    data = read_small(os.path.join(folder, UIDS))
    if data is None:
        return None
    values: dict[str, str] = {}
    for line in data.decode("ascii", "replace").splitlines():
        key, _, value = line.partition(" ")
        values[key] = value
    try:
        uids = Uids(
            int(values["uidvalidity"]),
            int(values["uidnext"]),
            int(values["modseq"]),
            values.get("special", ""),
            values.get("run", ""),
        )
    except (KeyError, ValueError):
        return None
    sane = 0 < uids.uidvalidity < 1 << 32 and 0 < uids.uidnext < 1 << 32 and 0 < uids.modseq < 1 << 63
    return uids if sane else None


def write_uids(folder: str, uids: Uids) -> None:
    text = f"uidvalidity {uids.uidvalidity}\nuidnext {uids.uidnext}\nmodseq {uids.modseq}\n"
    if uids.special:
        text += f"special {uids.special}\n"
    if uids.run:
        text += f"run {uids.run}\n"
    durable.write_file_atomic(os.path.join(folder, UIDS), text.encode("ascii"))


def read_keywords(folder: str, name: str = KEYWORDS) -> list[str]:
    """Keywords by number. The lines must count from 0 without a gap; what comes after one is left out."""
    data = read_small(os.path.join(folder, name))
    keywords: list[str] = []
    for line in (data or b"").decode("ascii", "replace").splitlines():
        number, _, keyword = line.partition(" ")
        if number != str(len(keywords)) or not keyword:
            break
        keywords.append(keyword)
    return keywords


def write_keywords(folder: str, keywords: list[str]) -> None:
    text = "".join(f"{number} {keyword}\n" for number, keyword in enumerate(keywords))
    durable.write_file_atomic(os.path.join(folder, KEYWORDS), text.encode("ascii"))


def read_last(account: str) -> int:
    data = read_small(os.path.join(account, LAST)) or b""
    return int(data) if data.strip().isdigit() and len(data) < 12 else 0


def write_last(account: str, uidvalidity: int) -> None:
    durable.write_file_atomic(os.path.join(account, LAST), b"%d\n" % uidvalidity)


# --- the messages --------------------------------------------------------------------------------


def message_names(folder: str, sub: str) -> set[str]:
    """`cur/NAME` of every regular file; symbolic links, FIFOs, directories and dot files are no messages."""
    names: set[str] = set()
    try:
        with os.scandir(os.path.join(folder, sub)) as entries:
            for entry in entries:
                if entry.name[0] != "." and entry.is_file(follow_symlinks=False):
                    names.add(f"{sub}/{entry.name}")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise durable.mail_error(error) from error
    return names


def directory_mtime(folder: str, sub: str) -> int:
    """In nanoseconds, 0 where there is no such directory."""
    try:
        return os.lstat(f"{folder}/{sub}").st_mtime_ns
    except OSError:
        return 0


def is_directory(path: str) -> bool:
    """A real one, not a symbolic link."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def open_message(path: str) -> int:
    """A descriptor of a regular file. Raises OSError; ELOOP for a symbolic link."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(path)
    return fd


def chunks_of(fd: int) -> Iterator[bytes]:
    while chunk := os.read(fd, _CHUNK):
        yield chunk


def wire_size(path: str) -> int:
    """Octets with CRLF line ends, counted. Raises OSError."""
    fd = open_message(path)
    try:
        size = 0
        after_cr = False
        for chunk in chunks_of(fd):
            size += wire_length(chunk, after_cr)
            after_cr = chunk.endswith(b"\r")
        return size
    finally:
        os.close(fd)


def wire_length(chunk: bytes, after_cr: bool = False) -> int:
    """Octets of the wire form of a chunk; `after_cr`: the octet before it is a CR."""
    size = len(chunk) + chunk.count(b"\n")
    if b"\r" in chunk:
        size -= chunk.count(b"\r\n")
    return size - (after_cr and chunk.startswith(b"\n"))


def to_wire(chunk: bytes, after_cr: bool = False) -> bytes:
    """The wire form: every line end CRLF. What holds CRLF already keeps it."""
    if b"\r" in chunk:
        wire = chunk.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    else:
        wire = chunk.replace(b"\n", b"\r\n")
    return wire[1:] if after_cr and chunk.startswith(b"\n") else wire


def remove_old_tmp(folder: str, before: float) -> int:
    """Remove what was left in tmp/ and not touched since `before` (maildir(5): 36 hours)."""
    removed = 0
    path = os.path.join(folder, "tmp")
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if status.st_mtime < before and stat.S_ISREG(status.st_mode):
                    durable.unlink_quietly(entry.path)
                    removed += 1
    except OSError:
        return removed
    return removed
