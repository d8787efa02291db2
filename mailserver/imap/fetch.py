"""FETCH: an item list becomes a plan once, and the plan's columns become rows (RFC 3501, 6.4.5, 7.4.2).

Rows are made column by column and joined: cached line prefixes, one fragment per flag combination,
arrays of sizes and dates, cached values of the store. Only body sections touch a message's bytes. `UID`
always comes first, whatever the order asked for. No I/O here: `handlers/rows.py` moves the data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from time import gmtime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from attrs import field, frozen

from mailserver.imap.values import FetchItem
from mailserver.message.envelope import string
from mailserver.message.structure import Part, body_start, find_part
from mailserver.message.transfer import decode, encoding_of

END = b")\r\n"  # of a row
_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
if TYPE_CHECKING:
    from mailserver.imap.selected import Selected

MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


@frozen
class Content:
    """One BODY[…], RFC822, RFC822.HEADER or RFC822.TEXT: octets of the message, or cut from them.

    label: what stands before the value in the response     kind: "", HEADER, FIELDS, TEXT or MIME
    cut:   for FIELDS, the header block to the fields asked for
    decoded: "BINARY" or "SIZE" for the part without its transfer encoding, or its size (RFC 3516)
    """

    label: bytes
    numbers: tuple[int, ...] = ()
    kind: str = ""
    cut: Callable[[bytes], bytes] | None = field(default=None, eq=False)
    offset: int = 0
    count: int | None = None
    decoded: str = ""

    @property
    def shallow(self) -> bool:
        """True where only the end of the message's header must be known."""
        return not self.numbers

    @property
    def whole(self) -> bool:
        """True where the message's bytes need not be scanned."""
        return not (self.numbers or self.kind or self.decoded)

    def partial(self, data: bytes) -> bytes:
        """<offset.count> of it; empty beyond the end (RFC 3501, 6.4.5)."""
        if self.count is None:
            return data
        return data[self.offset : self.offset + self.count]


@frozen
class Plan:
    """What a FETCH needs, by where it comes from.

    cached: items of `IMailbox.rendered`; headers: what is cut from the cached header, and with `thread`
    THREADID comes of it too; contents: what needs the message itself. `seen`: \\Seen is set on what is
    fetched. `lazy`: a PREVIEW that is not made yet is NIL. `named`: the client asked for UID.
    """

    uid: bool = False
    flags: bool = False
    modseq: bool = False
    date: bool = False
    size: bool = False
    cached: tuple[str, ...] = ()
    headers: tuple[Content, ...] = ()
    contents: tuple[Content, ...] = ()
    seen: bool = False
    saved: bool = False
    emailid: bool = False
    thread: bool = False
    lazy: bool = False
    named: bool = False

    last: str | bytes = field(init=False, eq=False)  # what ends a row; "" where a content does, or UID

    @last.default
    def _last(self) -> str | bytes:
        arrays = (("FLAGS", self.flags), ("MODSEQ", self.modseq), ("DATE", self.date), ("SIZE", self.size))
        more = (("SAVEDATE", self.saved), ("EMAILID", self.emailid))
        items: list[str | bytes] = [name for name, wanted in (*arrays, *more) if wanted]
        items += [
            *self.cached,
            *(one.label for one in self.headers),
            *("THREADID" for _ in range(self.thread)),
        ]
        return "" if self.contents or not items else items[-1]

    def tells_uid(self, uidonly: bool) -> bool:
        """Is UID an item of the response? Of one that begins with it only where the client asked."""
        return self.named if uidonly else self.uid


@lru_cache(maxsize=64)
def compile_plan(items: tuple[FetchItem, ...], uid: bool) -> Plan:
    """The plan for an item list; `uid`: it is a UID FETCH (RFC 3501, 6.4.8). Clients ask for the same again
    and again."""
    names = {item.name for item in items}
    contents: list[Content] = []
    for item in items:
        if item.section is not None or item.name in _RFC822:
            content = content_of(item)
            if content not in contents:
                contents.append(content)
    from_header = tuple(c for c in contents if c.kind in ("HEADER", "FIELDS") and not c.numbers)
    return Plan(
        uid=uid or "UID" in names,
        flags="FLAGS" in names,
        modseq="MODSEQ" in names,
        date="INTERNALDATE" in names,
        size="RFC822.SIZE" in names,
        cached=tuple(name for name in ("ENVELOPE", "BODY", "BODYSTRUCTURE", "PREVIEW") if name in names),
        headers=from_header,
        contents=tuple(c for c in contents if c not in from_header),
        seen=not all(item.peek for item in items),
        saved="SAVEDATE" in names,
        emailid="EMAILID" in names,
        thread="THREADID" in names,
        lazy=all(item.lazy for item in items if item.name == "PREVIEW"),
        named="UID" in names,
    )


