"""UPDATE: clients are kept informed of the results of a search (RFC 5267, 4.3), and CANCELUPDATE.

`update` runs while no command is executed, as `handlers.notify.tell` does: a search may have to wait for the
disk. What a message is told for stands behind its EXISTS or FETCH.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from mailserver.errors import MailError
from mailserver.imap.commands import CancelUpdate, Command, Search, Sort
from mailserver.imap.handlers.source import MailboxSource
from mailserver.imap.search.contexts import Context, pinned
from mailserver.imap.search.tree import search
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.imap.values import SearchSet, SequenceSet


class Updating:
    """Around a search that may have the UPDATE option. Where there are too many contexts already the search
    is done all the same (RFC 5267, 4.3.1)."""

    def __init__(self, session: Session, command: Search, correlators: bytes = b"") -> None:
        returning = command.returning
        self._session = session
        self._command = command
        self._correlators = correlators
        self._contexts = session.mailbox.contexts
        self._wanted = returning is not None and "UPDATE" in returning.options
        self._refused = self._contexts.full
        self._context: Context | None = None

    async def __aenter__(self) -> Updating:
        if self._wanted:
            self._contexts.starting()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._wanted:
            self._contexts.started(self._context)
            if self._refused and error is None:
                session, tag = self._session, self._command.tag
                session.send(b'* NO [NOUPDATE "%b"] This search is not updated\r\n' % tag)

    def found(self, source: MailboxSource, rows: Sequence[int]) -> None:
        """The results, in the order of the command."""
        command = self._command
        self._refused = self._refused or bool(source.limited)  # of what was not looked at nothing is known
        if self._wanted and not self._refused:
            self._context = Context(
                command.tag,
                command.uid,
                pinned(command.key, lambda key: _as_uids(source, key)),
                command.criteria if isinstance(command, Sort) else None,
                {source.uids[row] for row in rows},
                [source.uids[row] for row in rows] if isinstance(command, Sort) else [],
                source.uids[source.told - 1] if source.told else 0,
                self._correlators,
            )


def reuses_tag(session: Session, command: Search) -> bool:
    """RFC 5267, 4.3: such a command is BAD and has no effect."""
    returning = command.returning
    updates = returning is not None and "UPDATE" in returning.options
    return updates and command.tag in session.mailbox.contexts


def _as_uids(source: MailboxSource, key: SearchSet) -> SequenceSet:
    uids = source.uids
    return SequenceSet(tuple([(uids[start], uids[stop - 1]) for start, stop in source.in_set(key)]))


async def cancel_update(session: Session, command: CancelUpdate) -> None:
    """RFC 5267, 4.3.5: all of them or none."""
    contexts = session.mailbox.contexts
    if not all(tag in contexts for tag in command.tags):
        session.bad(command, "There are no updates of that tag")
        return
    for tag in command.tags:
        contexts.cancel(tag)
    session.ok(command, "No further updates")


async def update(session: Session) -> None:
    """Look at what came and changed since, for every context, until nothing is due."""
    while (view := session.selected) is not None and not view.gone and view.contexts_due:
        for removed in view.contexts.take_removed(view.number_of):
            session.send(removed)
        source = MailboxSource(session, view)
        changed, view.contexts.changed = view.contexts.changed, set()
        for context in view.contexts:
            try:
                told = await _renewed(context, view, source, changed)
            except MailError:
                view.contexts.cancel(context.tag)
                session.send(b'* NO [NOUPDATE "%b"] The search failed, no further updates\r\n' % context.tag)
                continue
            if told and session.selected is view:
                session.send(told)
        await session.drained()


async def _renewed(context: Context, view: Selected, source: MailboxSource, changed: set[int]) -> bytes:
    """What to tell of one context. While this waits an IDLE client may be told of an EXPUNGE: what is known
    here is compared only when there is nothing more to wait for."""
    uids = source.uids
    rows = source.rows if context.moves else _looked_at(context, view, source, changed)
    looked_at = {uids[row] for row in rows}
    fits = {uids[row] for row in await search(context.key, rows, source)}
    context.last = uids[source.told - 1] if source.told else 0
    order: list[int] | None = None
    if context.criteria is not None and not fits <= context.results:
        results = (context.results - looked_at) | fits
        among = [row for row in source.rows if uids[row] in results]
        order = [uids[row] for row in await source.ordered(among, context.criteria)]
    if view.uids is not uids:  # some may be gone
        fits = {uid for uid in fits if view.number_of(uid)}
        order = None if order is None else [uid for uid in order if view.number_of(uid)]
    going = (context.results & looked_at) - fits
    if order is not None:  # without what is gone and not told yet
        going |= context.results.difference(order)
        fits.intersection_update(order)
    return context.change(going, fits - context.results, view.number_of, order)


def _looked_at(context: Context, view: Selected, source: MailboxSource, changed: set[int]) -> list[int]:
    """Messages that changed, and those that the context does not know yet."""
    uids, told = source.uids, source.told
    places = [(bisect_left(uids, uid, 0, told), uid) for uid in changed]
    rows = {row for row, uid in places if row < told and uids[row] == uid}
    rows.update(range(bisect_right(uids, context.last, 0, told), told))
    return sorted(row for row in rows if not view.is_removed(uids[row]))


TABLE: dict[type[Command], Handler] = {CancelUpdate: cancel_update}
