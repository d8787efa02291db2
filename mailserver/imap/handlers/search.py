"""SEARCH and UID SEARCH (RFC 3501, 6.4.4) with return options (RFC 4731), SAVE (RFC 5182), PARTIAL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mailserver.errors import MailError
from mailserver.imap import results
from mailserver.imap.commands import Command, Search
from mailserver.imap.handlers.fetch import OUTPUT
from mailserver.imap.handlers.source import MailboxSource
from mailserver.imap.search import search
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.imap.values import Returning, SearchModseq, search_leaves
from mailserver.message import charsets

ALL = Returning(frozenset(("ALL",)))


class BadCharset(MailError):
    """A charset that is not known here (RFC 3501, 6.4.4)."""

    imap = "BADCHARSET (US-ASCII UTF-8)"
    text = "Unknown charset"


async def search_messages(session: Session, command: Search) -> None:
    """A search that fails with SAVE leaves nothing saved (RFC 5182, 2.1)."""
    view, returning = session.mailbox, command.returning
    if returning is None and session.rev2:  # RFC 9051, 6.4.4: always ESEARCH
        returning = ALL
    by_modseq = any(isinstance(leaf, SearchModseq) for leaf in search_leaves(command.key))
    if by_modseq and not session.takes_modseq(command):
        return
    try:
        check_charset(command.charset)
        source = MailboxSource(session, view)
        rows = await search(command.key, source.rows, source)
    except MailError:
        if returning is not None and "SAVE" in returning.options:
            view.saved = []
        raise
    found = [source.uids[row] for row in rows] if command.uid else [row + 1 for row in rows]
    modseq = highest_modseq(source.modseqs, rows, returning) if by_modseq else 0
    if returning is None:
        await send_pieces(session, _plain(b"* SEARCH", found, modseq))
    else:
        await tell(session, command, found, returning, modseq)
        if "SAVE" in returning.options:
            save(view, [source.uids[row] for row in rows], returning)
    session.ok(command)


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
        yield b"".join([b" %d" % number for number in numbers[start : start + results.PIECE]])
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


TABLE: dict[type[Command], Handler] = {Search: search_messages}