_DECODED = {"BINARY[]": "BINARY", "BINARY.SIZE[]": "SIZE"}
_RFC822 = {"RFC822": "", "RFC822.HEADER": "HEADER", "RFC822.TEXT": "TEXT"}


def content_of(item: FetchItem) -> Content:
    """A section to what has to be cut from a message."""
    asked = item.section
    if asked is None:
        return Content(item.name.encode(), kind=_RFC822[item.name])
    kind, cut = asked.text, None
    inside = ".".join([*map(str, asked.numbers), *([asked.text] if asked.text else [])]).encode()
    if asked.text.startswith("HEADER.FIELDS"):
        kind, cut = "FIELDS", header_cutter(asked.fields, asked.text == "HEADER.FIELDS.NOT")
        inside += b" (%b)" % b" ".join([n if _ATOM.fullmatch(n) else string(n) for n in asked.fields])
    label = b"%b[%b]" % (item.name.removesuffix("[]").encode(), inside)
    offset, count = 0, None
    if item.partial is not None:
        offset, count = item.partial
        label += b"<%d>" % offset
    return Content(label, asked.numbers, kind, cut, offset, count, _DECODED.get(item.name, ""))


def header_cutter(names: Sequence[bytes], excluding: bool) -> Callable[[bytes], bytes]:
    """A function from a header block to its fields of these names (or all others), in their order and
    with the empty line (RFC 3501, 6.4.5). Linear in the block."""
    wanted = b"|".join([re.escape(name) for name in names])
    chosen = rb"(?!(?:%b)[ \t]*:)[^ \t\r\n]" % wanted if excluding else rb"(?:%b)[ \t]*:" % wanted
    find = re.compile(rb"\n(%b[^\n]*+(?:\n[ \t][^\n]*+)*+)" % chosen, re.IGNORECASE).findall

    def cut(header: bytes) -> bytes:
        lines = find(b"\n" + header)
        if not lines:
            return b"\r\n"
        block: bytes = b"\n".join(lines)
        return block + b"\n\r\n" if block.endswith(b"\r") else block + b"\r\n\r\n"

    return cut


def span(content: Content, root: Part) -> tuple[int, int] | None:
    """(start, end) of a content item in the message that `root` is the scan of, before <…> is applied and
    fields are cut; None (NIL) where there is no such part."""
    part = find_part(root, content.numbers) if content.numbers else root
    if part is None:
        return None
    kind = content.kind
    if kind == "MIME":
        return part.start, part.body
    if kind and content.numbers:  # HEADER and TEXT of a part mean the message in it
        if not part.is_message:
            return None
        part = part.parts[0]
    if kind in ("HEADER", "FIELDS"):
        return part.start, part.body
    if kind or content.numbers:
        return part.body, part.end
    return part.start, part.end


def extract(content: Content, wire: bytes, root: Part | None) -> bytes | None:
    """The bytes of a content item; those of BINARY are not decoded and not cut yet. `root`: the scan of
    `wire`, needed where a part is asked for."""
    if not content.numbers and not content.kind:
        return wire if content.decoded else content.partial(wire)
    found = span(content, root or Part(0, body_start(wire), len(wire)))
    if found is None:
        return None
    data = wire[found[0] : found[1]]
    if content.decoded:
        return data
    return content.partial(content.cut(data) if content.cut is not None else data)


def rendered(content: Content, wire: bytes, root: Part | None, known: dict[tuple[int, ...], bytes]) -> bytes:
    """A content item as it stands in the response. `known`: parts of this message that were decoded already,
    for a part may be asked for many times. Raises UnknownEncoding."""
    found = extract(content, wire, root)
    if not content.decoded:
        return literal(content.label, found)
    if found is not None and content.numbers:
        if content.numbers not in known:
            known[content.numbers] = decode(encoding_of_part(content, root), found)
        found = known[content.numbers]
    if content.decoded == "SIZE":
        return b"%b %d" % (content.label, len(found or b""))
    if found is None:
        return content.label + b" NIL"
    found = content.partial(found)
    return binary_start(content.label, len(found), b"\0" in found) + found


def encoding_of_part(content: Content, root: Part | None) -> bytes:
    """The transfer encoding of what a BINARY item asks for; none of the message as such."""
    part = find_part(root, content.numbers) if root is not None and content.numbers else None
    return b"" if part is None else encoding_of(part)


