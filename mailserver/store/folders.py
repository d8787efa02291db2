"""[disk] The folders of an account: made, removed, renamed, subscribed to; each a function for `Ledger.run`.

A folder that is deleted is first renamed to a name that is no folder, so that it goes in one step; what a
crash leaves of it is removed when the account is opened next.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from attrs import evolve

from mailserver.disk import durable
from mailserver.errors import CannotName, LimitReached, MailboxExists, NoSuchMailbox, TemporaryFailure
from mailserver.events import Naming
from mailserver.interfaces import FolderInfo
from mailserver.store import dovecot, files, maildir, object_ids
from mailserver.store.files import Uids
from mailserver.store.index.database import Index
from mailserver.store.index.rows import Folder
from mailserver.store.ledger import Ledger
from mailserver.store.sharing import acl

SPECIAL = (
    ("Drafts", "\\Drafts"),
    ("Sent", "\\Sent"),
    ("Junk", "\\Junk"),
    ("Trash", "\\Trash"),
    ("Archive", "\\Archive"),
)
"""Folders of a new account and their special use (RFC 6154)."""

OLD_TMP = 36 * 3600.0  # seconds, maildir(5)
_DELETED = "mailserver-deleted-"
_ACLS = acl.Acls()


def prepare(ledger: Ledger) -> None:
    """The account's directory and inbox exist when this returns."""
    if not files.is_directory(ledger.path):
        if os.path.lexists(ledger.path):
            raise TemporaryFailure(cause=f"{ledger.path} is not a directory")
        domain = os.path.dirname(ledger.path)
        durable.make_dirs(domain)
        durable.set_topdir_flag(domain)
        durable.make_dirs(ledger.path)
    ledger.run(_prepare)


def _prepare(ledger: Ledger, opened: Index) -> None:
    names = os.listdir(ledger.path)
    if not files.is_directory(os.path.join(ledger.path, "cur")):
        if files.read_uids(ledger.path) is None and opened.folder("") is None:
            _make(ledger, opened, "", for_mail=True)
        else:
            for sub in ("tmp", "new", "cur"):
                durable.make_dir(os.path.join(ledger.path, sub))
            durable.sync_dir(ledger.path)
    for sub in ("tmp", "new"):
        durable.make_dir(os.path.join(ledger.path, sub))
    for name in names:
        if name.startswith(_DELETED):
            _remove_tree(os.path.join(ledger.path, name))
    before = ledger.around.clock() - OLD_TMP
    for directory in ledger.directories():
        files.remove_old_tmp(ledger.folder_path(directory), before)


def furnish(ledger: Ledger, opened: Index) -> None:
    """At the first log-in: folders for special uses, and all that is there subscribed to. Mail may have come
    before that. An account with subscriptions, ours or another server's, has been furnished already."""
    if files.exists(os.path.join(ledger.path, files.SUBSCRIPTIONS)):
        return
    here = set(ledger.directories())
    for name, special in SPECIAL:
        directory = maildir.directory_of(name)
        if directory in here:
            if not ledger.folder(opened, directory).special:
                set_special(ledger, opened, name, special)
        else:
            _make(ledger, opened, directory, special)
    names = (maildir.folder_of(directory) for directory in sorted(here - {""}))
    ours = [name for name, _ in SPECIAL]
    others = [name for name in names if name is not None and name not in ours]
    _write_subscriptions(ledger, ["INBOX", *ours, *others])


def _make(
    ledger: Ledger, opened: Index, directory: str, special: str = "", *, for_mail: bool = False
) -> Folder:
    """Directories, file and row of a new folder, durable. `for_mail`: some is there already, so its UIDs are
    reserved with the same write. Raises NoSpace and the like."""
    uids = Uids(ledger.numbering.next_uidvalidity(opened), 1, 1, special)
    if for_mail:
        uids = ledger.numbering.with_reserve(uids)
    stale = opened.folder(directory)  # of a folder that another program removed, or a deletion cut short
    path = ledger.folder_path(directory)
    made = durable.make_dir(path)
    try:
        files.furnish_folder(path, uids, marked=bool(directory))  # syncs the directory
        if directory:
            durable.sync_dir(ledger.path)
        with opened.transaction():
            if stale is not None:
                opened.remove_folder(stale)
            row = opened.add_folder(directory, uids.uidvalidity, 1, 1)
            row.special = special
            opened.save_folder(row)
    except BaseException:
        if made:
            files.remove_folder(path)
        raise
    ledger.numbering.remember(directory, uids)
    return row


