"""[disk] What other processes did to an account since this one had its lock.

The lock file holds 16 octets: who had the lock last, and how many changes have been told. Who takes the lock
and finds himself there is alone, and all that he remembers of the account holds: one short read. Else what is
remembered is looked at again, and mailboxes in memory are brought up to date from the index, by MODSEQ,
before anything else is done: so their changes come in the order of the commits, whoever made them.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from attrs import define

from mailserver.disk import durable
from mailserver.store.changes import Change
from mailserver.store.index.database import Index
from mailserver.store.index.rows import Folder

_STAMP = struct.Struct("<QQ")


class Stamp:
    """The content of the lock file, as this process left or saw it. process: a number nobody else has."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._known: bytes | None = None

    def enter(self, fd: int) -> bool:
        """With the lock held: were others here since? Raises MailError."""
        found = os.pread(fd, _STAMP.size, 0)
        if found == self._known:
            return False
        empty = len(found) < _STAMP.size
        self._known = _STAMP.pack(self._process, 0 if empty else _STAMP.unpack(found)[1])
        try:
            os.pwrite(fd, self._known, 0)
        except OSError as error:
            # A new file on a full disk: what stays empty is news for everybody else. An old stamp is not.
            if not empty:
                raise durable.mail_error(error) from error
        return True

    def count(self, fd: int) -> None:
        """With the lock held: something was changed, which those outside should look at."""
        assert self._known is not None
        self._known = _STAMP.pack(self._process, _STAMP.unpack(self._known)[1] + 1 & (1 << 64) - 1)
        with suppress(OSError):
            os.pwrite(fd, self._known, 0)

    def unchanged(self, fd: int) -> bool:
        """Without the lock, and in no time: nothing was changed since this process had it."""
        with suppress(OSError):
            return self._known is not None and os.pread(fd, 8, 8) == self._known[8:]
        return False


@define
class Followed:
    """A folder that is in memory, and what its mailbox has been told."""

    uidvalidity: int
    modseq: int
    uidnext: int
    recent_from: int

    @classmethod
    def of(cls, folder: Folder) -> Followed:
        return cls(folder.uidvalidity, folder.modseq, folder.uidnext, folder.recent_from)


class Following:
    """The folders of an account that are in memory, and the numbers of what their mailboxes are told."""

    def __init__(self, user: str, post: Callable[[Change], None]) -> None:
        self.number = 0  # of the last change
        self._user = user
        self._post = post
        self._folders: dict[str, Followed] = {}
        self._modseqs: dict[str, int] = {}  # of every folder that was looked at, as of then

    @property
    def directories(self) -> list[str]:
        return list(self._folders)

    def begin(self, folder: Folder) -> None:
        """It is in memory from now on, as it is."""
        self._folders[folder.dir] = Followed.of(folder)

    def end(self, directory: str) -> None:
        """[any thread] It is not any more."""
        self._folders.pop(directory, None)

    def found(self, folder: Folder) -> None:
        """Its row was read, and is about to be changed perhaps."""
        self._modseqs[folder.dir] = folder.modseq

    def tell(self, directory: str, **what: Any) -> None:
        """A commit of this process."""
        self.number += 1
        before = self._modseqs.get(directory, -1)
        change = Change(self._user, directory, self.number, before=before, **what)
        if change.modseq:
            self._modseqs[directory] = change.modseq
        known = self._folders.get(directory)
        if known is not None:
            known.modseq = max(known.modseq, change.modseq)
            known.uidnext = max(known.uidnext, change.uidnext)
            known.recent_from = max(known.recent_from, change.recent_from)
        self._post(change)

    def told_by_others(self, change: Change) -> None:
        """[reactor] The mailbox has taken a commit of another process. Where this comes between a thread's
        steps, the same is told twice, which the mailbox bears."""
        known = self._folders.get(change.directory)
        if known is not None and known.modseq == change.before:
            known.modseq, known.uidnext = change.modseq, max(known.uidnext, change.uidnext)

    def catch_up(self, opened: Index) -> None:
        """Tell what other processes have committed."""
        for directory, known in list(self._folders.items()):
            folder = opened.folder(directory)
            if folder is None or folder.uidvalidity != known.uidvalidity:
                self._pass_on(directory, gone=True)
                self.end(directory)
            elif Followed.of(folder) != known:
                for change in news(opened, folder, known):
                    self._pass_on(directory, **change)
                self.begin(folder)

    def lose(self) -> None:
        """The index was made anew: sessions have to open their mailboxes again."""
        for directory in self.directories:
            self._pass_on(directory, gone=True)
        self._folders.clear()

    def _pass_on(self, directory: str, **what: Any) -> None:
        self.number += 1
        self._post(Change(self._user, directory, self.number, caught_up=True, **what))


def news(opened: Index, folder: Folder, known: Followed) -> Iterator[dict[str, Any]]:
    """The changes of a folder since, as fields of `Change`: what was removed (first, for a client takes the
    MODSEQ of flags for that of all it knows), one for each MODSEQ of flags, and a last one."""
    keywords = tuple(folder.keywords.split("\n")) if folder.keywords else ()
    common: dict[str, Any] = {"uidnext": folder.uidnext, "keywords": keywords}
    changed: dict[int, list[tuple[int, int]]] = defaultdict(list)
    added = []
    if folder.modseq != known.modseq:
        for row in opened.rows_since(folder, known.modseq):
            if row.uid >= known.uidnext:
                added.append(row)
            else:
                changed[row.modseq].append((row.uid, row.flags))
        removed = opened.expunged_since(folder, known.modseq)
        if removed is None:
            yield common | {"left": [uid for uid in opened.uids(folder) if uid < known.uidnext]}
        elif removed:
            yield common | {"removed": [uid for uid in removed if uid < known.uidnext]}
    for modseq in sorted(changed):
        yield common | {"modseq": modseq, "changed": changed[modseq]}
    yield common | {
        "modseq": folder.modseq,
        "added": added,
        "recent_from": folder.recent_from,
    }
