"""What SEARCH looks for (RFC 3501, 6.4.4; 9: search, search-key)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from mailserver.errors import MailError
from mailserver.imap.cursor import BadSyntax, Cursor
from mailserver.imap.values import (
    SearchAll,
    SearchAnd,
    SearchDate,
    SearchFlag,
    SearchHeader,
    SearchKey,
    SearchNot,
    SearchOr,
    SearchSet,
    SearchSize,
    SearchText,
)
from mailserver.message import charsets

_RECENT, _SEEN = SearchFlag("\\Recent"), SearchFlag("\\Seen")
_CONSTANT: dict[str, SearchKey] = {
    "ALL": SearchAll(),
    "NEW": SearchAnd((_RECENT, SearchFlag("\\Seen", False))),
    "OLD": SearchFlag("\\Recent", False),
    "RECENT": _RECENT,
    "SEEN": _SEEN,
    "UNSEEN": SearchFlag("\\Seen", False),
}
for _name in ("Answered", "Deleted", "Draft", "Flagged"):
    _CONSTANT[_name.upper()] = SearchFlag("\\" + _name)
    _CONSTANT["UN" + _name.upper()] = SearchFlag("\\" + _name, False)


class BadCharset(MailError):
    """A charset that is not known here (RFC 3501, 6.4.4)."""

    imap = "BADCHARSET (US-ASCII UTF-8)"
    text = "Unknown charset"


@frozen
class SearchArguments:
    key: SearchKey
    charset: str


def search_arguments(cursor: Cursor) -> SearchArguments:
    """["CHARSET" SP astring SP] search-key *(SP search-key)"""
    charset: str | None = None
    if cursor.text[cursor.pos : cursor.pos + 8].upper() == b"CHARSET ":
        cursor.pos += 8
        charset = cursor.astring().decode("ascii", "replace").upper()
        cursor.space()
    parser = _Keys(cursor, charset)
    keys = [parser.key()]
    while cursor.skip(b" "):
        keys.append(parser.key())
    if charset is not None and charsets.codec(charset) is None:
        raise BadCharset
    return SearchArguments(keys[0] if len(keys) == 1 else SearchAnd(tuple(keys)), charset or "US-ASCII")


class _Keys:
    """search-key; one method for each form of arguments."""

    def __init__(self, cursor: Cursor, charset: str | None) -> None:
        self._cursor = cursor
        self._charset = charset

    def key(self) -> SearchKey:
        cursor = self._cursor
        first = cursor.peek()
        if first == b"(":
            return self._list()
        if first == b"*" or first.isdigit():
            return SearchSet(cursor.sequence_set(), uid=False)
        name = cursor.word()
        constant = _CONSTANT.get(name)
        if constant is not None:
            return constant
        parse = _WITH_ARGUMENTS.get(name)
        if parse is None:
            raise BadSyntax("Unknown search key")
        cursor.space()
        return parse(self, name)

    def _list(self) -> SearchKey:
        cursor = self._cursor
        cursor.expect(b"(")
        cursor.deeper()
        keys = [self.key()]
        while cursor.skip(b" "):
            keys.append(self.key())
        cursor.shallower()
        cursor.expect(b")")
        return keys[0] if len(keys) == 1 else SearchAnd(tuple(keys))

    def _not(self, name: str) -> SearchKey:
        self._cursor.deeper()
        key = self.key()
        self._cursor.shallower()
        return SearchNot(key)

    def _or(self, name: str) -> SearchKey:
        self._cursor.deeper()
        left = self.key()
        self._cursor.space()
        right = self.key()
        self._cursor.shallower()
        return SearchOr(left, right)

    def _uid(self, name: str) -> SearchKey:
        return SearchSet(self._cursor.sequence_set(), uid=True)

    def _keyword(self, name: str) -> SearchKey:
        keyword = self._cursor.atom().decode("ascii")
        return SearchFlag(keyword, name == "KEYWORD")

    def _date(self, name: str) -> SearchKey:
        day = self._cursor.date()
        return SearchDate(name.removeprefix("SENT"), day, name.startswith("SENT"))

    def _size(self, name: str) -> SearchKey:
        return SearchSize(self._cursor.number(1 << 62), name == "LARGER")

    def _text(self, name: str) -> SearchKey:
        return SearchText(self._string(), header=name == "TEXT")

    def _field(self, name: str) -> SearchKey:
        return SearchHeader(name, self._string())

    def _header(self, name: str) -> SearchKey:
        field = self._cursor.astring().decode("ascii", "replace").upper()
        self._cursor.space()
        return SearchHeader(field, self._string())

    def _string(self) -> str:
        return charsets.decode(self._cursor.astring(), self._charset)


_WITH_ARGUMENTS: dict[str, Callable[[_Keys, str], SearchKey]] = {
    "NOT": _Keys._not,
    "OR": _Keys._or,
    "UID": _Keys._uid,
    "KEYWORD": _Keys._keyword,
    "UNKEYWORD": _Keys._keyword,
    "LARGER": _Keys._size,
    "SMALLER": _Keys._size,
    "BODY": _Keys._text,
    "TEXT": _Keys._text,
    "HEADER": _Keys._header,
}
_WITH_ARGUMENTS |= dict.fromkeys(("FROM", "TO", "CC", "BCC", "SUBJECT"), _Keys._field)
_WITH_ARGUMENTS |= dict.fromkeys(("BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE"), _Keys._date)
