"""SEARCH (RFC 3501, 6.4.4), SORT and THREAD (RFC 5256), by sequence number and UID, with return options
(RFC 4731), SAVE (RFC 5182) and PARTIAL (RFC 9394)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve

from mailserver.errors import MailError
from mailserver.imap.commands import Command, Search, Sort, Thread
from mailserver.imap.handlers.contexts import Updating, reuses_tag
from mailserver.imap.handlers.limits import TooMany, code_of, ok
from mailserver.imap.handlers.rows import OUTPUT
from mailserver.imap.handlers.source import MailboxSource
from mailserver.imap.progress import Progress
from mailserver.imap.search import results, thread
from mailserver.imap.search.tree import Rows, search
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.imap.values import Returning, SearchAnd, SearchEdge, SearchModseq, SearchSet, search_leaves
from mailserver.message import charsets

ALL = Returning(frozenset(("ALL",)))


class BadCharset(MailError):
    """A charset that is not known here (RFC 3501, 6.4.4)."""

    imap = "BADCHARSET (US-ASCII UTF-8)"
    text = "Unknown charset"


async def search_messages(session: Session, command: Search) -> None:
    """RFC 3501, 6.4.4."""
    if refused(session, command):
        return
    if command.returning is None and session.rev2:  # RFC 9051, 6.4.4: always ESEARCH
        command = evolve(command, returning=ALL)
    async with Updating(session, command) as updating:
        with session.progress() as progress:
            source, rows = await find(session, command, progress)
        updating.found(source, rows)
        await answer(session, command, source, rows)
    ok(session, command, source.limited)


async def sort_messages(session: Session, command: Sort) -> None:
    """RFC 5256, 3."""
    if refused(session, command):
        return
    async with Updating(session, command) as updating:
        with session.progress() as progress:
            source, found = await find(session, command, progress)
            rows = await source.ordered(found, command.criteria)
        updating.found(source, rows)
        await answer(session, command, source, rows)
    session.ok(command)


async def thread_messages(session: Session, command: Thread) -> None:
    """RFC 5256, 3."""
    if refused(session, command):
        return
    with session.progress() as progress:
        source, rows = await find(session, command, progress)
        tree = await source.threads(rows, command.algorithm)
    await send_pieces(session, thread.rendered(tree, lambda: numbers(command, source, rows), command.uid))
    session.ok(command)


def by_modseq(command: Search) -> bool:
    """Is MODSEQ among the keys? Then the answer tells it too (RFC 7162, 3.1.5)."""
    return any(isinstance(leaf, SearchModseq) for leaf in search_leaves(command.key))


def refused(session: Session, command: Search) -> bool:
    """True where the command has its answer, BAD: MODSEQ in a mailbox without mod-sequences, or an UPDATE
    under a tag that is being updated."""
    if session.selected is not None and reuses_tag(session, command):
        session.bad(command, "Tag reuse")
        return True
    return by_modseq(command) and not session.takes_modseq(command)


def returning_of(command: Search) -> Returning:
    return command.returning or ALL


async def find(
    session: Session, command: Search, progress: Progress | None = None
) -> tuple[MailboxSource, list[int]]:
    """The messages that fit, in the order of the mailbox. A search that fails with SAVE leaves nothing saved
    (RFC 5182, 2.1)."""
    view, returning = session.mailbox, command.returning
    try:
        check_charset(command.charset)
        source = MailboxSource(session, view, progress)
        rows = await _searched(session, command, source)
        return source, await search(command.key, rows, source)
    except MailError:
        if returning is not None and "SAVE" in returning.options:
            view.saved = []
        raise


async def _searched(session: Session, command: Search, source: MailboxSource) -> Rows:
    """What is looked at: all, or with a limit the last of the messages that the command's sets name (RFC
    9738, 3.1). A thread is made of the whole mailbox (3.3); orders are kept, and may be."""
    limit, rows = session.message_limit, source.rows
    if not limit or isinstance(command, Sort):
        return rows
    if isinstance(command, Thread):
        if len(rows) > limit:
            raise TooMany(limit)
        return rows
    for key in command.key.keys if isinstance(command.key, SearchAnd) else (command.key,):
        if isinstance(key, SearchSet | SearchEdge):
            rows = await search(key, rows, source)
    if len(rows) > limit:
        rows = rows[-limit:]
        source.limited = code_of(limit, source.uids[rows[0]])
    return rows


async def answer(session: Session, command: Search, source: MailboxSource, rows: Sequence[int]) -> None:
    """Tell what was found, in this order; keep it where that is asked for."""
    returning = command.returning
    found = numbers(command, source, rows)
    modseq = highest_modseq(source.modseqs, rows, returning) if by_modseq(command) else 0
    if returning is None:
        name = f"* {command.NAME}".encode("ascii")
        await send_pieces(session, _plain(name, found, modseq))
    else:
        await tell(session, command, found, returning, modseq)
        if "SAVE" in returning.options:
            save(session.mailbox, [source.uids[row] for row in rows], returning)


def numbers(command: Search, source: MailboxSource, rows: Sequence[int]) -> list[int]:
    """What the client knows these messages by."""
    if command.uid:
        uids = source.uids
        return [uids[row] for row in rows]
    return [row + 1 for row in rows]


def check_charset(charset: str) -> None:
    """Raises BadCharset."""
    if charsets.codec(charset) is None:
        raise BadCharset


def highest_modseq(modseqs: Sequence[int], rows: Sequence[int], returning: Returning | None) -> int:
    """The greatest mod-sequence of what is returned, 0 for nothing (RFC 7162, 3.1.6; RFC 4731, 3.2)."""
    told = rows if returning is None else results.to_save(rows, returning)
    return max((modseqs[row] for row in told), default=0)


async def tell(
    session: Session, command: Search, found: Sequence[int], returning: Returning, modseq: int = 0
) -> None:
    """The ESEARCH response, unless nothing was to be told."""
    if results.is_told(returning):
        pieces = results.response(command.tag, command.uid, found, returning, modseq=modseq)
        await send_pieces(session, pieces)


def save(view: Selected, uids: Sequence[int], returning: Returning) -> None:
    """`uids`: what was found, in the command's order."""
    view.saved = sorted(results.to_save(uids, returning))


def _plain(name: bytes, numbers: Sequence[int], modseq: int = 0) -> Iterator[bytes]:
    """`* SEARCH 1 2 3 (MODSEQ 4)`"""
    yield name
    for start in range(0, len(numbers), results.PIECE):
        part = tuple(numbers[start : start + results.PIECE])
        yield (" %d" * len(part) % part).encode("ascii")  # one form for all: a third less time
    yield b" (MODSEQ %d)\r\n" % modseq if modseq else b"\r\n"


async def send_pieces(session: Session, pieces: Iterable[bytes]) -> None:
    """One response that may be long: it leaves in slices, and others have their turn between."""
    waiting: list[bytes] = []
    octets = 0
    for piece in pieces:
        waiting.append(piece)
        octets += len(piece)
        if octets >= OUTPUT:
            session.send(b"".join(waiting))
            waiting, octets = [], 0
            await session.breathe()
    session.send(b"".join(waiting))


TABLE: dict[type[Command], Handler] = {
    Search: search_messages,
    Sort: sort_messages,
    Thread: thread_messages,
}
