"""What FETCH asks for (RFC 3501, 6.4.5; 9: fetch, fetch-att, section)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from attrs import evolve, frozen

from mailserver.imap.grammar.cursor import MAX_DEPTH, MAX_MODSEQ, MAX_NUMBER64, BadSyntax, Cursor, Dialect
from mailserver.imap.grammar.returning import partial_range
from mailserver.imap.values import FetchItem, PartialRange, Section

_NAME = re.compile(rb"[A-Za-z0-9.]+")
_PART = re.compile(rb"[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,8})*+")
_TEXT = re.compile(rb"HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME", re.IGNORECASE)
_FIELD = re.compile(rb"[\x20-\x39\x3b-\x7e]+")  # RFC 5322, 2.2: printable, no colon; a space matches nothing
MAX_ITEMS = 100
_BINARY = ("BINARY", "BINARY.PEEK", "BINARY.SIZE")

SIMPLE = (
    *("ENVELOPE", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODYSTRUCTURE", "UID"),
    *("EMAILID", "THREADID"),  # RFC 8474, 5.3
    "MODSEQ",  # RFC 7162, 3.1.4.2
    "SAVEDATE",  # RFC 8514, 4.2
)
_ITEMS = {name: FetchItem(name) for name in SIMPLE} | {
    "BODY": FetchItem("BODY"),
    "RFC822": FetchItem("RFC822", peek=False),
    "RFC822.TEXT": FetchItem("RFC822.TEXT", peek=False),
    "RFC822.HEADER": FetchItem("RFC822.HEADER"),
}
_MACROS = {
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}


def fetch_items(cursor: Cursor) -> tuple[FetchItem, ...]:
    """A macro, one item or a list; each item once, UID among them for UID FETCH (RFC 3501, 6.4.8)."""
    items: list[FetchItem] = []
    if cursor.peek() == b"(":
        for _ in cursor.members():
            items.append(_item(cursor, _name(cursor)))
            if len(items) > MAX_ITEMS:
                raise BadSyntax("Too many items")
    else:
        name = _name(cursor)
        if name in _MACROS:
            items.extend(_ITEMS[item] for item in _MACROS[name])
        else:
            items.append(_item(cursor, name))
    return tuple(dict.fromkeys(items))


def asked_for(cursor: Cursor, uid: bool) -> tuple[tuple[FetchItem, ...], FetchModifiers]:
    """What stands behind the numbers."""
    items = fetch_items(cursor)
    modifiers = fetch_modifiers(cursor, uid)
    return (items if modifiers.changed_since is None else with_modseq(items)), modifiers


@lru_cache(maxsize=256)
def known_to_ask(text: bytes, dialect: Dialect, uid: bool) -> tuple[tuple[FetchItem, ...], FetchModifiers]:
    """The same where `text` is all of it. Clients ask for the same again and again, of other messages."""
    cursor = Cursor((text,), dialect)
    asked = asked_for(cursor, uid)
    cursor.end()
    return asked


def with_modseq(items: tuple[FetchItem, ...]) -> tuple[FetchItem, ...]:
    """CHANGEDSINCE asks for MODSEQ as well (RFC 7162, 3.1.4.1)."""
    return tuple(dict.fromkeys((*items, _ITEMS["MODSEQ"])))


def _name(cursor: Cursor) -> str:
    match = _NAME.match(cursor.text, cursor.pos)
    if match is None:
        raise BadSyntax("Expected a data item")
    cursor.pos = match.end()
    return match.group().decode("ascii").upper()


def _item(cursor: Cursor, name: str) -> FetchItem:
    if name in ("BODY", "BODY.PEEK") and cursor.skip(b"["):
        asked = section(cursor)
        cursor.expect(b"]")
        return FetchItem("BODY[]", asked, _partial(cursor), peek=name == "BODY.PEEK")
    if name in _BINARY and cursor.skip(b"["):
        return _binary(cursor, name)
    if name == "PREVIEW":
        return FetchItem(name, lazy=_lazy(cursor))
    item = _ITEMS.get(name)
    if item is None:
        raise BadSyntax("Unknown data item")
    return item


def _binary(cursor: Cursor, name: str) -> FetchItem:
    """section-binary and partial (RFC 3516, 7)"""
    numbers = () if cursor.peek() == b"]" else _numbers(cursor)
    cursor.expect(b"]")
    if name == "BINARY.SIZE":
        return FetchItem("BINARY.SIZE[]", Section(numbers))
    return FetchItem("BINARY[]", Section(numbers), _partial(cursor), peek=name == "BINARY.PEEK")


def _numbers(cursor: Cursor) -> tuple[int, ...]:
    """section-part"""
    part = _PART.match(cursor.text, cursor.pos)
    if part is None:
        raise BadSyntax("Expected a part number")
    numbers = tuple(int(number) for number in part.group().split(b"."))
    if len(numbers) > MAX_DEPTH * 2:
        raise BadSyntax("Part too deep")
    cursor.pos = part.end()
    return numbers


def _lazy(cursor: Cursor) -> bool:
    """[SP "(" preview-mod *(SP preview-mod) ")"] (RFC 8970, 6)"""
    if not cursor.begins_list():
        return False
    if {cursor.word() for _ in cursor.members()} != {"LAZY"}:
        raise BadSyntax("Unknown modifier")
    return True


def section(cursor: Cursor) -> Section:
    """section-spec; MIME only after part numbers."""
    numbers: tuple[int, ...] = ()
    if _PART.match(cursor.text, cursor.pos) is not None:
        numbers = _numbers(cursor)
        if not cursor.skip(b"."):
            return Section(numbers)
    match = _TEXT.match(cursor.text, cursor.pos)
    if match is None:
        if numbers:
            raise BadSyntax("Expected a section text")
        return Section()
    text = match.group().decode("ascii").upper()
    if text == "MIME" and not numbers:
        raise BadSyntax("MIME needs a part number")
    cursor.pos = match.end()
    if not text.startswith("HEADER.FIELDS"):
        return Section(numbers, text)
    return Section(numbers, text, _field_names(cursor))


def _field_names(cursor: Cursor) -> tuple[bytes, ...]:
    """SP header-list"""
    cursor.space()
    return tuple([_field_name(cursor) for _ in cursor.members()])


def _field_name(cursor: Cursor) -> bytes:
    name = cursor.astring()
    if _FIELD.fullmatch(name) is None:
        raise BadSyntax("Invalid header field name")
    return name


def _partial(cursor: Cursor) -> tuple[int, int] | None:
    """ "<" number64 "." nz-number64 ">" (RFC 9051, 9)"""
    if not cursor.skip(b"<"):
        return None
    origin = cursor.number(MAX_NUMBER64)
    cursor.expect(b".")
    count = cursor.number(MAX_NUMBER64)
    cursor.expect(b">")
    if not count:
        raise BadSyntax("A partial fetch of nothing")
    return origin, count


# --- modifiers (RFC 4466, 2.4) ---------------------------------------------------------------------


@frozen
class FetchModifiers:
    """What stands in parentheses behind the items.

    partial:       which of the messages (RFC 9394, 3.3)
    changed_since: only those of them with a greater mod-sequence (RFC 7162, 3.1.4.1)
    vanished:      and which UIDs are gone since then (RFC 7162, 3.2.6)
    """

    partial: PartialRange | None = None
    changed_since: int | None = None
    vanished: bool = False


def _partial_modifier(cursor: Cursor, uid: bool, so_far: FetchModifiers) -> FetchModifiers:
    if not uid:
        raise BadSyntax("PARTIAL is for UID FETCH")
    cursor.space()
    return evolve(so_far, partial=partial_range(cursor))


def _changed_since_modifier(cursor: Cursor, uid: bool, so_far: FetchModifiers) -> FetchModifiers:
    cursor.space()
    return evolve(so_far, changed_since=cursor.number(MAX_MODSEQ))


def _vanished_modifier(cursor: Cursor, uid: bool, so_far: FetchModifiers) -> FetchModifiers:
    if not uid:
        raise BadSyntax("VANISHED is for UID FETCH")
    return evolve(so_far, vanished=True)


_MODIFIERS: dict[str, Callable[[Cursor, bool, FetchModifiers], FetchModifiers]] = {
    "PARTIAL": _partial_modifier,
    "CHANGEDSINCE": _changed_since_modifier,
    "VANISHED": _vanished_modifier,
}


def fetch_modifiers(cursor: Cursor, uid: bool) -> FetchModifiers:
    """[SP "(" fetch-modifier *(SP fetch-modifier) ")"], each at most once."""
    found = FetchModifiers()
    if not cursor.begins_list():
        return found
    seen: set[str] = set()
    for _ in cursor.members():
        name = cursor.word()
        parse = _MODIFIERS.get(name)
        if parse is None or name in seen:
            raise BadSyntax("Unknown or repeated modifier")
        seen.add(name)
        found = parse(cursor, uid, found)
    if found.vanished and found.changed_since is None:
        raise BadSyntax("VANISHED needs CHANGEDSINCE")
    return found
