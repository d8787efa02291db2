"""What SEARCH looks for: its charset and its keys (RFC 3501, 6.4.4; 9: search-key)."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from mailserver.imap.grammar.cursor import MAX_MODSEQ, BadSyntax, Cursor
from mailserver.imap.values import (
    SearchAll,
    SearchAnd,
    SearchDate,
    SearchEdge,
    SearchFlag,
    SearchHeader,
    SearchKey,
    SearchModseq,
    SearchNot,
    SearchObject,
    SearchOr,
    SearchSaved,
    SearchSet,
    SearchSize,
    SearchText,
    SearchWithin,
)
from mailserver.message import charsets

_UTF8 = ("UTF-8", "US-ASCII")  # what does not conflict with UTF8=ACCEPT: some clients name it all the same
_OBJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_RECENT, _SEEN = SearchFlag("\\Recent"), SearchFlag("\\Seen")
_CONSTANT: dict[str, SearchKey] = {
    "ALL": SearchAll(),
    "NEW": SearchAnd((_RECENT, SearchFlag("\\Seen", False))),
    "OLD": SearchFlag("\\Recent", False),
    "RECENT": _RECENT,
    "SEEN": _SEEN,
    "SAVEDATESUPPORTED": SearchSaved("SUPPORTED"),
    "UNSEEN": SearchFlag("\\Seen", False),
}
for _name in ("Answered", "Deleted", "Draft", "Flagged"):
    _CONSTANT[_name.upper()] = SearchFlag("\\" + _name)
    _CONSTANT["UN" + _name.upper()] = SearchFlag("\\" + _name, False)


@frozen
class SearchArguments:
    """Where the charset is unknown the texts are guesses: the handler refuses (RFC 3501, 6.4.4)."""

    key: SearchKey
    charset: str


def search_criteria(cursor: Cursor) -> SearchArguments:
    """charset 1*(SP search-key)"""
    charset = _charset(cursor)
    cursor.space()
    return _program(cursor, charset)


def _charset(cursor: Cursor) -> str:
    name = cursor.astring().decode("ascii", "replace").upper()
    if not cursor.dialect.charsets and name not in _UTF8:
        raise BadSyntax("With UTF8=ACCEPT there is no charset but UTF-8")
    return name


def search_arguments(cursor: Cursor) -> SearchArguments:
    """["CHARSET" SP astring SP] search-key *(SP search-key)"""
    charset: str | None = None
    if cursor.text[cursor.pos : cursor.pos + 8].upper() == b"CHARSET ":
        cursor.pos += 8
        charset = _charset(cursor)
        cursor.space()
    elif cursor.dialect.utf8:
        charset = "UTF-8"
    return _program(cursor, charset)


def _program(cursor: Cursor, charset: str | None) -> SearchArguments:
    """search-key *(SP search-key)"""
    parser = _Keys(cursor, charset)
    keys = [parser.key()]
    while cursor.skip(b" "):
        keys.append(parser.key())
    return SearchArguments(
        keys[0] if len(keys) == 1 else SearchAnd(tuple(keys)), "US-ASCII" if charset is None else charset
    )


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
        if first in (b"*", b"$") or first.isdigit():
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

    def _edge(self, name: str) -> SearchKey:
        uid = self._cursor.number()
        if not uid:
            raise BadSyntax("No UID is 0")
        return SearchEdge(uid, name == "UIDAFTER")

    def _keyword(self, name: str) -> SearchKey:
        keyword = self._cursor.atom().decode("ascii")
        return SearchFlag(keyword, name == "KEYWORD")

    def _date(self, name: str) -> SearchKey:
        day = self._cursor.date()
        return SearchDate(name.removeprefix("SENT"), day, name.startswith("SENT"))

    def _within(self, name: str) -> SearchKey:
        seconds = self._cursor.number()
        if not seconds:
            raise BadSyntax("An interval of nothing")
        return SearchWithin(seconds, name == "OLDER")

    def _saved(self, name: str) -> SearchKey:
        return SearchSaved(name.removeprefix("SAVED"), self._cursor.date())

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

    def _object(self, name: str) -> SearchKey:
        """objectid (RFC 8474, 7)"""
        identity = self._cursor.atom().decode("ascii")
        if _OBJECT_ID.fullmatch(identity) is None:
            raise BadSyntax("Not an object id")
        return SearchObject(name, identity)

    def _modseq(self, name: str) -> SearchKey:
        """ "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer (RFC 7162, 7)"""
        cursor = self._cursor
        if cursor.peek() == b'"':
            if not cursor.string().lower().startswith(b"/flags/"):
                raise BadSyntax("Expected the entry of a flag")
            cursor.space()
            if cursor.word() not in ("PRIV", "SHARED", "ALL"):
                raise BadSyntax("Expected priv, shared or all")
            cursor.space()
        return SearchModseq(cursor.number(MAX_MODSEQ))

    def _string(self) -> str:
        return charsets.decode(self._cursor.astring(), self._charset)


_WITH_ARGUMENTS: dict[str, Callable[[_Keys, str], SearchKey]] = {
    "NOT": _Keys._not,
    "OR": _Keys._or,
    "UID": _Keys._uid,
    "UIDAFTER": _Keys._edge,
    "UIDBEFORE": _Keys._edge,
    "KEYWORD": _Keys._keyword,
    "UNKEYWORD": _Keys._keyword,
    "LARGER": _Keys._size,
    "SMALLER": _Keys._size,
    "OLDER": _Keys._within,
    "YOUNGER": _Keys._within,
    "BODY": _Keys._text,
    "TEXT": _Keys._text,
    "HEADER": _Keys._header,
    "EMAILID": _Keys._object,
    "THREADID": _Keys._object,
    "MODSEQ": _Keys._modseq,
}
_WITH_ARGUMENTS |= dict.fromkeys(("FROM", "TO", "CC", "BCC", "SUBJECT"), _Keys._field)
_WITH_ARGUMENTS |= dict.fromkeys(("BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE"), _Keys._date)
_WITH_ARGUMENTS |= dict.fromkeys(("SAVEDBEFORE", "SAVEDON", "SAVEDSINCE"), _Keys._saved)