# --- listing -------------------------------------------------------------------------------------


def list_folders(ledger: Ledger, opened: Index) -> list[FolderInfo]:
    """From the directory; what the index knows of each is added."""
    rows = {row.dir: row for row in opened.folders()}
    subscribed = set(subscriptions(ledger, opened))
    directories = {maildir.folder_of(directory): directory for directory in ledger.directories()}
    found: list[FolderInfo] = []
    for name, exists in maildir.with_superiors(name for name in directories if name is not None).items():
        row = rows.get(directories[name]) if exists else None
        special = row.special if row is not None else ""
        found.append(FolderInfo(name, special, name in subscribed, exists, row.modseq if row else 0))
    return found


def subscriptions(ledger: Ledger, opened: Index) -> list[str]:
    data = files.read_small(os.path.join(ledger.path, files.SUBSCRIPTIONS))
    return dovecot.parse_subscriptions(data) if data is not None else []


def subscribe(ledger: Ledger, opened: Index, name: str, wanted: bool) -> None:
    """RFC 3501, 6.3.6: a name that no folder has may be subscribed to; it stays when the folder goes."""
    name = maildir.normal_name(name)
    maildir.check_name(name)
    names = subscriptions(ledger, opened)
    if wanted == (name in names):
        return
    _write_subscriptions(ledger, [*names, name] if wanted else [n for n in names if n != name])
    ledger.announce_name(name, Naming.SUBSCRIBED if wanted else Naming.UNSUBSCRIBED)


def _write_subscriptions(ledger: Ledger, names: Sequence[str]) -> None:
    path = os.path.join(ledger.path, files.SUBSCRIPTIONS)
    durable.write_file_atomic(path, dovecot.subscriptions_file(list(names)))


# --- create, delete, rename ----------------------------------------------------------------------


def create(ledger: Ledger, opened: Index, name: str, special: str, limit: int, *, old: str = "") -> str:
    """RFC 3501, 6.3.3: superiors that are missing are made too. `old`: the folder whose messages it gets.
    The MAILBOXID."""
    name = maildir.normal_name(name.removesuffix("/"))
    directory = maildir.directory_of(name)
    here = set(ledger.directories())
    if directory in here:
        raise MailboxExists()
    above = [maildir.directory_of(one) for one in maildir.superiors(name)]
    missing = [one for one in above if one not in here]
    if len(here) + len(missing) >= limit:
        raise LimitReached()
    if special and any(row.special == special for row in opened.folders()):
        raise CannotName("That special use is taken", imap="USEATTR")
    for one in missing:
        _make(ledger, opened, one)
        acl.inherit(ledger, one, _ACLS)
    row = _make(ledger, opened, directory, special)
    acl.inherit(ledger, directory, _ACLS)
    _announce_made(ledger, missing)
    ledger.announce_name(name, Naming.RENAMED if old else Naming.CREATED, old)
    return object_ids.mailbox_id(ledger.user, row.uidvalidity)


def _announce_made(ledger: Ledger, directories: Sequence[str]) -> None:
    for directory in directories:
        ledger.announce_name(maildir.folder_of(directory) or "", Naming.CREATED)


