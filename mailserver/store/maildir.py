"""Names of a Maildir++: message files, folders, accounts.

A message is `TIME.UNIQUE.HOST,S=octets,W=octets-with-CRLF,I=uidvalidity-uid:2,FLAGS` in `cur/` or `new/`.
`S`, `W`, `I` are ours or another server's; what another deliverer wrote has none of them. Where the message
came into the folder at another time than TIME (a copy), `D=` says when. The part before ":2," never changes
in the life of a file, except that a stranger is given its `I=` once.

A folder `A/B` is the directory `.A.B` beside `cur`, `new` and `tmp` of the inbox, each component in
modified UTF-7. The mapping is one-to-one: a component may not contain the separator ".", and a
directory whose name is not the canonical encoding of a folder is no folder.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from mailserver.errors import CannotName
from mailserver.interfaces import KEYWORD, Flag
from mailserver.rights import OTHERS
from mailserver.wire import utf7

INBOX = "INBOX"
LONGEST = 255  # octets of a file name
LETTER_KEYWORDS = 26
LETTER_BITS = (1 << (KEYWORD + LETTER_KEYWORDS)) - 1
"""Flags that a file name can show: the system flags and the first 26 keywords."""

_SYSTEM = (
    ("D", int(Flag.DRAFT)),
    ("F", int(Flag.FLAGGED)),
    ("R", int(Flag.ANSWERED)),
    ("S", int(Flag.SEEN)),
    ("T", int(Flag.DELETED)),
)
_BITS = dict(_SYSTEM) | {chr(97 + k): 1 << (KEYWORD + k) for k in range(LETTER_KEYWORDS)}
_SYSTEM_LETTERS = ["".join(letter for letter, bit in _SYSTEM if bits & bit) for bits in range(32)]
_ATTRIBUTES = ("S=", "W=", "I=", "D=")
# Names of ours, of Dovecot and of deliverers that tell nothing: nearly all there are.
_USUAL = re.compile(
    r"([^:,]*+(?:,S=([0-9]{1,18}),W=([0-9]{1,18})(?:,I=([0-9]{1,18})-([0-9]{1,18}))?+(?:,D=[0-9]{1,10})?+)?+)"
    r"(?::2,([A-Za-z]*+))?+\Z"
)
_RESERVED = frozenset(("cur", "new", "tmp", "..", "."))
_TIME = re.compile(r"([0-9]{1,10})(?![0-9])")
_SAVED = re.compile(r",D=([0-9]{1,10})(?![^,])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


# --- message files -------------------------------------------------------------------------------


class Name(NamedTuple):
    """A parsed file name. `base` is everything before ":"; None where an attribute is absent."""

    base: str
    letters: str
    size: int | None = None
    wire: int | None = None
    uidvalidity: int = 0
    uid: int = 0


def base_of(name: str) -> str:
    """The unchanging part of a file name (with or without its folder)."""
    return name[name.rfind("/") + 1 :].partition(":")[0]


def letters_of(name: str) -> str:
    info = name.partition(":")[2]
    return info[2:] if info.startswith("2,") else ""


def parse(name: str) -> Name:
    """Any file name; attributes that make no sense count as absent."""
    usual = _USUAL.match(name)
    if usual is not None:
        base, octets, wired, left, right, letters = usual.groups()
        if octets is None or wired is None:
            return Name(base, letters or "")
        if left is None:
            return Name(base, letters or "", int(octets), int(wired))
        validity, number = int(left), int(right)
        if 0 < number < 1 << 32 and 0 < validity < 1 << 32:
            return Name(base, letters or "", int(octets), int(wired), validity, number)
        return Name(base, letters or "", int(octets), int(wired))
    return _parse_unusual(name)


def _parse_unusual(name: str) -> Name:
    base, _, info = name.partition(":")
    size = wire = None
    uidvalidity = uid = 0
    for attribute in base.split(",")[1:]:
        value = attribute[2:]
        if attribute.startswith("S=") and _is_number(value):
            size = int(value)
        elif attribute.startswith("W=") and _is_number(value):
            wire = int(value)
        elif attribute.startswith("I="):
            left, _, right = value.partition("-")
            if _is_number(left) and _is_number(right):
                uidvalidity, uid = int(left), int(right)
    if not (0 < uid < 1 << 32 and 0 < uidvalidity < 1 << 32):
        uidvalidity = uid = 0
    return Name(base, info[2:] if info.startswith("2,") else "", size, wire, uidvalidity, uid)


def saved_of(base: str) -> int:
    """When the message came into the folder: D=, else TIME (as in `schema`); 0 where no name tells."""
    told = _SAVED.search(base) or _TIME.match(base)
    return int(told[1]) if told is not None else 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def flags_of(letters: str, keywords: int) -> int:
    """Bits of the letters; letters of keywords that the folder does not know count for nothing."""
    flags = 0
    for letter in letters:
        flags |= _BITS.get(letter, 0)
    return flags & ((1 << (KEYWORD + keywords)) - 1)


def other_letters(letters: str, keywords: int) -> str:
    """What other programs put there and we only keep ("P" for passed, unknown keywords)."""
    return "".join(x for x in letters if x not in _BITS or (x.islower() and ord(x) - 97 >= keywords))


def letters_for(flags: int, others: str = "") -> str:
    """Letters in ASCII order, as Maildir wants them."""
    letters = _SYSTEM_LETTERS[flags & 31]
    high = flags >> KEYWORD
    if high:
        letters += "".join(chr(97 + k) for k in range(LETTER_KEYWORDS) if high >> k & 1)
    return "".join(sorted(set(letters + others))) if others else letters


class NameMaker:
    """Unique names: time, microseconds, process, a counter and a random part, so that neither a clock that
    steps back nor a process number that comes again makes the same name twice."""

    def __init__(self, host: str | None = None) -> None:
        name = host or socket.gethostname() or "localhost"
        for char, code in (("/", "\\057"), (":", "\\072"), (",", "\\054")):
            name = name.replace(char, code)
        self.host = name[:64]
        self._count = itertools.count(1)
        self._process = f"P{os.getpid()}R{secrets.token_hex(4)}Q"

    def unique(self, when: float) -> str:
        seconds = int(when)
        return f"{seconds}.M{int((when - seconds) * 1e6):06d}{self._process}{next(self._count)}.{self.host}"

    def message(self, when: float, size: int, wire: int, uidvalidity: int, uid: int) -> str:
        """A base name."""
        return f"{self.unique(when)},S={size},W={wire},I={uidvalidity}-{uid}"


def unique_part(name: str) -> str:
    """A base or file name without the attributes that we give: S, W, I and D."""
    base = base_of(name)
    if "," not in base:
        return base
    first, *attributes = base.split(",")
    return ",".join([first, *(one for one in attributes if one[:2] not in _ATTRIBUTES)])


def with_attributes(unique: str, *, size: int, wire: int, uidvalidity: int, uid: int, saved: int) -> str:
    """A base name. May come out too long for a file name."""
    base = f"{unique},S={size},W={wire},I={uidvalidity}-{uid}"
    return base if saved_of(unique) == saved else f"{base},D={saved}"


# --- folders -------------------------------------------------------------------------------------


def normal_name(name: str) -> str:
    """The one spelling of a folder's name: INBOX in any case is INBOX, also as the first component."""
    first, slash, rest = name.partition("/")
    if first.upper() == INBOX and first.isascii():
        return INBOX + slash + rest
    return name


