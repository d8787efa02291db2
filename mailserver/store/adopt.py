"""[disk] Files that the index does not know become messages of the folder.

A file keeps the UID in its name (`I=`) where that is this folder's UIDVALIDITY, nobody else has the UID and
the index cannot have given it to another since: at or above `floor`. So a lost index comes back with the
same UIDs, a delivery that a crash cut off between link and commit is completed, and a file that another
program moved in from another folder, or copied, is known for a stranger and gets a new UID. A stranger was
saved in the folder (RFC 8514) when it is first seen there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from mailserver.disk import durable
from mailserver.errors import MailError
from mailserver.store import files, maildir
from mailserver.store.index.rows import Folder, Row
from mailserver.store.ledger import Ledger

_RUN = 5000  # files that are sorted in one piece
_name = attrgetter("name")
T = TypeVar("T")


class _Found(NamedTuple):
    name: str
    parsed: maildir.Name
    date: int
    wire: int  # octets with CRLF line ends
    uid: int  # the UID it keeps, 0 for a new one


def adopt(
    ledger: Ledger,
    folder: Folder,
    names: Iterable[str],
    *,
    taken: set[int],
    floor: int,
    given: Mapping[str, int],
) -> list[Row]:
    """Rows for these files, ascending by UID; `folder.uidnext` is raised above them.

    taken: UIDs that are in use. given: UIDs that another server gave, by base name.
    """
    path = ledger.folder_path(folder.dir)
    ordered = _by_and_by(names, None)  # much as the files were made: what is read lies together on the disk
    found = [one for name in ordered if (one := _look(ledger, folder, path, name, floor=floor, given=given))]
    keep: dict[int, _Found] = {}
    strangers: list[_Found] = []
    for one in found:
        if one.uid and one.uid not in taken and one.uid not in keep:
            keep[one.uid] = one
        else:
            strangers.append(one)
    folder.uidnext = max([folder.uidnext, *(uid + 1 for uid in keep)])
    ledger.numbering.reserve(folder, len(strangers))
    now = int(ledger.around.clock())
    rows: list[Row] = []
    for uid, one in sorted(keep.items()):
        rows.append(_row(folder, one, uid, maildir.saved_of(one.parsed.base) or now))
    for one in _in_order(strangers):
        rows.append(_row(folder, one, folder.uidnext, now))
        folder.uidnext += 1
    return rows


def _look(
    ledger: Ledger, folder: Folder, path: str, name: str, *, floor: int, given: Mapping[str, int]
) -> _Found | None:
    parsed = maildir.parse(name[4:])
    try:
        status, wire = _measure(f"{path}/{name}", parsed)
    except OSError as error:
        _again(folder, name, error)
        return None
    if not name.isascii():
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:  # no program of ours could ever name it again
            renamed = rename_afresh(ledger, path, name, status.st_mtime)
            if renamed is None:
                return None
            name = renamed
        parsed = maildir.parse(name[4:])
    uid = given.get(parsed.base, 0)
    if not uid and parsed.uidvalidity == folder.uidvalidity and parsed.uid >= floor:
        uid = parsed.uid
    return _Found(name, parsed, int(status.st_mtime), wire, uid)


def _measure(path: str, parsed: maildir.Name) -> tuple[os.stat_result, int]:
    """Others say W= as well, and mean the same; what proves wrong is corrected when the message is read."""
    if parsed.wire is not None and parsed.size is not None:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(path)
        if parsed.size == status.st_size and status.st_size <= parsed.wire <= 2 * status.st_size:
            return status, parsed.wire
    return files.measure(path)


def _again(folder: Folder, name: str, error: OSError) -> None:
    """A file that cannot be read now becomes a message when it can: its directory is looked at again. What is
    gone, or no file, never does."""
    if isinstance(error, FileNotFoundError) or error.errno == errno.ELOOP:
        return
    if name.startswith("new/"):
        folder.new_young = 1
    else:
        folder.cur_young = 1


def _in_order(found: Iterable[_Found]) -> Iterator[_Found]:
    """By date, then by name."""
    by_date: dict[int, list[_Found]] = {}
    for one in found:
        by_date.setdefault(one.date, []).append(one)
    for date in sorted(by_date):
        yield from _by_and_by(by_date[date], _name)


def _by_and_by(values: Iterable[T], key: Callable[[T], Any] | None) -> Iterable[T]:
    """Sorted, in runs: no other thread gets on while a list is."""
    rest = list(values)
    runs = [sorted(rest[start : start + _RUN], key=key) for start in range(0, len(rest), _RUN)]  # type: ignore[type-var,arg-type]
    return runs[0] if len(runs) == 1 else merge(*runs, key=key)  # type: ignore[arg-type]


def rename_afresh(ledger: Ledger, path: str, name: str, when: float) -> str | None:
    """A name of our own for a file whose name cannot stay; None where that fails."""
    sub, _, rest = name.partition("/")
    letters = maildir.letters_of(rest)
    fresh = ledger.around.names.unique(max(when, 0.0)) + (f":2,{letters}" if sub == "cur" else "")
    if not fresh.isascii():
        fresh = fresh.partition(":")[0] + (":2," if sub == "cur" else "")
    for one in (rest, fresh):
        ledger.around.expect(os.path.join(path, sub), one)
    try:
        durable.rename_noreplace(os.path.join(path, name), os.path.join(path, sub, fresh))
    except MailError:
        return None
    return f"{sub}/{fresh}"


def _row(folder: Folder, one: _Found, uid: int, saved: int) -> Row:
    parsed = one.parsed
    ours = (parsed.uidvalidity, parsed.uid) == (folder.uidvalidity, uid)
    keywords = folder.keywords.count("\n") + 1 if folder.keywords else 0
    flags = maildir.flags_of(parsed.letters, keywords)
    return Row(uid, flags, folder.modseq, one.date, one.wire, 0 if ours else 1, one.name, saved)
