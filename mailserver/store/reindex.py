"""[disk] An account's index made anew from its files, on demand, with the same UIDs.

Done under the account's lock, so a server that runs waits; sessions that have a mailbox of the account open
lose it and open it again. File names are first brought up to date, and flags that no name can show are
carried over, where the old index can still be read. MODSEQ goes on above what it was: clients that
resynchronise look at everything once.

An account that was put back from an older copy may have given UIDs since that are other messages' now. Then
folders get a new UIDVALIDITY, and messages new UIDs, by date: clients download the account again, and take no
message for another (RFC 3501, 2.3.1.1).
"""

from __future__ import annotations

from attrs import frozen

from mailserver.store import files, maildir, operations
from mailserver.store.files import Uids
from mailserver.store.index.database import Index, IndexDamaged
from mailserver.store.index.rows import Folder, Row
from mailserver.store.ledger import Ledger


@frozen
class Rebuilt:
    folders: int
    messages: int


def reindex(ledger: Ledger, *, new_uids: bool = False) -> Rebuilt:
    """Raises MailError; what was there is kept as `mailserver-index.damaged`."""
    with ledger.held():
        hidden: dict[str, dict[object, int]] = {}
        mark = _by_name if new_uids else _by_uid
        try:
            opened = ledger.opened()
            for folder in opened.folders():
                if files.is_directory(ledger.folder_path(folder.dir)):
                    after = 0
                    while after := operations.rename_dirty(ledger, opened, folder.dir, 500, after):
                        pass
                    hidden[folder.dir] = {
                        mark(folder, row): beyond
                        for row in opened.rows(folder)
                        if (beyond := row.flags & ~maildir.LETTER_BITS)
                    }
        except IndexDamaged:
            hidden.clear()
        ledger.rebuild(IndexDamaged("it is made anew on demand"))
        opened = ledger.opened()
        if new_uids:
            _forget_uids(ledger, opened)
        messages = 0
        for directory in ledger.directories():
            folder = ledger.folder(opened, directory)
            messages += folder.messages
            flags = hidden.get(directory)
            if flags:
                rows = [row for row in opened.rows(folder) if mark(folder, row) in flags]
                for row in rows:
                    row.flags |= flags[mark(folder, row)]
                _restore(opened, rows, directory)
        return Rebuilt(len(opened.folders()), messages)


def _by_uid(folder: Folder, row: Row) -> object:
    return folder.uidvalidity, row.uid


def _by_name(folder: Folder, row: Row) -> object:
    """What stays of a name when the UID in it changes."""
    return maildir.unique_part(row.name)


def _forget_uids(ledger: Ledger, opened: Index) -> None:
    for directory in ledger.directories():
        path = ledger.folder_path(directory)
        special = (files.read_uids(path) or Uids()).special
        files.write_uids(path, Uids(ledger.numbering.next_uidvalidity(opened), special=special))


def _restore(opened: Index, rows: list[Row], directory: str) -> None:
    folder = opened.folder(directory)
    assert folder is not None
    with opened.transaction():
        opened.set_flags(folder, rows)
