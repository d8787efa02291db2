"""The MIME structure of a message, as offsets into its bytes (RFC 2045, 2046).

One pass over the message with `find`: no decoding, no copying of bodies, no line-by-line work. The
result is a tree of `Part`, each with the offsets of its header block and body. Invariants:

- never raises, whatever the bytes are; time is linear in the length of the message
- `start <= body <= end <= len(data)`, and a child lies within its parent's body
- at most `MAX_DEPTH` levels and `MAX_PARTS` parts; what lies beyond stays inside a leaf, so no octet
  of a message is ever out of reach

Line ends are either all LF or all CRLF. A delimiter line is one that *begins* with the boundary
(RFC 2046, 5.1.1); among nested multiparts the longest that fits wins.
"""

from __future__ import annotations

from attrs import define, field

from mailserver.message.headers import values_by_name
from mailserver.message.parameters import Parameters, get, parse_content_type

MAX_DEPTH = 100
MAX_PARTS = 5_000
MAX_HEADER = 256 * 1024  # octets of one header block that are looked at
MAX_BOUNDARY = 998  # a line (RFC 5322, 2.1.1)
MAX_MISSES = 200_000  # lines that begin like a delimiter and are none

OCTET_STREAM = (b"application", b"octet-stream")
US_ASCII: Parameters = ((b"charset", b"us-ascii"),)

