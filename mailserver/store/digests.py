"""[disk] Digests of headers (`message.digest`), made at first need and kept in the index.

The header comes from the index where it is kept there, else from the head of the file: nothing else of a
message is read or looked at, which is what makes the first SORT of a large mailbox bearable.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.logger import Logger

from mailserver.message.digest import GROUP_OF, GROUPS, digest, groups_of
from mailserver.message.headers import header_end
from mailserver.store import files
from mailserver.store.index.database import Index
from mailserver.store.ledger import Ledger
from mailserver.store.operations import locate

_HEAD = 4096  # what is read at first; most headers end there
_LONGEST = 1 << 20
_log = Logger()


def digests(
    ledger: Ledger, opened: Index, directory: str, names: Sequence[str], uids: Sequence[int]
) -> list[tuple[Any, ...] | None]:
    """These fields for each UID; None where the message is gone."""
    folder = ledger.folder(opened, directory)
    wanted = {group: [name for name in names if GROUP_OF[name] == group] for group in groups_of(names)}
    kept = {group: opened.digests(folder, group, fields, uids) for group, fields in wanted.items()}
    missing = {uid for values in kept.values() for uid in uids if uid not in values}
    if missing:
        made = _make(ledger, opened, directory, tuple(wanted), sorted(missing))
        for place, (group, fields) in enumerate(wanted.items()):
            order = [list(GROUPS[group].fields).index(name) for name in fields]
            kept[group].update((uid, tuple([row[place][at] for at in order])) for uid, row in made)
    if len(wanted) == 1:
        values = next(iter(kept.values()))
        return [values.get(uid) for uid in uids]
    return _side_by_side(names, wanted, kept, uids)


def _side_by_side(
    names: Sequence[str],
    wanted: Mapping[str, list[str]],
    kept: Mapping[str, dict[int, tuple[Any, ...]]],
    uids: Sequence[int],
) -> list[tuple[Any, ...] | None]:
    """Rows of several groups, with their fields in the order of `names`."""
    fields = [field for group in wanted for field in wanted[group]]
    order = [fields.index(name) for name in names]
    found: list[tuple[Any, ...] | None] = []
    for uid in uids:
        parts = [values.get(uid) for values in kept.values()]
        if None in parts:
            found.append(None)
        else:
            row = [value for part in parts for value in part or ()]
            found.append(tuple([row[at] for at in order]))
    return found


def _make(
    ledger: Ledger, opened: Index, directory: str, groups: tuple[str, ...], uids: Sequence[int]
) -> list[tuple[int, list[tuple[Any, ...]]]]:
    """(uid, values of each group), made and kept: one reading of a header for all."""
    folder = ledger.folder(opened, directory)
    headers = opened.rendered(folder, "HEADER", uids)
    path = ledger.folder_path(directory)
    made: list[tuple[int, list[tuple[Any, ...]]]] = []
    for row in opened.rows(folder, uids):
        header = headers.get(row.uid) or _head(path, row.name)
        if header is not None:
            made.append((row.uid, digest(header, groups)))
    with opened.transaction():
        for place, group in enumerate(groups):
            opened.keep_digests(folder, group, [(uid, values[place]) for uid, values in made])
    return made


def _head(path: str, name: str) -> bytes | None:
    """The header block of a file, None where it is gone."""
    try:
        fd = files.open_message(f"{path}/{name}")
    except OSError:
        found = locate(path, name)
        if found is None:
            return None
        try:
            fd = files.open_message(f"{path}/{found}")
        except OSError:
            return None
    try:
        head = os.pread(fd, _HEAD, 0)
        end = header_end(head)
        if end == len(head) == _HEAD:
            head = os.pread(fd, _LONGEST, 0)
            end = header_end(head)
        return head[:end]
    except OSError as error:
        _log.warn("{path}/{name} cannot be read: {error}", path=path, name=name, error=error)
        return None
    finally:
        os.close(fd)
