"""[disk] Annotations of mailboxes and of the server (RFC 5464), each function for `Ledger.run`.

They stand in a file of the folder, `mailserver-metadata`, and so go with it when it is renamed or deleted and
do not depend on the index. Private entries of the server are in `mailserver-metadata-server` of the account.
JSON:

    {"shared": {ENTRY: VALUE}, "private": {USER: {ENTRY: VALUE}}}

with a value that is no text as {"base64": …}. Entries are in lower case. Computed: /private/specialuse
(RFC 6154, 5.4), which the folder's own file holds, and /shared/admin of the server.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

from mailserver.disk import durable
from mailserver.errors import CannotName, MailError, NoSuchMailbox, NotPermitted
from mailserver.events import MetadataChanged
from mailserver.store import files, folders, maildir
from mailserver.store.index.database import Index
from mailserver.store.ledger import Ledger
from mailserver.store.operations import raise_modseq

FILE = "mailserver-metadata"
SERVER = "mailserver-metadata-server"
SPECIAL_USE = "/private/specialuse"
ADMIN = "/shared/admin"
_LARGEST = 64 << 20

Entries = dict[str, bytes]


def get(ledger: Ledger, opened: Index, name: str, user: str) -> Entries:
    """All entries that `user` sees; `name` is empty for the server's own. Raises NoSuchMailbox."""
    if not name:
        domain = ledger.user.rpartition("@")[2]
        found = _Stored(os.path.join(ledger.path, SERVER)).of(user)
        return found | {ADMIN: f"mailto:postmaster@{domain}".encode()}
    directory = _existing(ledger, name)
    found = _Stored(os.path.join(ledger.folder_path(directory), FILE)).of(user)
    special = ledger.folder(opened, directory).special if user == ledger.user else ""
    return found | ({SPECIAL_USE: special.encode("ascii")} if special else {})


def put(
    ledger: Ledger,
    opened: Index,
    name: str,
    values: Mapping[str, bytes | None],
    *,
    user: str,
    size: int,
    count: int,
) -> None:
    """Set entries, None to remove them: all or none, durable. At most `count` of `size` octets are kept."""
    directory = _existing(ledger, name) if name else ""
    path = os.path.join(ledger.folder_path(directory), FILE if name else SERVER)
    _check(values, server=not name, size=size)
    stored = _Stored(path)
    before = stored.of(user)
    plain = {entry: value for entry, value in values.items() if entry != SPECIAL_USE}
    for entry, value in plain.items():
        stored.set(user, entry, value)
    after = stored.of(user)
    if len(after) > max(count, len(before)):
        raise MailError("Too many annotations", imap="METADATA TOOMANY")
    use = None
    if SPECIAL_USE in values:
        use = _wanted_use(ledger, opened, name, values[SPECIAL_USE] or b"", user)
    if name and (after != before or use is not None):
        raise_modseq(ledger, opened, directory)
    if after != before:
        stored.write()
    changed = tuple(entry for entry in plain if before.get(entry) != after.get(entry))
    if use is not None:
        folders.set_special(ledger, opened, name, use)
        changed += (SPECIAL_USE,)
    if user != ledger.user:  # what others keep for themselves is nobody's news
        changed = tuple(entry for entry in changed if entry.startswith("/shared/"))
    if changed:
        ledger.announce(MetadataChanged(ledger.user, maildir.normal_name(name), changed))


def copy(ledger: Ledger, source: str, target: str) -> None:
    """RENAME of INBOX copies its annotations (RFC 5464, 4.1). Directories."""
    stored = _Stored(os.path.join(ledger.folder_path(source), FILE))
    if stored.data:
        stored.path = os.path.join(ledger.folder_path(target), FILE)
        stored.write()


def _existing(ledger: Ledger, name: str) -> str:
    try:
        directory = maildir.directory_of(name)
    except CannotName as error:
        raise NoSuchMailbox(cause=error) from error
    if not files.is_directory(os.path.join(ledger.folder_path(directory), "cur")):
        raise NoSuchMailbox()
    return directory


def _check(values: Mapping[str, bytes | None], *, server: bool, size: int) -> None:
    """Raises MailError with the response codes of RFC 5464, 5."""
    for entry, value in values.items():
        if not entry.startswith(("/private/", "/shared/")):
            raise NotPermitted("Entries are below /private or /shared")
        if server and (entry.startswith("/shared/") or entry == SPECIAL_USE):
            raise NotPermitted("Shared annotations of the server are the administrator's")
        if value is not None and len(value) > size:
            raise MailError("Annotation too long", imap=f"METADATA MAXSIZE {size}")


def _wanted_use(ledger: Ledger, opened: Index, name: str, value: bytes, user: str) -> str:
    """RFC 6154, 5.4: one use at most, and no other mailbox has it; the owner's matter. Raises CannotName."""
    uses = {use.lower(): use for _, use in folders.SPECIAL}
    wanted = value.decode("ascii", "replace").strip()
    directory = maildir.directory_of(name)
    own = user == ledger.user
    special = uses.get(wanted.lower(), "")
    taken = special and any(row.special == special and row.dir != directory for row in opened.folders())
    if not own or (wanted and not special) or taken or (special and not directory):
        raise CannotName("That special use is not possible here", imap="USEATTR")
    return special


class _Stored:
    """One file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.damaged = False
        self.data: dict[str, Any] = {}
        try:
            fd = files.open_message(path)
        except OSError as error:
            files.check_absent(error)
            return
        try:
            with durable.told():
                text = b"".join(files.chunks_of(fd)) if os.fstat(fd).st_size <= _LARGEST else b""
        finally:
            os.close(fd)
        try:
            data = json.loads(text)
            for entries in (data.get("shared", {}), *data.get("private", {}).values()):
                for value in entries.values():
                    _from_json(value)
            self.data = data
        except (ValueError, AttributeError, TypeError, KeyError):
            self.damaged = True  # put aside when it is written next

    def of(self, user: str) -> Entries:
        entries = self.data.get("shared", {}) | self.data.get("private", {}).get(user, {})
        return {entry: _from_json(value) for entry, value in entries.items()}

    def set(self, user: str, entry: str, value: bytes | None) -> None:
        if entry.startswith("/shared/"):
            entries = self.data.setdefault("shared", {})
        else:
            entries = self.data.setdefault("private", {}).setdefault(user, {})
        if value is None:
            entries.pop(entry, None)
        else:
            entries[entry] = _to_json(value)

    def write(self) -> None:
        if self.damaged:
            durable.rename(self.path, self.path + "-damaged")
        text = json.dumps(self.data, ensure_ascii=False, indent=1, sort_keys=True)
        durable.write_file_atomic(self.path, text.encode("utf-8") + b"\n")


def _to_json(value: bytes) -> Any:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}


def _from_json(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    return base64.b64decode(value["base64"], validate=True)
