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

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import evolve, frozen

from mailserver.disk import durable
from mailserver.errors import TemporaryFailure
from mailserver.store import maildir
from mailserver.wire.lines import size_on_wire

UIDS = "mailserver-uidvalidity"
KEYWORDS = "mailserver-keywords"
LAST = "mailserver-last-uidvalidity"
MARKER = "maildirfolder"  # what tells a Maildir++ folder from an inbox
SUBSCRIPTIONS = "subscriptions"
_LARGEST = 1 << 20  # octets of a small file that is read
_ABSENT = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG))
_CHUNK = 1 << 18
_SUBS = ("cur", "new", "tmp")
_LARGE = 4 << 20
_one_large = threading.Lock()


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


def check_absent(error: OSError) -> None:
    """Returns where `error` says that there is no such thing. A disk that fails, or a process without a free
    descriptor, says nothing about it: raises MailError, for what is thought missing would be made anew, told
    to be gone, or refused for good."""
    if error.errno not in _ABSENT:
        raise durable.mail_error(error) from error


def read_small(path: str) -> bytes | None:
    """A small regular file, None where there is none; a symbolic link is not followed. Raises MailError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        check_absent(error)
        return None
    try:
        with durable.told():
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return None
            return os.read(fd, min(status.st_size, _LARGEST))  # the room for the largest is dear
    finally:
        os.close(fd)


def read_uids(folder: str) -> Uids | None:
    """None where the file is absent or makes no sense. Raises MailError, as all that read here."""
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


def folder_path(account: str, directory: str) -> str:
    """`directory` is "" for the inbox."""
    return f"{account}/{directory}" if directory else account


def folder_directories(account: str) -> list[str]:
    """Directories of an account that are folders, INBOX first."""
    found = [""]
    with durable.told(), os.scandir(account) as entries:
        for entry in entries:
            name = entry.name
            if (
                name[0] == "."
                and entry.is_dir(follow_symlinks=False)
                and maildir.folder_of(name) is not None
                and is_directory(os.path.join(entry.path, "cur"))
            ):
                found.append(name)
    return found


def furnish_folder(path: str, uids: Uids, *, marked: bool) -> None:
    """What a folder consists of, below a directory that is there."""
    for sub in _SUBS:
        durable.make_dir(os.path.join(path, sub))
    if marked:
        with suppress(durable.Exists):
            durable.close(durable.write_new(os.path.join(path, MARKER), ()))
    write_uids(path, uids)


def remove_folder(path: str) -> None:
    """Take back what `furnish_folder` made; a folder with mail in it stays. For cleaning up."""
    for name in (MARKER, UIDS):
        durable.unlink_quietly(os.path.join(path, name))
    with suppress(TemporaryFailure):
        for sub in _SUBS:
            durable.remove_dir(os.path.join(path, sub))
        durable.remove_dir(path)


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
    """A real one, not a symbolic link. Raises MailError where the disk does not tell."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError as error:
        check_absent(error)
        return False


def exists(path: str) -> bool:
    """There is something of that name, be it a symbolic link. Raises MailError as `is_directory`."""
    try:
        os.lstat(path)
    except OSError as error:
        check_absent(error)
        return False
    return True


def open_message(path: str) -> int:
    """A descriptor of a regular file. Raises OSError; ELOOP for a symbolic link."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(path)
    return fd


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """[thread] While somebody has so much of a message in memory. Large ones come one at a time: what is done
    with them keeps the interpreter busy, so that several would be no quicker, and a few of them would take as
    much memory as all else (CASES E13)."""
    if size <= _LARGE:
        yield
        return
    with _one_large:
        yield


def chunks_of(fd: int) -> Iterator[bytes]:
    while chunk := os.read(fd, _CHUNK):
        yield chunk


def measure(path: str) -> tuple[os.stat_result, int]:
    """The status of a regular file, and its octets with CRLF line ends, counted. Raises OSError; ELOOP for a
    symbolic link."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(path)
        chunk = os.read(fd, min(status.st_size, _CHUNK) + 1)  # most are at their end with it
        size = wire_length(chunk)
        if len(chunk) != status.st_size:
            after_cr = chunk.endswith(b"\r")
            for chunk in chunks_of(fd):
                size += wire_length(chunk, after_cr)
                after_cr = chunk.endswith(b"\r")
        return status, size
    finally:
        os.close(fd)


def wire_size(path: str) -> int:
    """Octets with CRLF line ends, counted. Raises OSError."""
    return measure(path)[1]


def wire_length(chunk: bytes, after_cr: bool = False) -> int:
    """Octets of the wire form of a chunk; `after_cr`: the octet before it is a CR."""
    size = size_on_wire(chunk)
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
