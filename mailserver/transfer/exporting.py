"""[disk] An account's folders into mbox files, or into a Maildir++.

mbox: NAME.mbox for each folder, levels as directories, flags and keywords in the header (`mbox.written`). A
file is written beside its name and renamed when it is whole; one that is there already is not touched.

Maildir++: as Dovecot would keep it: flags in the names, keywords in `dovecot-keywords`, internal dates as
file times, subscriptions. Names tell UIDVALIDITY and UID, so that an export that is run again only writes
what is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from mailserver.disk import durable
from mailserver.store import dovecot, files, maildir
from mailserver.transfer import mbox
from mailserver.transfer.account import LocalAccount, Stored
from mailserver.transfer.values import FolderReport, Report

Told = Callable[[FolderReport, int], None]  # the second: messages of the folder in all

_SENDER = re.compile(rb"(?im)^(?:return-path|from):[^\n]*?<([^<>\s]+)>")
_LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}
_DOVECOT_KEYWORDS = "dovecot-keywords"


class Target(Protocol):
    """Where folders are written."""

    def folder(self, account: LocalAccount, name: str, report: FolderReport, told: Told) -> None:
        """Write one. Raises MailError, OSError."""

    def finish(self, account: LocalAccount, names: Iterable[str]) -> None:
        """All of these folders are written."""


def export_all(account: LocalAccount, target: Target, wanted: Callable[[str], bool], told: Told) -> Report:
    """Every folder whose name is `wanted`."""
    report = Report()
    names = [folder.name for folder in account.folders() if folder.selectable and wanted(folder.name)]
    for name in names:
        one = FolderReport(name, name)
        report.folders.append(one)
        target.folder(account, name, one, told)
    target.finish(account, names)
    return report


def _count(report: FolderReport, data: bytes) -> None:
    report.imported += 1
    report.octets += len(data)


# --- mbox ------------------------------------------------------------------------------------------


class MboxFiles:
    """Files below a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path_of(self, name: str) -> Path:
        """Archive/2026 is Archive/2026.mbox. (No level of a name has a dot, so none leads elsewhere.)"""
        return self.directory / f"{name}.mbox"

    def folder(self, account: LocalAccount, name: str, report: FolderReport, told: Told) -> None:
        path = self.path_of(name)
        if path.exists():
            report.failed[str(path)] = "is there already, and was not touched"
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".part")
        stored = account.stored(name)
        with open(beside, "wb", opener=_private) as file:
            for one in stored:
                data = account.read(name, one)
                if data is None:
                    continue  # expunged meanwhile
                sender = _SENDER.search(data[:65536])
                file.write(mbox.written(data, sender[1] if sender else b"", one.date, one.flags))
                _count(report, data)
                told(report, len(stored))
            file.flush()
            durable.sync_file(file.fileno())
        durable.rename_noreplace(str(beside), str(path))

    def finish(self, account: LocalAccount, names: Iterable[str]) -> None:
        """Every file is whole already."""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


# --- Maildir++ -------------------------------------------------------------------------------------


class MaildirTree:
    """A Maildir++ in a directory that is new, or was written by an earlier export."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def folder(self, account: LocalAccount, name: str, report: FolderReport, told: Told) -> None:
        inner = maildir.directory_of(name)
        path = self.directory / inner if inner else self.directory
        for sub in ("tmp", "new", "cur"):
            (path / sub).mkdir(mode=0o700, parents=True, exist_ok=True)
        if inner:
            (path / "maildirfolder").touch(0o600)
        there = {maildir.base_of(known) for known in files.message_names(str(path), "cur")}
        keywords = files.read_keywords(str(path), _DOVECOT_KEYWORDS)
        uidvalidity, _ = account.numbers(name)
        stored = account.stored(name)
        for one in stored:
            base = f"{int(one.date)}.V{uidvalidity}U{one.uid}.export"
            if base in there:
                report.before += 1
            elif (data := account.read(name, one)) is not None:  # else it was expunged meanwhile
                _write(path, base + ":2," + _letters(one, keywords, report), data, one.date)
                _count(report, data)
            told(report, len(stored))
        if keywords:
            lines = "".join(f"{number} {word}\n" for number, word in enumerate(keywords))
            durable.write_file_atomic(str(path / _DOVECOT_KEYWORDS), lines.encode("utf-8"))

    def finish(self, account: LocalAccount, names: Iterable[str]) -> None:
        """Subscriptions, of what is there."""
        wanted = [name for name in account.subscriptions() if name in set(names)]
        durable.write_file_atomic(
            str(self.directory / files.SUBSCRIPTIONS), dovecot.subscriptions_file(wanted)
        )


def _letters(one: Stored, keywords: list[str], report: FolderReport) -> str:
    """Of a message's flags; keywords that are new get the next letter."""
    letters = {_LETTERS[flag] for flag in one.flags if flag in _LETTERS}
    for word in sorted(flag for flag in one.flags if not flag.startswith("\\")):
        if word not in keywords and len(keywords) < maildir.LETTER_KEYWORDS:
            keywords.append(word)
        if word in keywords:
            letters.add(chr(97 + keywords.index(word)))
        else:
            report.failed[f"{word} in {report.name}"] = (
                "a Maildir has 26 keywords at most; the message is there"
            )
    return "".join(sorted(letters))


def _write(path: Path, name: str, data: bytes, date: float) -> None:
    """A message into cur/, by way of tmp/."""
    beside = str(path / "tmp" / name.partition(":")[0])
    durable.unlink_quietly(beside)
    fd = durable.write_new(beside, (data,))
    with suppress(OSError, OverflowError):
        os.utime(fd, (date, date))
    durable.close(fd)
    durable.rename_noreplace(beside, str(path / "cur" / name))
