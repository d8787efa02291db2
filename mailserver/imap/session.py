"""What a handler knows of the connection that its command came on, and how it answers.

A handler is `async def name(session, command) -> None`: it sends untagged responses with `send` and ends with
exactly one of `ok`, `no`, `bad`, or raises a `MailError`, which becomes `NO` with its response code. What
others did to the mailbox is told just before the tagged reply (RFC 3501, 5.2, 7). Commands of a connection
run one after another, so a handler has the session for itself until it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred

from mailserver.errors import MailError, NotPermitted
from mailserver.events import AccountEvent
from mailserver.imap import replies
from mailserver.imap.commands import Command, Expunge, Move, Replace
from mailserver.imap.metadata import MetadataWatch
from mailserver.imap.notify import Notifier
from mailserver.imap.progress import Progress
from mailserver.imap.selected import Selected
from mailserver.imap.switches import Switches
from mailserver.imap.transitions import State
from mailserver.imap.wire import Wire
from mailserver.interfaces import IAccount, IExchange, IMessageFile

T = TypeVar("T")

Handler = Callable[["Session", Any], Coroutine[Any, Any, None]]


class Session(Switches):
    """State of one connection.

    selected: the mailbox, None in the authenticated state
    failures: failed log-ins so far
    idle:     True while IDLE waits: changes are told as they come
    exchange: the SASL exchange in progress
    login:    the check of a LOGIN in progress
    answered: the command being executed has its tagged reply
    running:  the command being executed
    notifier: what the client wants to be told (NOTIFY), None where it never said
    metadata: what was changed of annotations, where METADATA is enabled
    """

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.selected: Selected | None = None
        self.failures = 0
        self.idle = False
        self.exchange: IExchange | None = None
        self.login: Deferred[Any] | None = None
        self.answered = False
        self.running: Command | None = None
        self.notifier: Notifier | None = None
        self.metadata: MetadataWatch | None = None
        self.logged_out = False
        self.send: Callable[[bytes], None] = wire.send

    # --- where it stands --------------------------------------------------------------------------

    @property
    def state(self) -> State:
        if self.logged_out:
            return State.LOGOUT
        if self.account is None:
            return State.NOT_AUTHENTICATED
        return State.AUTHENTICATED if self.selected is None else State.SELECTED

    @property
    def mailbox(self) -> Selected:
        """The selected mailbox, for handlers that the engine only calls where there is one."""
        if self.selected is None:
            raise NotPermitted("No mailbox is selected")
        return self.selected

    @property
    def owner(self) -> IAccount:
        """The account, for handlers that the engine only calls after log-in."""
        if self.account is None:
            raise NotPermitted("Not logged in")
        return self.account

    @property
    def administers(self) -> bool:
        """May this user look at and set everybody's quota?"""
        return self.user in self.settings.now.imap.administrators

    def forget_user(self) -> None:
        """Back to the state before log-in, with nothing left of it (RFC 8437, 3)."""
        self.unselect()
        self.leave_account()
        self.enabled.clear()
        self.belongs_to(None, "")

    # --- output -----------------------------------------------------------------------------------

    @property
    def output_full(self) -> bool:
        """True while the client does not read: `await drained()` before producing more."""
        return self.wire.output_full

    async def drained(self) -> None:
        """Wait until output may be produced; at once, mostly. Fails with ConnectionLost."""
        if self.wire.output_full:
            await self.wire.drained()

    async def breathe(self) -> None:
        """Let the reactor have a turn (between slices of long work), then wait for room in the output."""
        await self.wire.breathe()
        await self.drained()

    def progress(self) -> Progress:
        """Around work of the command being executed that may take long (RFC 9585)."""
        tag = self.running.tag if self.running is not None else b""
        told = self._tell_progress if self.has("INPROGRESS") else None
        return Progress(tag, told, self.wire.call_later)

    async def patiently(self, awaited: Deferred[T]) -> T:
        """What comes of it, with `progress` where it is not there already."""
        if awaited.called:
            return await awaited
        with self.progress():
            return await awaited

    def _tell_progress(self, response: bytes) -> None:
        if not self.wire.output_full:
            self.send(response)

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Long work on bytes, which would hold the reactor; `function` touches nothing of the session."""
        return cast("T", await self.wire.in_thread(function))

    async def send_file(self, file: IMessageFile, offset: int, length: int) -> None:
        """Send octets of a message as the client reads them; the caller closes `file`."""
        await self.wire.send_file(file, offset, length)

    # --- tagged replies (RFC 3501, 7.1) -----------------------------------------------------------

    def ok(self, command: Command, text: str = "", code: str = "") -> None:
        """`code` without brackets. The text is "NAME completed" where none is given."""
        self._finish(command, b"OK", text or f"{command.NAME} completed", code)

    def no(self, command: Command, text: str, code: str = "") -> None:
        self._finish(command, b"NO", text, code)

    def bad(self, command: Command, text: str, code: str = "") -> None:
        self._finish(command, b"BAD", text, code)

    def refuse(self, command: Command, error: MailError) -> None:
        """`NO` with what the error tells a client."""
        self._finish(command, b"NO", error.text, error.imap or "")

    def _finish(self, command: Command, condition: bytes, text: str, code: str) -> None:
        if self.notifier is not None and isinstance(command, Expunge | Move | Replace):
            self.tell_everything()  # what the command did is no event (RFC 5465, 3.1)
        else:
            self.tell_changes(command.allow_expunge, with_uid=bool(getattr(command, "uid", False)))
        modseq = self.selected.take_modseq() if self.selected is not None else 0
        if modseq and condition == b"OK" and not code:
            code = f"HIGHESTMODSEQ {modseq}"
        elif modseq:
            self._send_modseq(modseq)
        self.answered = True
        prefix = f"[{code}] " if code else ""
        self.send(b"%b %b %b\r\n" % (command.tag, condition, (prefix + text).encode("ascii", "replace")))

    def _send_modseq(self, modseq: int) -> None:
        self.send(b"* OK [HIGHESTMODSEQ %d] Highest mod-sequence\r\n" % modseq)

    def tell_unasked(self, allow_expunge: bool) -> None:
        """`tell_changes` where no reply follows."""
        self.tell_changes(allow_expunge)
        modseq = self.selected.take_modseq() if self.selected is not None else 0
        if modseq:
            self._send_modseq(modseq)

    def tell_changes(self, allow_expunge: bool, with_uid: bool = False) -> None:
        """Untagged responses for what others did to the selected mailbox, as far as NOTIFY asked for it
        (RFC 5465, 3.1: all of it until then; 5.1: FETCH with UID)."""
        notifier = self.notifier
        if notifier is not None:
            if not notifier.tells_messages:
                return
            self._sync(allow_expunge, True, notifier.tells_flags)
        else:
            self._sync(allow_expunge, with_uid)
            self._tell_metadata()

    def tell_everything(self) -> None:
        """The same whatever NOTIFY asked for."""
        self._sync(True)

    def _sync(self, allow_expunge: bool, with_uid: bool = False, flags: bool = True) -> None:
        if self.selected is not None:
            told = self.selected.sync(allow_expunge, with_uid, flags)
            if told:
                self.send(told)

    # --- the selected mailbox ---------------------------------------------------------------------

    def select(self, selected: Selected) -> None:
        self.selected = selected
        if self.notifier is not None:
            self.notifier.selected(selected)

    def enable_condstore(self) -> None:
        """A CONDSTORE enabling command; the first one tells HIGHESTMODSEQ (RFC 7162, 3.1)."""
        if "CONDSTORE" not in self.enabled:
            self.enabled.add("CONDSTORE")
            if self.selected is not None and self.selected.keeps_modseqs:
                self.send(self.selected.modseq_response())

    def takes_modseq(self, command: Command) -> bool:
        """The command on the selected mailbox names mod-sequences: it enables CONDSTORE, and is answered BAD
        where the mailbox has none (RFC 7162, 3.1.2.2)."""
        if not self.mailbox.keeps_modseqs:
            self.bad(command, "This mailbox has no permanent mod-sequences")
            return False
        self.enable_condstore()
        return True

    def unselect(self) -> None:
        """Leave the selected mailbox without expunging (RFC 3691); harmless where there is none."""
        selected, self.selected = self.selected, None
        if selected is not None:
            selected.close()

    def wake(self) -> None:
        """Something has changed: an IDLE client is told in this reactor turn (RFC 2177), or once it has read
        what it was told before; one that asked by NOTIFY between commands as well."""
        if self.notifier is not None:
            self.notifier.due = True
        between = self.running is None and (self.notifier is not None or self.contexts_due)
        if self.wire.output_full or not (self.idle or between):
            return
        if self.selected is not None and self.selected.gone:
            self.wire.end(b"* BYE The selected mailbox is gone\r\n")
        elif self.notifier is not None:
            self.wire.tell()
        else:
            if self.idle:
                self.tell_unasked(allow_expunge=True)
            if self.contexts_due:
                self.wire.tell()

    @property
    def contexts_due(self) -> bool:
        """Are there searches to be looked at again for the client (RFC 5267, 4.3)?"""
        return self.selected is not None and self.selected.contexts_due

    # --- METADATA (RFC 5464, 4.4) -----------------------------------------------------------------

    def watch_metadata(self) -> None:
        """The client wants to be told of annotations that others change; NOTIFY, once given, says which."""
        watch = self.metadata = MetadataWatch()

        def hear(event: AccountEvent) -> None:
            if watch.hear(event, self.running) and self.idle:
                self.wake()

        watch.end = self.owner.watch(hear)

    def _tell_metadata(self) -> None:
        if self.metadata is not None:
            for name, entries in self.metadata.take().items():
                self.send(replies.metadata_changed(name, entries, self.utf8))

    def leave_account(self) -> None:
        """Nothing of the account is watched any more."""
        self.set_notifier(None)
        if self.metadata is not None:
            self.metadata.end()
            self.metadata = None

    # --- NOTIFY (RFC 5465) ------------------------------------------------------------------------

    def set_notifier(self, notifier: Notifier | None) -> None:
        """From now on the client is told what this one says."""
        before, self.notifier = self.notifier, notifier
        if before is not None:
            before.stop()
        if notifier is not None and self.selected is not None:
            notifier.selected(self.selected)

    def hear(self, event: AccountEvent, notifier: Notifier) -> None:
        """Something happened in an account that the notifier watches."""
        notifier.push(event, self.selected_name, self.running)
        if notifier.due and self.notifier is notifier:
            self.wake()

    @property
    def selected_name(self) -> str | None:
        return None if self.selected is None else self.selected.mailbox.name

    def put(self, name: str, uids: Sequence[int]) -> None:
        """This client itself put these messages into a mailbox: it is not notified of them."""
        if self.notifier is not None:
            self.notifier.own(name, uids, self.selected_name)
