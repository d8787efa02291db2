"""Every capability of the IMAP server, one row each: what is announced, and what goes with it when it is
switched off (`[[imap.without]]`).

A row is all that an extension needs for its switch. `commands` and `options` name classes of `imap.commands`;
where the capability is off they are answered as by a server that does not know them, with BAD. For what an
extension adds to responses by itself (a response code, an attribute of LIST) its handler asks
`session.has("NAME")`.

Nothing is imported from the rest of `imap`: the configuration knows the names from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import Factory, frozen

from mailserver.wire.sasl import MECHANISMS


@frozen
class Row:
    """One capability.

    name:      as it is announced, without the value of a limit
    commands:  what exists with it alone
    options:   by command, whether a command uses what comes with the capability
    needs:     what it is built on: without one of these it is off as well
    announced: always; else `announce` decides
    fixed:     cannot be switched off
    """

    name: str
    commands: tuple[str, ...] = ()
    options: Mapping[str, Callable[[Any], object]] = Factory(dict)
    needs: tuple[str, ...] = ()
    announced: bool = True
    fixed: bool = False


def _items(*names: str) -> dict[str, Callable[[Any], object]]:
    """Items of STATUS, also in LIST."""
    wanted = frozenset(names)
    return {
        "Status": lambda command: not wanted.isdisjoint(command.items),
        "ListExtended": lambda command: not wanted.isdisjoint(command.status),
    }


def _in_keys(test: Callable[[Any], object]) -> Callable[[Any], bool]:
    """Whether a key of a SEARCH passes a test."""

    def any_of(command: Any) -> bool:
        waiting = [command.key]
        while waiting:
            key = waiting.pop()
            if test(key):
                return True
            waiting += getattr(key, "keys", ())
            waiting += [getattr(key, name) for name in ("key", "left", "right") if hasattr(key, name)]
        return False

    return any_of


def _searching(test: Callable[[Any], object]) -> dict[str, Callable[[Any], object]]:
    """For every command that searches."""
    return dict.fromkeys(("Search", "Sort", "Thread", "Esearch"), test)


def _key(kind: str) -> dict[str, Callable[[Any], object]]:
    """A key of SEARCH, by the name of its class."""
    return _searching(_in_keys(lambda key: type(key).__name__ == kind))


def _fetched(*names: str) -> dict[str, Callable[[Any], object]]:
    """Items of FETCH."""
    wanted = frozenset(names)
    return {"Fetch": lambda command: not wanted.isdisjoint([item.name for item in command.items])}


def _returned(option: str) -> Callable[[Any], object]:
    return lambda command: command.returning is not None and option in command.returning.options


def _saved(command: Any) -> bool:
    return bool(command.numbers.saved)


def _sorted_for_display(command: Any) -> bool:
    return any(key.name.startswith("DISPLAY") for key in command.criteria)


def _in_context(command: Any) -> bool:
    return command.returning is not None and not command.returning.options.isdisjoint(("UPDATE", "CONTEXT"))


_saved_key = _in_keys(lambda key: type(key).__name__ == "SearchSet" and key.numbers.saved)
_save = _returned("SAVE")


def _fetches_binary(command: Any) -> bool:
    return any(item.name.startswith("BINARY") for item in command.items)


def _appends(name: str) -> dict[str, Callable[[Any], object]]:
    """What APPEND and REPLACE can do with it."""
    return dict.fromkeys(("Append", "Replace"), lambda command: name in command.uses)


# What IMAP4rev2 is made of (RFC 9051, E 2 and 3).
_FOLDED_IN = (
    *("ENABLE", "IDLE", "NAMESPACE", "UNSELECT", "UIDPLUS", "MOVE", "SASL-IR", "LITERAL+", "CHILDREN"),
    *(
        "ESEARCH",
        "SEARCHRES",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "STATUS=SIZE",
        "QUOTA",
        "SPECIAL-USE",
        "BINARY",
    ),
)

ROWS: tuple[Row, ...] = (
    Row("IMAP4rev1", fixed=True),
    Row("IMAP4rev2", needs=_FOLDED_IN),
    Row("SASL-IR", options={"Authenticate": lambda command: command.initial is not None}),
    Row("LITERAL+"),  # the engine's matter
    Row("ID", ("Id",)),
    Row("IDLE", ("Idle",)),
    Row("NAMESPACE", ("Namespace",)),
    Row("CHILDREN"),
    Row("UIDPLUS", options={"Expunge": lambda command: command.uids is not None}),
    Row("UNSELECT", ("Unselect",)),
    Row("MOVE", ("Move",)),
    Row(
        "SPECIAL-USE",
        options={"ListExtended": lambda command: "SPECIAL-USE" in command.selection | command.returned},
    ),
    Row("CREATE-SPECIAL-USE", options={"Create": lambda command: command.uses}, needs=("SPECIAL-USE",)),
    Row("ENABLE", ("Enable",)),
    Row("LIST-EXTENDED", ("ListExtended",)),
    Row("LIST-STATUS", options={"ListExtended": lambda command: command.status}, needs=("LIST-EXTENDED",)),
    Row("STATUS=SIZE", options=_items("SIZE")),
    Row("ESEARCH", options={"Search": lambda command: command.returning is not None}),
    Row(
        "SEARCHRES",
        options={
            **_searching(lambda command: _save(command) or _saved_key(command)),
            "Expunge": lambda command: command.uids is not None and command.uids.saved,
            **dict.fromkeys(("Fetch", "Store", "Copy", "Move"), _saved),
        },
        needs=("ESEARCH",),
    ),
    Row(
        "OBJECTID",
        options=_items("MAILBOXID") | _fetched("EMAILID", "THREADID") | _key("SearchObject"),
    ),
    Row("PREVIEW", options=_fetched("PREVIEW")),
    Row("SAVEDATE", options=_fetched("SAVEDATE") | _key("SearchSaved")),
    Row("WITHIN", options=_key("SearchWithin")),
    Row(
        "PARTIAL",
        options={**_searching(_returned("PARTIAL")), "Fetch": lambda command: command.partial is not None},
        needs=("ESEARCH",),
    ),
    Row(
        "CONDSTORE",
        options={
            **dict.fromkeys(("Select", "Examine"), lambda command: command.condstore),
            **_items("HIGHESTMODSEQ"),
            **_key("SearchModseq"),
            "Fetch": lambda command: any(item.name == "MODSEQ" for item in command.items),
            "Store": lambda command: command.unchanged_since is not None,
        },
    ),
    Row(
        "QRESYNC",
        options={
            **dict.fromkeys(("Select", "Examine"), lambda command: command.qresync is not None),
            "Fetch": lambda command: command.vanished,
        },
        needs=("CONDSTORE", "ENABLE"),
    ),
    Row("INPROGRESS"),
    Row("UIDONLY", needs=("ENABLE",)),
    Row("MULTIAPPEND", options=_appends("MULTIAPPEND")),
    Row("CATENATE", options=_appends("CATENATE")),
    Row("REPLACE", ("Replace",)),
    Row("BINARY", options={"Fetch": _fetches_binary, **_appends("BINARY")}),
    Row("NOTIFY", ("Notify",)),
    Row("METADATA", ("GetMetadata", "SetMetadata")),
    Row(
        "LIST-METADATA",
        options={"ListExtended": lambda command: command.metadata},
        needs=("METADATA", "LIST-EXTENDED"),
    ),
    Row("SORT", ("Sort",)),
    Row("SORT=DISPLAY", options={"Sort": _sorted_for_display}, needs=("SORT",)),
    Row("ESORT", options={"Sort": lambda command: command.returning is not None}, needs=("SORT", "ESEARCH")),
    Row("THREAD=ORDEREDSUBJECT", options={"Thread": lambda command: command.algorithm == "ORDEREDSUBJECT"}),
    Row("THREAD=REFERENCES", options={"Thread": lambda command: command.algorithm == "REFERENCES"}),
    Row("MULTISEARCH", ("Esearch",), needs=("ESEARCH",)),
    Row(
        "CONTEXT=SEARCH",
        ("CancelUpdate",),
        dict.fromkeys(("Search", "Esearch"), _in_context),
        needs=("ESEARCH",),
    ),
    Row("CONTEXT=SORT", options={"Sort": _in_context}, needs=("CONTEXT=SEARCH", "ESORT")),
    Row("I18NLEVEL=1", fixed=True),  # how texts are compared
    Row("ACL", ("SetAcl", "DeleteAcl", "GetAcl", "ListRights", "MyRights")),
    Row("RIGHTS=texk", needs=("ACL",), fixed=True),
    Row(
        "LIST-MYRIGHTS",
        options={"ListExtended": lambda command: "MYRIGHTS" in command.returned},
        needs=("ACL", "LIST-EXTENDED"),
    ),
    Row("APPENDLIMIT", options=_items("APPENDLIMIT")),
    Row("MESSAGELIMIT", options=_key("SearchEdge"), announced=False),
    Row("SAVELIMIT", announced=False),
    Row("QUOTA", ("GetQuota", "GetQuotaRoot"), _items("DELETED")),
    Row("QUOTA=RES-STORAGE", options=_items("DELETED-STORAGE"), needs=("QUOTA",)),
    Row("QUOTA=RES-MESSAGE", needs=("QUOTA",)),
    Row("QUOTASET", ("SetQuota",), needs=("QUOTA",), announced=False),
    Row("UTF8=ACCEPT", options=_appends("UTF8=ACCEPT"), needs=("ENABLE",)),
    Row("UNAUTHENTICATE", ("Unauthenticate",), announced=False),
    Row("COMPRESS=DEFLATE", ("Compress",), announced=False),
    Row("STARTTLS", ("StartTls",), announced=False),
    Row("LOGINDISABLED", announced=False, fixed=True),
    *(Row(f"AUTH={mechanism}", announced=False) for mechanism in MECHANISMS),
)
BY_NAME = {row.name: row for row in ROWS}


def without(names: Iterable[str]) -> frozenset[str]:
    """These capabilities, and all that are built on them."""
    off = frozenset(names)
    more = off
    while more:
        more = frozenset(row.name for row in ROWS if not more.isdisjoint(row.needs)) - off
        off |= more
    return off


def refusal(command: object, off: Iterable[str]) -> str:
    """What to answer a command that uses a capability that is off; "" where it uses none."""
    kind = type(command).__name__
    for name in off:
        row = BY_NAME[name]
        if kind in row.commands:
            return "Unknown command"
        uses = row.options.get(kind)
        if uses is not None and uses(command):
            return "Unknown argument"
    return ""
