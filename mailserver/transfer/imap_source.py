"""An account on another IMAP server as a source: its folders, and in them what is not here yet.

A message is known again by UIDVALIDITY and UID. Sizes are asked for first; then texts are fetched in
portions of bounded size, each asked for while the one before is still coming. Nothing is changed there:
EXAMINE and BODY.PEEK.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Container, Iterator, Mapping, Sequence

from mailserver.errors import CannotName
from mailserver.imap.handlers.change import uid_set
from mailserver.transfer.imap_client import ConnectionGone, ImapClient, Server, Value
from mailserver.transfer.mbox import is_keyword
from mailserver.transfer.trees import folder_name
from mailserver.transfer.values import Folder, Message, Passed, SourceError
from mailserver.wire import utf7

PORTION_MESSAGES = 50
PORTION_OCTETS = 4 * 1024 * 1024
NUMBERS = 2000  # messages whose sizes are asked for at once
TRIES = 3  # connections in a row that bring nothing

VIEWS = frozenset(("\\all", "\\flagged", "\\important"))  # the same messages are in other folders
_UNSELECTABLE = frozenset(("\\noselect", "\\nonexistent"))
_SPECIAL = {use.lower(): use for use in ("\\Drafts", "\\Sent", "\\Junk", "\\Trash", "\\Archive")}
# What servers call them that do not tell special uses.
_CALLED = {
    "drafts": "\\Drafts",
    "draft": "\\Drafts",
    "sent": "\\Sent",
    "sent items": "\\Sent",
    "sent messages": "\\Sent",
    "sent mail": "\\Sent",
    "sent-mail": "\\Sent",
    "junk": "\\Junk",
    "junk e-mail": "\\Junk",
    "junk email": "\\Junk",
    "spam": "\\Junk",
    "bulk mail": "\\Junk",
    "trash": "\\Trash",
    "deleted": "\\Trash",
    "deleted items": "\\Trash",
    "deleted messages": "\\Trash",
    "archive": "\\Archive",
    "archives": "\\Archive",
}
_FLAGS = {flag.lower(): flag for flag in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")}
_DATE = re.compile(rb" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}


class ImapSource:
    """special: where mail of a special use goes here, by use. into: a folder under which all goes instead.
    texts: False where only numbers and sizes are of interest."""

    kind = "imap"

    def __init__(
        self,
        server: Server,
        limit: int,
        *,
        special: Mapping[str, str] | None = None,
        into: str = "",
        texts: bool = True,
    ) -> None:
        self.place = f"{server.login}@{server.host}:{server.port}"
        self.limit = limit  # octets of a message
        self.texts = texts
        self.client = ImapClient(server, limit + 1024 * 1024)
        self.passed_over: list[str] = []  # folders that only show what is in others
        self._special = {} if into else dict(special or {})
        self._into = into.split("/") if into else []

    def close(self) -> None:
        self.client.close()

    def connect(self) -> None:
        """Anew, where there was a connection."""
        self.client.close()
        self.client.connect()
        self.client.log_in()

    def folders(self) -> Sequence[Folder]:
        self.connect()
        prefix, others = self._namespaces()
        extended = {"LIST-EXTENDED", "SPECIAL-USE"} <= self.client.capabilities
        command = b'LIST "" "*"' + (b" RETURN (SPECIAL-USE)" if extended else b"")
        found: list[Folder] = []
        for response in self.client.run(command):
            if response[:1] != [b"LIST"] or len(response) < 4 or not isinstance(response[1], list):
                continue
            _, attributes, separator, name = response[:4]
            told = {word.decode("latin-1").lower() for word in attributes if isinstance(word, bytes)}
            if not isinstance(name, bytes) or told & _UNSELECTABLE or name.startswith(others):
                continue
            if told & VIEWS:
                self.passed_over.append(_decoded(name))
                continue
            inner = name.removeprefix(prefix) if name.upper() != b"INBOX" else name
            found.append(self._folder(name, inner.split(separator) if separator else [inner], told))
        return found

    def _folder(self, name: bytes, levels: Sequence[bytes], attributes: set[str]) -> Folder:
        parts = [_decoded(level) for level in levels]
        use = next((_SPECIAL[word] for word in sorted(attributes) if word in _SPECIAL), "")
        if not use and len(parts) == 1:
            use = _CALLED.get(parts[0].lower(), "")
        try:
            if use in self._special:
                return ImapFolder(self, name, self._special[use], "")
            inbox = [] if len(parts) == 1 and parts[0].upper() == "INBOX" else parts
            return ImapFolder(self, name, folder_name([*self._into, *inbox]), "" if self._into else use)
        except CannotName as error:
            raise SourceError(f"the name of {_decoded(name)} is too long here: {error.cause}") from None

    def _namespaces(self) -> tuple[bytes, tuple[bytes, ...]]:
        """The prefix of the user's own folders, and those of other people's (RFC 2342)."""
        if "NAMESPACE" not in self.client.capabilities:
            return b"", ()
        for response in self.client.run(b"NAMESPACE"):
            if response[:1] == [b"NAMESPACE"] and len(response) >= 4:
                own, *others = ([one[0] for one in part or () if one] for part in response[1:4])
                prefix = own[0] if own and isinstance(own[0], bytes) else b""
                return prefix, tuple(one for part in others for one in part if one)
        return b"", ()


def _decoded(name: bytes) -> str:
    try:
        return utf7.decode(name)
    except CannotName:
        return name.decode("utf-8", "replace")


class ImapFolder:
    """One folder there. `size` is in messages."""

    def __init__(self, source: ImapSource, raw: bytes, name: str, special: str) -> None:
        self.origin = _decoded(raw)
        self.name = name
        self.special = special
        self.size = 0
        self._source = source
        self._raw = raw
        self._position = 0
        self._uidvalidity = 0

    def position(self) -> int:
        return self._position

    def messages(self, done: Container[str]) -> Iterator[Message | Passed]:
        """A connection that is lost is made anew, as long as each brings something."""
        left: list[tuple[int, int]] | None = None
        tries = 0
        while True:
            try:
                exists = self._examine()
                if left is None:
                    left = []
                    for uid, size in list(self._sizes(exists)):
                        passed = self._without(uid, size, done)
                        if passed is not None:
                            yield passed
                        else:
                            left.append((uid, size))
                while left:
                    for portion, messages in self._fetch(left):
                        tries = 0
                        yield from messages
                        left = left[portion:]
                return
            except ConnectionGone:
                tries += 1
                if tries >= TRIES:
                    raise
                self._source.connect()

    def _without(self, uid: int, size: int, done: Container[str]) -> Message | Passed | None:
        """What is said of a message without its text; None where that has to be fetched."""
        key = f"{self._uidvalidity}.{uid}"
        passed: Message | Passed | None = None
        if key in done:
            passed = Passed(key)
        elif size > self._source.limit:
            passed = Passed(key, f"larger than limits.message_size ({size} octets)")
        elif not self._source.texts:
            passed = Message(key, b"", octets=size)
        self._position += passed is not None
        return passed

    def _examine(self) -> int:
        """The number of messages. A folder that was made anew is another one."""
        exists = uidvalidity = 0
        for response in self._source.client.run(b"EXAMINE", self._raw):
            if response[1:2] == [b"EXISTS"]:
                exists = _number(response[0])
            elif response[0] == b"OK" and len(response) > 1 and isinstance(response[1], bytes):
                code = re.match(
                    rb"\[UIDVALIDITY (\d+)\]", b" ".join(w for w in response[1:3] if isinstance(w, bytes))
                )
                uidvalidity = int(code[1]) if code else uidvalidity
        if self._uidvalidity not in (0, uidvalidity):
            raise SourceError(f"{self.origin} was made anew meanwhile: run the command again")
        self._uidvalidity = uidvalidity
        self.size = max(self.size, exists)
        return exists

    def _sizes(self, exists: int) -> Iterator[tuple[int, int]]:
        """UID and octets of every message."""
        for first in range(1, exists + 1, NUMBERS):
            command = b"FETCH %d:%d (UID RFC822.SIZE)" % (first, min(first + NUMBERS - 1, exists))
            for items in self._fetched(self._source.client.begin(command)):
                if b"UID" in items:
                    yield _number(items[b"UID"]), _number(items.get(b"RFC822.SIZE"))

    def _fetch(self, left: Sequence[tuple[int, int]]) -> Iterator[tuple[int, list[Message | Passed]]]:
        """Portions: how many messages each is about, and what came of them."""
        client = self._source.client
        waiting: list[tuple[bytes, list[int]]] = []
        found: dict[int, Message | Passed] = {}
        for uids in _portions(left):
            sent = client.begin(b"UID FETCH %b (UID FLAGS INTERNALDATE BODY.PEEK[])" % uid_set(uids).encode())
            waiting.append((sent, uids))
            if len(waiting) == 2:
                yield self._portion(*waiting.pop(0), found)
        while waiting:
            yield self._portion(*waiting.pop(0), found)

    def _portion(
        self, tag: bytes, uids: list[int], found: dict[int, Message | Passed]
    ) -> tuple[int, list[Message | Passed]]:
        """found: what has come, also of the portion behind this one."""
        for items in self._fetched(tag):
            uid = _number(items.get(b"UID"))
            if b"BODY[]" in items:
                found[uid] = self._message(f"{self._uidvalidity}.{uid}", items)
        self._position += len(uids)
        return len(uids), [found.pop(uid, self._missing(uid)) for uid in uids]

    def _missing(self, uid: int) -> Passed:
        return Passed(f"{self._uidvalidity}.{uid}", "the server did not send it (expunged there meanwhile?)")

    def _fetched(self, tag: bytes) -> Iterator[dict[bytes, Value]]:
        for response in self._source.client.collect(tag):
            if response[1:2] == [b"FETCH"] and len(response) > 2 and isinstance(response[2], list):
                items = response[2]
                yield {
                    name.upper(): value
                    for name, value in zip(items[::2], items[1::2], strict=False)
                    if isinstance(name, bytes)
                }

    def _message(self, key: str, items: Mapping[bytes, Value]) -> Message | Passed:
        data = items[b"BODY[]"]
        if not isinstance(data, bytes) or not data:
            return Passed(key, "the server gives no text")
        words = items.get(b"FLAGS")
        flags: set[str] = set()
        for word in words if isinstance(words, list) else ():
            name = word.decode("latin-1") if isinstance(word, bytes) else ""
            if name.lower() in _FLAGS:
                flags.add(_FLAGS[name.lower()])
            elif is_keyword(name):
                flags.add(name)
        date = items.get(b"INTERNALDATE")
        return Message(key, data.replace(b"\r\n", b"\n"), frozenset(flags), _date(date if date else b""))


def _portions(left: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """UIDs that are fetched at once; a message that is larger than a portion is one by itself."""
    uids: list[int] = []
    octets = 0
    for uid, size in left:
        if uids and (len(uids) >= PORTION_MESSAGES or octets + size > PORTION_OCTETS):
            yield uids
            uids, octets = [], 0
        uids.append(uid)
        octets += size
    if uids:
        yield uids


def _number(value: Value) -> int:
    return int(value) if isinstance(value, bytes) and value.isdigit() and len(value) < 19 else 0


def _date(value: bytes) -> float | None:
    """INTERNALDATE (RFC 3501, 9: date-time)"""
    found = _DATE.fullmatch(value)
    month = _MONTHS.get(found[2].decode("ascii").lower()) if found is not None else None
    if found is None or month is None:
        return None
    try:
        day, year, hour, minute, second = (int(part) for part in found.group(1, 3, 4, 5, 6))
        when = calendar.timegm((year, month, day, hour, minute, second))
    except (ValueError, OverflowError):
        return None
    offset = int(found[8]) * 3600 + int(found[9]) * 60
    return float(when - offset if found[7] == b"+" else when + offset)
