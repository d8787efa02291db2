"""[disk] Who may do what with a folder: the file `dovecot-acl` in it, which Dovecot reads and writes too.

    anyone lr
    user=bob@example.org lrwstipekxa
    -user=eve@example.org w

One line for each identifier: rights by letter, or behind a colon by name. Lines for groups and `owner` mean
nothing here and stay as they are. A name with a blank in it stands in quotes. Without a file only the owner
has rights.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

from mailserver.disk import durable
from mailserver.errors import NotPermitted
from mailserver.events import RightsChanged
from mailserver.rights import EVERYBODY, Acl, ordered
from mailserver.store import files, maildir
from mailserver.store.index.database import Index
from mailserver.store.ledger import Ledger

FILE = "dovecot-acl"
_KEPT = 10_000  # files in memory
_YOUNG = 2_000_000_000  # nanoseconds in which a second change may not show in a time stamp
_NAMES = {
    "lookup": "l",
    "read": "r",
    "write-seen": "s",
    "write": "w",
    "insert": "i",
    "post": "p",
    "create": "k",
    "delete": "x",
    "write-deleted": "t",
    "expunge": "e",
    "admin": "a",
}
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(.*)')
_NOTHING = Acl()


def parse(text: str) -> Acl:
    entries: dict[str, str] = {}
    others: list[str] = []
    for line in text.splitlines():
        quoted = _QUOTED.fullmatch(line)
        if quoted is not None:
            name, rest = re.sub(r"\\(.)", r"\1", quoted[1]), quoted[2]
        else:
            name, _, rest = line.partition(" ")
        identifier = _identifier(name)
        if identifier is None:
            if line.strip():
                others.append(line)
            continue
        letters, _, words = rest.partition(":")
        granted = set(letters) | {_NAMES.get(word, "") for word in words.split()}
        entries[identifier] = ordered(granted | set(entries.get(identifier, "")))
    return Acl(tuple(entries.items()), tuple(others))


def _identifier(name: str) -> str | None:
    sign = "-" if name.startswith("-") else ""
    plain = name[len(sign) :]
    if plain.startswith("user=") and len(plain) > 5:
        return sign + plain[5:]
    return sign + plain if plain in EVERYBODY else None


def render(acl: Acl) -> str:
    lines = list(acl.others)
    for identifier, letters in acl.entries:
        sign = "-" if identifier.startswith("-") else ""
        plain = identifier[len(sign) :]
        name = sign + (plain if plain in EVERYBODY else f"user={plain}")
        if re.search(r'[\s"\\]', name):
            name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
        lines.append(f"{name} {letters}")
    return "".join(f"{line}\n" for line in lines)


class Acls:
    """Lists by folder, as they were when last looked at: one `stat` tells that a file is the same. In any
    thread."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._known: dict[str, tuple[tuple[int, int, int], Acl]] = {}

    def read(self, folder: str) -> Acl:
        path = os.path.join(folder, FILE)
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError as error:
            files.check_absent(error)
            return _NOTHING
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        acl = parse((files.read_small(path) or b"").decode("utf-8", "replace"))
        if len(self._known) >= _KEPT:
            self._known.clear()
        if self._clock() - status.st_mtime_ns > _YOUNG:
            self._known[path] = (stamp, acl)
        return acl


def write(folder: str, acl: Acl) -> None:
    """Durable when it returns."""
    path = os.path.join(folder, FILE)
    text = render(acl)
    if text:
        durable.write_file_atomic(path, text.encode("utf-8"))
    elif files.exists(path):
        durable.unlink(path)
        durable.sync_dir(folder)


# --- for Ledger.run -------------------------------------------------------------------------------


def of_folder(ledger: Ledger, opened: Index, directory: str, acls: Acls) -> Acl:
    """Raises NoSuchMailbox."""
    ledger.folder(opened, directory)
    return acls.read(ledger.folder_path(directory))


def change(
    ledger: Ledger,
    opened: Index,
    directory: str,
    *,
    acls: Acls,
    by: str,
    identifier: str,
    edit: Callable[[str], str],
    note: Callable[[str, set[str]], None],
) -> None:
    """Give an identifier the rights that `edit` makes of its present ones. `note` is told whom the account's
    folders grant anything now. Raises NotPermitted where `by` may not administer."""
    before = of_folder(ledger, opened, directory, acls)
    if by != ledger.user and "a" not in before.rights_of(by):
        raise NotPermitted
    after = before.with_entry(identifier, edit(before.of(identifier)))
    if after != before:
        write(ledger.folder_path(directory), after)
        note(ledger.user, identifiers(ledger.path, acls))
        name = maildir.folder_of(directory) or ""
        ledger.announce(RightsChanged(ledger.user, name, before.entries, after.entries))


def inherit(ledger: Ledger, directory: str, acls: Acls) -> None:
    """A new folder has the list of the one above it (RFC 4314, 4: CREATE)."""
    parent = (maildir.folder_of(directory) or "").rpartition("/")[0]
    if parent:
        acl = acls.read(ledger.folder_path(maildir.directory_of(parent)))
        if acl != _NOTHING:
            write(ledger.folder_path(directory), acl)


def identifiers(account: str, acls: Acls) -> set[str]:
    """Whom the folders of an account grant anything. `account`: its directory."""
    found = set(acls.read(account).identifiers)
    try:
        with os.scandir(account) as entries:
            for entry in entries:
                if entry.name[0] == "." and entry.is_dir(follow_symlinks=False):
                    found |= acls.read(entry.path).identifiers
    except OSError:
        return found
    return found


def shared_with(ledger: Ledger, opened: Index, user: str, acls: Acls) -> list[tuple[str, str]]:
    """Folders that `user` may look up, and the rights on them, in the order of names."""
    found: list[tuple[str, str]] = []
    for directory in ledger.directories():
        rights = acls.read(ledger.folder_path(directory)).rights_of(user)
        name = maildir.folder_of(directory)
        if "l" in rights and name is not None:
            found.append((name, rights))
    return sorted(found, key=lambda pair: maildir.sort_key(pair[0]))