def delete(ledger: Ledger, opened: Index, name: str) -> None:
    """RFC 3501, 6.3.4. What lies below stays; the name is then one of a level that holds no mail."""
    name = maildir.normal_name(name)
    directory = maildir.directory_of(name)
    if not directory:
        raise CannotName("INBOX cannot be deleted")
    if directory not in ledger.directories():
        if any(one.startswith(directory + ".") for one in ledger.directories()):
            raise CannotName("That name has only inferior names")
        raise NoSuchMailbox()
    row = ledger.folder(opened, directory)
    files.write_last(ledger.path, max(files.read_last(ledger.path), row.uidvalidity))
    away = os.path.join(ledger.path, f"{_DELETED}{ledger.around.names.unique(ledger.around.clock())}")
    durable.rename_noreplace(ledger.folder_path(directory), away)
    durable.sync_dir(ledger.path)
    ledger.forget_folder(directory)
    with opened.transaction():
        opened.remove_folder(row)
        ledger.recount(opened)
    ledger.tell(directory, gone=True)
    ledger.announce_name(name, Naming.DELETED)
    _remove_tree(away)


def rename(ledger: Ledger, opened: Index, old: str, new: str) -> None:
    """RFC 3501, 6.3.5: with everything below. UIDVALIDITY and UIDs go with the messages."""
    old, new = maildir.normal_name(old), maildir.normal_name(new.removesuffix("/"))
    source, target = maildir.directory_of(old), maildir.directory_of(new)
    if not source or not target or new == old or new.startswith(old + "/"):
        raise CannotName()
    here = ledger.directories()
    moving = [one for one in here if one == source or one.startswith(source + ".")]
    if not moving:
        raise NoSuchMailbox()
    pairs = [(one, target + one[len(source) :]) for one in moving]
    if any(there in here for _, there in pairs):
        raise MailboxExists()
    for _, there in pairs:
        if len(there) > maildir.LONGEST or maildir.folder_of(there) is None:
            raise CannotName()
    rows = [(ledger.folder(opened, one), there) for one, there in pairs]
    missing = [one for one in map(maildir.directory_of, maildir.superiors(new)) if one not in here]
    for one in missing:
        _make(ledger, opened, one)
    _rename_directories(ledger, pairs)
    try:
        with opened.transaction():
            for row, there in rows:
                opened.rename_folder(row, there)
    except BaseException:
        _rename_back(ledger, pairs)
        raise
    for one, there in pairs:
        ledger.move_folder(one, there)
        ledger.tell(one, gone=True)
    _announce_made(ledger, missing)
    ledger.announce_name(new, Naming.RENAMED, old)


def _rename_directories(ledger: Ledger, pairs: Sequence[tuple[str, str]]) -> None:
    done: list[tuple[str, str]] = []
    try:
        for one, there in pairs:
            durable.rename_noreplace(ledger.folder_path(one), ledger.folder_path(there))
            done.append((one, there))
        durable.sync_dir(ledger.path)
    except TemporaryFailure:
        _rename_back(ledger, done)
        raise


def _rename_back(ledger: Ledger, pairs: Sequence[tuple[str, str]]) -> None:
    """What cannot be renamed back becomes, by the files in it, the folder of its new name."""
    for one, there in pairs:
        with suppress(TemporaryFailure):
            durable.rename_noreplace(ledger.folder_path(there), ledger.folder_path(one))


def set_special(ledger: Ledger, opened: Index, name: str, special: str) -> None:
    """Give a folder a special use, "" for none."""
    row = ledger.folder(opened, maildir.directory_of(name))
    uids = evolve(ledger.numbering.uids_of(row.dir), special=special)
    ledger.numbering.write(row.dir, uids)
    row.special = special
    with opened.transaction():
        opened.save_folder(row)


def _remove_tree(path: str) -> None:
    """Nothing reads it any more; what cannot be removed now is tried again at the next start."""
    for folder, subfolders, names in os.walk(path, topdown=False, followlinks=False):
        for name in names:
            durable.unlink_quietly(os.path.join(folder, name))
        for name in subfolders:
            inner = os.path.join(folder, name)
            if os.path.islink(inner):
                durable.unlink_quietly(inner)
            else:
                with suppress(TemporaryFailure):
                    durable.remove_dir(inner)
    with suppress(TemporaryFailure):
        durable.remove_dir(path)
