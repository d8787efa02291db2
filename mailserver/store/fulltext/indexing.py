"""The search indexes of all accounts: filled in the background, asked by sessions.

Filling is the least important work of the store. It begins some time after messages came, so that those that
come one after the other are entered together; goes on in slices of `SLICE` seconds, with pauses at least as
long as the slices; and waits while the threads have other things to do (but not for ever). What is not
entered yet is read by those who search, so nothing depends on it. After a start all accounts are looked at
once, one after the other. An account of few messages has no index: to read them is as quick.

Jobs of one account's index have a key of their own, so that no other job of the account waits for them; the
account is locked only while the names of the next messages are read from its index.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.errors import MailError
from mailserver.interfaces import TextFound
from mailserver.message.matching import Matcher
from mailserver.store import files
from mailserver.store.changes import Change, Posted
from mailserver.store.fulltext import filling, texts
from mailserver.store.fulltext.filling import Filling, State, names_now
from mailserver.store.fulltext.texts import Named
from mailserver.store.sqlite import IndexDamaged

if TYPE_CHECKING:
    from mailserver.store.account import Account
    from mailserver.store.store import MailStore

SLICE = 0.015  # seconds of work in a thread
AFTER = 15.0  # seconds from the first new message to the filling
_SOON = 1.0  # … after a search that may have read many
_AGAIN = 300.0  # after a failure
_LEAST = 0.02  # seconds between two slices
_BUSY = 0.05  # seconds until the threads are looked at again
_PATIENCE = 40  # times that a slice waits for other work
_TURN = 100  # slices of one account before another gets its turn
_OPEN = 32  # databases


@frozen
class _Slice:
    done: bool
    seconds: float


class Indexing:
    """In the reactor thread only, but for what says otherwise."""

    log = Logger()

    def __init__(self, store: MailStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._states: dict[str, State] = {}
        self._open: OrderedDict[str, State] = OrderedDict()
        self._queue: list[tuple[float, str]] = []
        self._queued: set[str] = set()
        self._timer: Any = None
        self._pause: Deferred[None] | None = None
        self._filling = False
        self._stopping = False
        self.fills = True  # of several processes one does
        store.changes.subscribe(self._changed)

    def start(self) -> None:
        self._timer = self._store.reactor.callLater(AFTER, self._look_at_all)

    def _look_at_all(self) -> None:
        for user in list(self._store.settings.users.users):
            self.touch(user, 0)
        self._wake()

    def stop(self) -> Deferred[None]:
        """Fires when all databases are closed."""
        self._stopping = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._pause is not None:
            self._pause.cancel()
        done = [self._run(state, state.close) for state in self._states.values()]
        return gatherResults(done, consumeErrors=True).addCallback(lambda _: None)

    # --- what is to do ---------------------------------------------------------------------------

    def wanted(self, user: str) -> bool:
        """Is there to be an index for this user?"""
        known = self._store.settings.users.users.get(user)
        if known is not None and known.search_index is not None:
            return bool(known.search_index)
        return bool(self._store.settings.now.search.index)

    def touch(self, user: str, after: float = AFTER) -> None:
        """There may be something to do for this account."""
        if self._stopping or not self.fills or user in self._queued:
            return
        self._queued.add(user)
        heappush(self._queue, (self._store.reactor.seconds() + after, user))
        if not self._filling and self._queue[0][1] == user:
            self._wake()

    def _changed(self, change: Posted) -> None:
        if not isinstance(change, Change):
            return
        state = self._states.get(change.user)
        if state is not None and change.gone:
            state.seen.clear()
            state.removed = filling.REMOVED
        self._moved(change.user, bool(change.added) or change.gone, len(change.removed))

    def changed_elsewhere(self, mail: Mapping[str, tuple[int, int]]) -> None:
        """So many messages of these accounts came, and went, in another process."""
        for user, (added, removed) in mail.items():
            self._moved(user, added > 0, removed)

    def _moved(self, user: str, worth: bool, removed: int) -> None:
        """So many messages went. worth: there is something to enter, or more than that to forget."""
        state = self._states.get(user)
        if state is not None:
            state.removed += removed
        if worth or (state is not None and state.removed >= filling.REMOVED):
            self.touch(user)

    def _wake(self) -> None:
        """Begin with what is due, or set the timer for it."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._filling or self._stopping or not self._queue:
            return
        wait = self._queue[0][0] - self._store.reactor.seconds()
        if wait > 0:
            self._timer = self._store.reactor.callLater(wait, self._wake)
            return
        self._filling = True
        Deferred.fromCoroutine(self._fill_due()).addBoth(self._filled)

    def _filled(self, result: Failure | None) -> None:
        self._filling = False
        if isinstance(result, Failure) and not self._stopping:
            self.log.failure("the search index cannot be filled", result)
        self._wake()

    async def _fill_due(self) -> None:
        while self._queue and self._queue[0][0] <= self._store.reactor.seconds():
            _, user = heappop(self._queue)
            self._queued.discard(user)
            try:
                await self._fill(user)
            except CancelledError:
                return
            except MailError as error:
                self.log.warn(
                    "{user}: search index: {error} {cause}", user=user, error=error, cause=error.cause
                )
                self.touch(user, _AGAIN)

    async def _fill(self, user: str) -> None:
        state = self._state(self._store.get(user))
        work = self._slice if self.wanted(user) else self._throw_away
        seconds = 0.0
        for _ in range(_TURN):
            await self._rest(max(seconds, _LEAST))
            self._store.used(state.account)
            made = await self._run(state, work, state)
            if made.done:
                return
            seconds = made.seconds
        self.touch(user, 0)

    async def _rest(self, seconds: float) -> None:
        for _ in range(_PATIENCE):
            self._pause = deferLater(self._store.reactor, seconds, lambda: None)
            await self._pause
            if not self._store.threads.busy:
                return
            seconds = _BUSY

    # --- filling ---------------------------------------------------------------------------------

    def _throw_away(self, state: State) -> _Slice:
        """[thread] The user wants no index any more."""
        state.discard()
        return _Slice(True, 0)

    def _slice(self, state: State) -> _Slice:
        """[thread]"""
        begun = self._clock()
        if not files.is_directory(state.account.ledger.path) or not state.worth():
            return _Slice(True, 0)
        try:
            done = Filling(state, state.open(), self._clock, begun + SLICE).run(self._limit())
        except IndexDamaged as error:
            self._damaged(state, error)
            done = False
        return _Slice(done, self._clock() - begun)

    def _limit(self) -> int:
        return int(self._store.settings.now.search.index_size)

    def _damaged(self, state: State, error: IndexDamaged) -> None:
        self.log.warn(
            "{user}: the search index is made anew: {error}", user=state.account.user, error=str(error)
        )
        state.discard()

    # --- searching -------------------------------------------------------------------------------

    def find(
        self, account: Account, uidvalidity: int, uids: Sequence[int], text: str, header: bool
    ) -> Deferred[TextFound]:
        """What the index knows of these messages (ascending); see IMailbox.indexed."""
        if not self.wanted(account.user) or self._stopping:
            return succeed(TextFound([], uids))
        state = self._state(account)
        if len(uids) >= filling.ROWS:  # where much of that proves to be missing, it is not for long
            self.touch(account.user, _SOON)

        def job() -> TextFound:
            if not state.exists():
                return TextFound([], uids)
            try:
                return state.open().find(uidvalidity, uids, text, header)
            except IndexDamaged as error:
                self._damaged(state, error)
            except MailError as error:  # another process has it locked: then it is read
                self.log.warn("{user}: search index: {cause}", user=account.user, cause=error.cause)
            return TextFound([], uids)

        return self._run(state, job)

    def containing(
        self,
        account: Account,
        directory: str,
        uidvalidity: int,
        messages: Sequence[Named],
        matcher: Matcher,
    ) -> Deferred[Sequence[int]]:
        """UIDs of those messages that fit; each is read."""
        ledger = account.ledger
        path = ledger.folder_path(directory)

        def again(uids: Sequence[int]) -> Sequence[Named]:
            return ledger.run(names_now, directory, uidvalidity, uids)

        return self._run(self._state(account), texts.containing, path, messages, again, matcher)

    # --- help ------------------------------------------------------------------------------------

    def _state(self, account: Account) -> State:
        """The account's; the database that rested longest is closed."""
        user = account.user
        state = self._states.get(user)
        if state is None:
            state = self._states[user] = State(account)
        self._open[user] = state
        self._open.move_to_end(user)
        if len(self._open) > _OPEN:
            _, oldest = self._open.popitem(last=False)
            self._run(oldest, oldest.close).addErrback(lambda _: None)
        return state

    def _run(self, state: State, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return self._store.threads.run(("search", state.account.user), function, *args)