# Fields that ENVELOPE and BODYSTRUCTURE are made of; those with addresses may stand more than once.
ADDRESS_FIELDS = frozenset((b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"))
FIELDS = ADDRESS_FIELDS | {
    b"date",
    b"subject",
    b"in-reply-to",
    b"message-id",
    b"content-type",
    b"content-transfer-encoding",
    b"content-id",
    b"content-description",
    b"content-md5",
    b"content-disposition",
    b"content-language",
    b"content-location",
}


@define(eq=False)
class Part:
    """One MIME part; the root is the message itself.

    start: first octet of the header block    body: first octet of the body
    end:   first octet behind the body        fields: unfolded values by lower-case name
    parts: of a multipart its parts, of a message/rfc822 the one message in it, else empty
    """

    start: int
    body: int = 0
    end: int = 0
    main: bytes = b"text"
    sub: bytes = b"plain"
    parameters: Parameters = ()
    fields: dict[bytes, bytes] = field(factory=dict)
    parts: list[Part] = field(factory=list)
    is_multipart: bool = False
    is_message: bool = False


def scan(data: bytes) -> Part:
    """The part tree of a message with LF or CRLF line ends."""
    return _Scanner(data).run()


class _Scanner:
    """Walks once over the message; `path` holds the open parts, `delimiters` the open boundaries."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        first = data.find(b"\n")
        self.eol = b"\r\n" if first > 0 and data[first - 1] == 13 else b"\n"
        self.blank = self.eol + self.eol
        self.next_blank = -1  # the first blank line not before the place asked last
        self.path: list[Part] = []
        self.delimiters: list[bytes] = []  # b"--" and boundary, outermost first
        self.owners: list[int] = []  # index in `path` of each delimiter's multipart
        self.prefixes: tuple[bytes, ...] = ()
        self.count = 0
        self.misses = 0

    def run(self) -> Part:
        root = self._open(0, digest=False)
        at: int = root.body
        while True:
            at = self._descend(at)
            found = self._next_delimiter(at, len(self.data))
            if found is None:
                break
            following = self._cross(*found)
            if following is None:
                break
            at = following
        self._close(0, len(self.data))
        return root

    def _open(self, start: int, digest: bool) -> Part:
        """Begin a part: its header block, ended by an empty line or by a delimiter of its parents."""
        data, eol = self.data, self.eol
        self.count += 1
        part = Part(start)
        if data.startswith(eol, start):
            header = start
            part.body = start + len(eol)
        else:
            if self.next_blank < start:
                blank = data.find(self.blank, start)
                self.next_blank = blank if blank >= 0 else len(data)
            header = min(len(data), self.next_blank + len(eol))
            part.body = min(len(data), self.next_blank + len(self.blank))
            cut = self._next_delimiter(start, header)
            if cut is not None:
                part.body = header = max(start, cut[0] - len(eol))
        if header > start:
            part.fields = values_by_name(
                data[start : min(header, start + MAX_HEADER)], FIELDS, ADDRESS_FIELDS
            )
        part.end = part.body
        self._classify(part, digest)
        self.path.append(part)
        return part

    def _classify(self, part: Part, digest: bool) -> None:
        """Type and parameters; whether the scanner goes into it (RFC 2045, 5.2; RFC 2046, 5.1.5)."""
        value = part.fields.get(b"content-type")
        parsed = None if value is None else parse_content_type(value)
        if parsed is not None:
            part.main, part.sub, part.parameters = parsed
            main, sub = part.main.lower(), part.sub.lower()
        elif digest and value is None:
            main, sub = part.main, part.sub = b"message", b"rfc822"
        else:
            part.parameters = US_ASCII
            return
        if main == b"text":
            if get(part.parameters, b"charset") is None:  # RFC 2046, 4.1.2
                part.parameters += US_ASCII
        elif main == b"multipart":
            part.is_multipart = True
        elif main == b"message" and sub in (b"rfc822", b"global"):  # RFC 6532, 3.7
            # An encoded message (not allowed by RFC 2046, 5.2.1) cannot be looked into.
            encoding = part.fields.get(b"content-transfer-encoding", b"").lower()
            part.is_message = encoding not in (b"base64", b"quoted-printable")
            if not part.is_message:
                part.main, part.sub = (part.main, part.sub) if sub == b"global" else OCTET_STREAM

    def _descend(self, at: int) -> int:
        """From the body of the innermost part into what it holds; the place to look on from."""
        part = self.path[-1]
        while part.body == at and not part.parts and (part.is_message or part.is_multipart):
            if len(self.path) >= MAX_DEPTH or self.count >= MAX_PARTS:
                break
            if part.is_multipart:
                boundary = get(part.parameters, b"boundary")
                if boundary and len(boundary) <= MAX_BOUNDARY:
                    self.delimiters.append(b"--" + boundary.rstrip())
                    self.owners.append(len(self.path) - 1)
                    self.prefixes = tuple(self.delimiters)
                break
            inner = self._open(at, digest=False)
            part.parts.append(inner)
            part, at = inner, inner.body
        return at

    def _next_delimiter(self, at: int, limit: int) -> tuple[int, int] | None:
        """The first line at or behind `at` (which begins a line) that is a delimiter of an open
        multipart: its offset and the index of the delimiter."""
        prefixes = self.prefixes
        if not prefixes:
            return None
        data = self.data
        find, startswith = data.find, data.startswith
        if not startswith(b"--", at):
            at = find(b"\n--", at, limit) + 1
            if not at:
                return None
        while at < limit:
            if startswith(prefixes, at):
                best = -1
                for index, prefix in enumerate(prefixes):
                    if startswith(prefix, at) and (best < 0 or len(prefix) >= len(prefixes[best])):
                        best = index
                return at, best
            self.misses += 1
            if self.misses > MAX_MISSES:
                break
            at = find(b"\n--", at, limit) + 1
            if not at:
                break
        return None

    def _cross(self, at: int, index: int) -> int | None:
        """Go over a delimiter line: close what it ends, open the next part. None: stop here."""
        data = self.data
        owner = self.owners[index]
        behind = at + len(self.delimiters[index])
        closing = data.startswith(b"--", behind)
        if not closing and self.count >= MAX_PARTS:
            return None
        self._close(owner + 1, at - len(self.eol))
        keep = index if closing else index + 1
        del self.delimiters[keep:], self.owners[keep:]
        self.prefixes = tuple(self.delimiters)
        line_end = data.find(b"\n", behind)
        following = len(data) if line_end < 0 else line_end + 1
        if closing:
            return following if self.delimiters else None
        multipart = self.path[owner]
        part = self._open(following, digest=multipart.sub.lower() == b"digest")
        multipart.parts.append(part)
        return part.body

    def _close(self, depth: int, end: int) -> None:
        """End the bodies of all open parts from this depth on."""
        for part in reversed(self.path[depth:]):
            part.end = end = max(part.body, end)  # a header that ends here holds its parents open
            if part.is_multipart and not part.parts:
                # Without a single part it is none: its text stays readable as a leaf (RFC 2045, 5.2).
                part.is_multipart = False
                part.main, part.sub, part.parameters = b"text", b"plain", US_ASCII
            elif part.is_message and not part.parts:
                part.is_message = False
                part.main, part.sub = OCTET_STREAM
        del self.path[depth:]


def body_start(wire: bytes) -> int:
    """Where the body of a message with CRLF line ends begins: `scan(wire).body` without a scan."""
    if wire.startswith(b"\r\n"):
        return 2
    blank = wire.find(b"\r\n\r\n")
    return blank + 4 if blank >= 0 else len(wire)


def find_part(root: Part, numbers: tuple[int, ...]) -> Part | None:
    """The part of a section number such as 2.1.3 (RFC 3501, 6.4.5), or None.

    The number of a part in a message/rfc822 counts through that message; a message that is no
    multipart has the one part 1, its body.
    """
    holder: Part | None = root
    part = root
    for number in numbers:
        if holder is None:
            return None
        if holder.is_multipart:
            if not 1 <= number <= len(holder.parts):
                return None
            part = holder.parts[number - 1]
        elif number == 1:
            part = holder
        else:
            return None
        if part.is_message:
            holder = part.parts[0]
        else:
            holder = part if part.is_multipart and part is not holder else None
    return part