@lru_cache(maxsize=1000)
def directory_of(name: str) -> str:
    """The directory of a folder within the account's, "" for INBOX. Raises CannotName for every name that
    could mean something else to the file system, or to another program that reads the Maildir."""
    name = normal_name(name)
    if name == INBOX:
        return ""
    components = name.split("/")
    for component in components:
        if not component or component in _RESERVED or "." in component:
            raise CannotName(cause=f"component {component!r}")
        if _CONTROL.search(component) or component.startswith("~"):
            raise CannotName(cause=f"component {component!r}")
    directory = "." + ".".join(utf7.encode(component).decode("ascii") for component in components)
    if len(directory) > LONGEST:
        raise CannotName(cause="longer than a file name may be")
    return directory


def check_name(name: str) -> None:
    """Raises CannotName for what can be no mailbox's name, another user's included."""
    if name.startswith(OTHERS):
        owner, _, name = name[len(OTHERS) :].partition("/")
        account_path("", owner)
    directory_of(name)


def folder_of(directory: str) -> str | None:
    """The folder that lives in a directory; None where that is no folder of ours."""
    if directory == "":
        return INBOX
    if not directory.startswith("."):
        return None
    try:
        name = "/".join(utf7.decode(part.encode("ascii")) for part in directory[1:].split("."))
        return name if directory_of(name) == directory else None
    except (CannotName, UnicodeEncodeError):
        return None


def superiors(name: str) -> list[str]:
    """`a/b/c` has `a` and `a/b`."""
    components = name.split("/")
    return ["/".join(components[:n]) for n in range(1, len(components))]


def sort_key(name: str) -> tuple[bool, list[str]]:
    """INBOX first, parents before children."""
    return (name != INBOX, name.split("/"))


def with_superiors(names: Iterable[str]) -> dict[str, bool]:
    """All names with those above them: name -> does it exist? In the order of `sort_key`."""
    found = set(names)
    every = found.union(*(superiors(name) for name in found)) if found else found
    return {name: name in found for name in sorted(every, key=sort_key)}


# --- accounts ------------------------------------------------------------------------------------


def account_path(root: str, user: str) -> str:
    """mail/DOMAIN/LOCALPART; what is no safe file name is percent-encoded. Raises CannotName."""
    local, at, domain = user.rpartition("@")
    if not at or not local or not domain:
        raise CannotName(cause=f"no address: {user!r}")
    parts = (_safe(domain), _safe(local))
    if any(len(part) > LONGEST for part in parts):
        raise CannotName(cause="longer than a file name may be")
    return os.path.join(root, *parts)


def _safe(part: str) -> str:
    """One-to-one: "%" itself is encoded, letters of any script stay."""
    done = "".join(c if c.isalnum() or c in "+-_.=~!#$&'*^`{|}?@ " else quote(c, safe="") for c in part)
    return "%2E" + done[1:] if done.startswith(".") else done
