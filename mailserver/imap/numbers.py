"""Which commands name messages by their numbers: those that a client with UIDONLY does not give any more
(RFC 9586, 3)."""

from __future__ import annotations

from mailserver.imap.commands import (
    Command,
    Copy,
    Examine,
    Fetch,
    Move,
    Replace,
    Search,
    Select,
    Store,
)
from mailserver.imap.values import SearchSet, search_leaves

REQUIRED = "Message numbers are not used any more, UIDs are"


def names_numbers(command: Command) -> bool:
    """Is it a command that has a form with UID, without that (3.2, 3.8); has a search a set of numbers (3.5),
    or QRESYNC its samples (3.7)? `$` in a UID command stands for UIDs."""
    if isinstance(command, Fetch | Store | Copy | Move | Replace):
        return not command.uid
    if isinstance(command, Select | Examine):
        return command.qresync is not None and bool(command.qresync.samples)
    if not isinstance(command, Search):
        return False
    return not command.uid or any(
        isinstance(leaf, SearchSet) and not (leaf.uid or leaf.numbers.saved)
        for leaf in search_leaves(command.key)
    )