def binary_start(label: bytes, size: int, has_nul: bool) -> bytes:
    """What stands before the octets of BINARY[…]: a literal8 only where it must be (RFC 3516, 4.3)."""
    return b"%b %b{%d}\r\n" % (label, b"~" if has_nul else b"", size)


def literal(label: bytes, data: bytes | None) -> bytes:
    """One body section as it stands in the response."""
    return label + b" NIL" if data is None else b"%b {%d}\r\n%b" % (label, len(data), data)


# --- columns --------------------------------------------------------------------------------------


def modseq_column(modseqs: Sequence[int], behind: bytes) -> list[bytes]:
    """MODSEQ with its label and what follows it (RFC 7162, 3.1.4.2). What was changed together has one."""
    form = b"MODSEQ (%d)" + behind.replace(b"%", b"%%")
    rendered = {modseq: form % modseq for modseq in set(modseqs)}
    return [rendered[modseq] for modseq in modseqs]


def date_times(label: bytes, dates: Sequence[int], behind: bytes) -> list[bytes]:
    """INTERNALDATE or SAVEDATE with what follows it, in UTC (RFC 3501, 9: date-time)."""
    form = label.replace(b"%", b"%%") + b' "%b %b:%02d +0000"' + behind.replace(b"%", b"%%")
    days: dict[int, bytes] = {}
    rendered: list[bytes] = []
    for seconds in dates:
        day, rest = divmod(seconds, 86400)
        shown = days.get(day)
        if shown is None:
            shown = days[day] = _day(day)
        rendered.append(form % (shown, _MINUTES[rest // 60], rest % 60))
    return rendered


_MINUTES = [b"%02d:%02d" % divmod(minute, 60) for minute in range(24 * 60)]  # of a day


def _day(day: int) -> bytes:
    try:
        when = gmtime(day * 86400)
        if not 0 < when.tm_year < 10_000:
            raise OverflowError
    except (OverflowError, ValueError, OSError):
        return b" 1-Jan-1970"
    return b"%2d-%b-%04d" % (when.tm_mday, MONTHS[when.tm_mon - 1], when.tm_year)


def heads(numbers: Iterable[int], uids: Sequence[int], with_uid: bool, uidonly: bool) -> list[bytes]:
    """`* n FETCH (`, `* n FETCH (UID u `, or with UIDFETCH, where a UID takes the place of the number
    (RFC 9586, 3.3)."""
    if uidonly:
        form = b"* %d UIDFETCH (UID %d " if with_uid else b"* %d UIDFETCH ("
        return [form % (uid, uid) for uid in uids] if with_uid else [form % uid for uid in uids]
    if with_uid:
        return [b"* %d FETCH (UID %d " % row for row in zip(numbers, uids, strict=True)]
    return [b"* %d FETCH (" % number for number in numbers]


class Prefixes:
    """The `heads` of the messages of one array of UIDs, kept and extended as the array grows: the sessions
    that share a view share them."""

    def __init__(self, uids: Sequence[int]) -> None:
        self.uids = uids
        self._kept: dict[tuple[bool, bool], list[bytes]] = {}

    def get(self, with_uid: bool, stop: int, uidonly: bool = False) -> list[bytes]:
        """The prefixes of at least the first `stop` messages."""
        lines = self._kept.setdefault((with_uid, uidonly), [])
        start = len(lines)
        if start < stop:
            lines += heads(range(start + 1, stop + 1), self.uids[start:stop], with_uid, uidonly)
        return lines


_PREFIXES: WeakKeyDictionary[Any, ref[Prefixes]] = WeakKeyDictionary()


def prefixes_of(view: Selected) -> Prefixes:
    """The line prefixes for a view. Sessions whose view is the mailbox's present one share them, for as long
    as one of them lives."""
    own = view.prefixes
    if own is not None and own.uids is view.uids:
        return own
    weak = _PREFIXES.get(view.mailbox)
    shared = None if weak is None else weak()
    if shared is None or shared.uids is not view.uids:
        shared = Prefixes(view.uids)
        if view.current:
            _PREFIXES[view.mailbox] = ref(shared)
    view.prefixes = shared
    return shared


def interleave(columns: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Columns of equal length to one list, row after row."""
    width = len(columns)
    if width == 1:
        return list(columns[0])
    rows: list[bytes] = [b""] * (width * len(columns[0]))
    for number, column in enumerate(columns):
        rows[number::width] = column
    return rows
