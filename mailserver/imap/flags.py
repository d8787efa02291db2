"""Flag bits to the names that clients read (RFC 3501, 2.3.2), each combination rendered once."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.interfaces import KEYWORD, Flag, IMailbox

SYSTEM_FLAGS: tuple[tuple[int, bytes], ...] = (
    (Flag.ANSWERED.value, b"\\Answered"),
    (Flag.FLAGGED.value, b"\\Flagged"),
    (Flag.DELETED.value, b"\\Deleted"),
    (Flag.SEEN.value, b"\\Seen"),
    (Flag.DRAFT.value, b"\\Draft"),
)
NEEDED = {b"\\Seen": "s", b"\\Deleted": "t"}  # a right; "w" for all others
MAX_CACHED = 10_000
MAX_RESPONSES = 50


class FlagNames:
    """Names of one mailbox's flags. `keywords` is the mailbox's list, which only grows, so what was
    rendered once stays right."""

    def __init__(self, keywords: Sequence[str]) -> None:
        self._keywords = keywords
        self._rendered: dict[int, bytes] = {}
        self._fragments: dict[tuple[bytes, bool], FlagFragments] = {}
        self._responses: dict[tuple[str, int], bytes] = {}

    def fragments(self, behind: bytes, recent: bool = False) -> FlagFragments:
        """As they stand in a response; kept for the next one."""
        made = self._fragments.get((behind, recent))
        if made is None:
            made = self._fragments[behind, recent] = FlagFragments(self, behind, recent)
        return made

    def all(self) -> list[bytes]:
        """Every flag that a message here may have."""
        return [name for _, name in SYSTEM_FLAGS] + [k.encode("ascii", "replace") for k in self._keywords]

    def responses(self, rights: str) -> bytes:
        """`* FLAGS` and `* OK [PERMANENTFLAGS …]` for who may change what these rights allow (RFC 4314,
        5.1.1); kept for the next one."""
        key = rights, len(self._keywords)
        made = self._responses.get(key)
        if made is None:
            if len(self._responses) >= MAX_RESPONSES:
                self._responses.clear()
            made = self._responses[key] = _responses(self.all(), rights)
        return made

    def render(self, flags: int, recent: bool = False) -> bytes:
        """`\\Seen $Forwarded`, with \\Recent where the message is that for the session."""
        shown = self._rendered.get(flags)
        if shown is None:
            shown = self._render(flags)
        if recent:
            return shown + b" \\Recent" if shown else b"\\Recent"
        return shown

    def _render(self, flags: int) -> bytes:
        names = [name for bit, name in SYSTEM_FLAGS if flags & bit]
        rest = flags >> KEYWORD
        for keyword in self._keywords:
            if not rest:
                break
            if rest & 1:
                names.append(keyword.encode("ascii", "replace"))
            rest >>= 1
        if len(self._rendered) >= MAX_CACHED:
            self._rendered.clear()
        shown = self._rendered[flags] = b" ".join(names)
        return shown


def _responses(names: Sequence[bytes], rights: str) -> bytes:
    permanent = [name for name in names if NEEDED.get(name, "w") in rights]
    if "w" in rights:
        permanent.append(b"\\*")
    text = b"Flags permitted" if permanent else b"No permanent flags permitted"
    answer = b"* FLAGS (%b)\r\n* OK [PERMANENTFLAGS (%b)] %b\r\n"
    return answer % (b" ".join(names), b" ".join(permanent), text)


def names_of(mailbox: IMailbox) -> FlagNames:
    """One for all sessions that have the mailbox open."""
    names: FlagNames | None = mailbox.derived.get("flags")
    if names is None:
        names = mailbox.derived["flags"] = FlagNames(mailbox.keywords)
    return names


class FlagFragments(dict[int, bytes]):
    """`FLAGS (…)` and what follows it, by flag bits; made at first need."""

    def __init__(self, names: FlagNames, behind: bytes, recent: bool = False) -> None:
        super().__init__()
        self._names = names
        self._behind = behind
        self._recent = recent

    def __missing__(self, flags: int) -> bytes:
        if len(self) >= MAX_CACHED:
            self.clear()
        made = self[flags] = b"FLAGS (%b)%b" % (self._names.render(flags, self._recent), self._behind)
        return made
