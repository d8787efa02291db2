"""[disk] An account's index made anew from its files, on demand, with the same UIDs.

Done under the account's lock, so a server that runs waits; sessions that have a mailbox of the account open
lose it and open it again. File names are first brought up to date, and flags that no name can show are
carried over, where the old index can still be read. MODSEQ goes on above what it was: clients that
resynchronise look at everything once.
"""

from __future__ import annotations

from attrs import frozen

from mailserver.store import files, maildir, operations
from mailserver.store.index.database import Index, IndexDamaged
from mailserver.store.index.rows import Row
from mailserver.store.ledger import Ledger


@frozen
class Rebuilt:
    folders: int
    messages: int


def reindex(ledger: Ledger) -> Rebuilt:
    """Raises MailError; what was there is kept as `mailserver-index.damaged`."""
    with ledger.held():
        hidden: dict[tuple[str, int], dict[int, int]] = {}
        try:
            opened = ledger.opened()
            for folder in opened.folders():
                if files.is_directory(ledger.folder_path(folder.dir)):
                    after = 0
                    while after := operations.rename_dirty(ledger, opened, folder.dir, 500, after):
                        pass
                    hidden[folder.dir, folder.uidvalidity] = {
                        row.uid: beyond
                        for row in opened.rows(folder)
                        if (beyond := row.flags & ~maildir.LETTER_BITS)
                    }
        except IndexDamaged:
            hidden.clear()
        ledger.rebuild(IndexDamaged("it is made anew on demand"))
        opened = ledger.opened()
        messages = 0
        for directory in ledger.directories():
            folder = ledger.folder(opened, directory)
            messages += folder.messages
            flags = hidden.get((directory, folder.uidvalidity))
            if flags:
                _restore(opened, opened.rows(folder, sorted(flags)), flags, directory)
        return Rebuilt(len(opened.folders()), messages)


def _restore(opened: Index, rows: list[Row], flags: dict[int, int], directory: str) -> None:
    folder = opened.folder(directory)
    assert folder is not None
    for row in rows:
        row.flags |= flags[row.uid]
    with opened.transaction():
        opened.set_flags(folder, rows)
