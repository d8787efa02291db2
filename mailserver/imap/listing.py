"""LIST and LSUB: names against patterns (RFC 3501, 6.3.8, 6.3.9; CHILDREN: RFC 3348).

`*` stands for anything, `%` for anything without a hierarchy separator. The matcher walks a name once and
keeps the set of pattern positions that are possible as the bits of one integer, so that no pattern makes it
slow (CASES H5); everything else in a pattern stands for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from mailserver.imap.grammar.cursor import inbox_in_capitals
from mailserver.interfaces import FolderInfo

SEPARATOR = "/"
SPECIAL_USES = {use.upper(): use for use in ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash")}


def matcher(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether a name matches; INBOX does so in any case."""
    pattern = inbox_in_capitals(pattern)
    match, match_inbox = _matcher(pattern), _matcher(pattern.upper())
    return lambda name: match(name) or (name == "INBOX" and match_inbox(name))


def _matcher(pattern: str) -> Callable[[str], bool]:
    literals, anything, one_level = _compile(pattern)
    plain = "".join(literals)
    if not anything and not one_level:
        return lambda name: name == plain
    at_end_only = 1 << len(literals)
    if anything == at_end_only and not one_level:
        return lambda name: name.startswith(plain)
    if one_level == at_end_only and not anything:
        return lambda name: name.startswith(plain) and SEPARATOR not in name[len(plain) :]
    return _walker(literals, anything, one_level)


def _compile(pattern: str) -> tuple[list[str], int, int]:
    """The characters that stand for themselves, and the positions between them (bit n: before literal n)
    where `*` or `%` stands; `*` beside `%` makes it superfluous."""
    literals: list[str] = []
    anything = one_level = 0
    for character in pattern:
        if character == "*":
            anything |= 1 << len(literals)
        elif character == "%":
            one_level |= 1 << len(literals)
        else:
            literals.append(character)
    return literals, anything, one_level & ~anything


def _walker(literals: Sequence[str], anything: int, one_level: int) -> Callable[[str], bool]:
    places: dict[str, int] = {}
    for number, literal in enumerate(literals):
        places[literal] = places.get(literal, 0) | 1 << number
    accepted = 1 << len(literals)
    either = anything | one_level

    def match(name: str) -> bool:
        possible = 1
        for character in name:
            stay = anything if character == SEPARATOR else either
            possible = (possible & places.get(character, 0)) << 1 | possible & stay
            if not possible:
                return False
        return bool(possible & accepted)

    return match


@frozen
class Listed:
    """One line of the answer: attributes with their backslash, and the name.

    children: selection options that a name below meets: CHILDINFO (RFC 5258, 3.5)
    selected: exists and meets the selection options itself (LIST with options only)
    old_name: what it was renamed from (RFC 5465, 5.4), or what the client called it (RFC 9051, 6.3.9.7)
    rights: of this user, where it is selected
    """

    attributes: tuple[str, ...]
    name: str
    children: tuple[str, ...] = ()
    selected: bool = False
    old_name: str = ""
    rights: str = ""


def list_one(folders: Iterable[FolderInfo], name: str) -> Listed:
    """The entry of one mailbox."""
    below = name + SEPARATOR
    folder, has_children = None, False
    for other in folders:
        if other.name == name:
            folder = other
        has_children = has_children or other.name.startswith(below)
    return Listed(_attributes(folder, has_children), name)


def list_folders(folders: Iterable[FolderInfo], pattern: str) -> list[Listed]:
    """LIST: folders, and levels above them that are none themselves (RFC 3501, 6.3.8)."""
    known = {folder.name: folder for folder in folders}
    parents = parents_of(known)
    match = matcher(pattern)
    missing = [parent for parent in parents if parent not in known]
    names = [*known, *sorted(missing)] if missing else known
    return [Listed(_attributes(known.get(name), name in parents), name) for name in names if match(name)]


def _attributes(folder: FolderInfo | None, has_children: bool) -> tuple[str, ...]:
    attributes = [] if folder is not None and folder.selectable else ["\\Noselect"]
    attributes.append("\\HasChildren" if has_children else "\\HasNoChildren")
    if folder is not None and folder.special_use:
        attributes.append(folder.special_use)
    return tuple(attributes)


def list_subscribed(names: Iterable[str], existing: Iterable[str], pattern: str) -> list[Listed]:
    """LSUB: names subscribed to, with \\Noselect where there is no such folder; with `%` a level that only
    stands above a name that would match `*` (RFC 3501, 6.3.9)."""
    subscribed = list(dict.fromkeys(names))
    exists = set(existing)
    match = matcher(pattern)
    listed = {name: () if name in exists else ("\\Noselect",) for name in subscribed if match(name)}
    if "%" in pattern:
        for parent in sorted(parents_of(subscribed)):
            if parent not in listed and match(parent):
                listed[parent] = ("\\Noselect",)
    return [Listed(attributes, name) for name, attributes in listed.items()]


def parents_of(names: Iterable[str]) -> set[str]:
    """Every level above these names."""
    parents: set[str] = set()
    for name in names:
        end = name.rfind(SEPARATOR)
        while end > 0:
            parent = name[:end]
            if parent in parents:
                break
            parents.add(parent)
            end = name.rfind(SEPARATOR, 0, end)
    return parents
