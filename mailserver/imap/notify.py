"""What a session asked to be told of by NOTIFY, and what waits to be told (RFC 5465).

A `Notifier` stands for one NOTIFY command, NONE included. `push` takes the events of the account: those that
nobody asked for, and those that this client caused itself (RFC 5465, 5), end there. What waits is one entry
for each mailbox with messages that came or went, and a bounded list of names; so a client that does not read
costs no more than its account has mailboxes. Nothing is sent from here: `handlers.notify` does that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence

from attrs import define, field, frozen

from mailserver.events import AccountEvent, EventsLost, MessagesChanged, MetadataChanged, NameChanged, Naming
from mailserver.imap import commands as c
from mailserver.imap.fetch import Plan, compile_plan
from mailserver.imap.selected import Selected
from mailserver.imap.values import EventGroup
from mailserver.interfaces import MailboxStatus
from mailserver.rights import OTHERS

MAX_NAMES = 1000  # names that wait; beyond it the client is told of an overflow (RFC 5465, 5.8)
NEW, FLAGS = "MESSAGENEW", "FLAGCHANGE"
_SELECTED = ("SELECTED", "SELECTED-DELAYED")
_SUBSCRIPTION = (Naming.SUBSCRIBED, Naming.UNSUBSCRIBED)


@define
class Waiting:
    """A mailbox whose STATUS is to be told. `added`: UIDs that this client did not put there itself."""

    status: MailboxStatus
    added: set[int] = field(factory=set)
    removed: bool = False
    flags: bool = False

    def values(self, modseq: bool) -> list[tuple[str, int]]:
        """RFC 5465, 5.1 to 5.3; empty where there is nothing to tell. UIDVALIDITY is always told: so is a
        change of it. modseq: CONDSTORE is enabled."""
        status, items = self.status, list[tuple[str, int]]()
        if self.added or self.removed:
            items += [("MESSAGES", status.messages), ("UIDNEXT", status.uidnext)]
        if self.flags:
            items.append(("UNSEEN", status.unseen))
        if not items:
            return []
        if modseq:
            items.append(("HIGHESTMODSEQ", status.highestmodseq))
        return [*items, ("UIDVALIDITY", status.uidvalidity)]


@frozen
class NameTold:
    """A name whose LIST response is to be told. `subscription`: because of a subscription."""

    name: str
    old: str = ""
    subscription: bool = False


def _nothing() -> None:
    """Nobody watches."""


class Notifier:
    """One NOTIFY command that is in force.

    subscribed: names subscribed to; kept up to date for the groups that mean them
    end:        stops watching the account
    due:        something came that `handlers.notify.tell` has not looked at
    """

    def __init__(self, groups: Sequence[EventGroup]) -> None:
        self._groups = [group for group in groups if group.which not in _SELECTED]
        self._names = [frozenset(group.names) for group in self._groups]
        selected = next((group for group in groups if group.which in _SELECTED), EventGroup("SELECTED"))
        self.tells_messages = NEW in selected.events
        self.tells_flags = FLAGS in selected.events
        self.delays_expunge = selected.which == "SELECTED-DELAYED"
        self.plan: Plan | None = compile_plan(selected.items, False) if selected.items else None
        self.subscribed: set[str] = set()
        self.end: Callable[[], None] = _nothing
        self.due = False
        self.overflown = False
        self._mailboxes: dict[str, Waiting] = {}
        self._listed: list[NameTold] = []
        self._metadata: dict[str, dict[str, None]] = {}
        self._next_uid = 1
        self._own: set[int] = set()

    # --- what is asked for ------------------------------------------------------------------------

    @property
    def watches(self) -> bool:
        """Are there events of the account that the client wants to know of?"""
        return any(group.events for group in self._groups)

    @property
    def needs_subscriptions(self) -> bool:
        return any(group.which == "SUBSCRIBED" for group in self._groups)

    def wanted(self, name: str) -> Collection[str]:
        """Events that are wanted of a mailbox: of all groups that hold it, and none where one of these says
        NONE (RFC 5465, 5, 6)."""
        found: set[str] = set()
        for group, names in zip(self._groups, self._names, strict=True):
            if self._holds(group.which, names, name):
                if not group.events:
                    return ()
                found |= group.events
        return found

    def _holds(self, which: str, names: frozenset[str], name: str) -> bool:
        """INBOXES are the same as PERSONAL: mail may be delivered to any of them (RFC 5465, 6.3)."""
        if which == "MAILBOXES":
            return name in names
        if which == "SUBTREE":
            return any(one in names for one in _with_superiors(name))
        if which == "SUBSCRIBED":
            return name in self.subscribed
        return not name.startswith(OTHERS)

    # --- events -----------------------------------------------------------------------------------

    def push(self, event: AccountEvent, selected: str | None, command: c.Command | None) -> None:
        """`selected`: the name of the selected mailbox; `command`: what is being executed."""
        match event:
            case MessagesChanged():
                if event.name != selected:
                    self._push_messages(event)
            case NameChanged():
                self._push_name(event, command)
            case MetadataChanged():
                self._push_metadata(event)
            case EventsLost():
                self.overflow()
        if len(self._listed) > MAX_NAMES or len(self._metadata) > MAX_NAMES:
            self.overflow()

    def _push_messages(self, event: MessagesChanged) -> None:
        wanted = self.wanted(event.name)
        if NEW not in wanted:
            return
        flags = event.flags and FLAGS in wanted
        if not (event.added or event.removed or flags):
            return
        waiting = self._mailboxes.setdefault(event.name, Waiting(event.status))
        waiting.status = event.status
        waiting.added.update(event.added)
        waiting.removed |= event.removed
        waiting.flags |= flags
        self.due = True

    def _push_name(self, event: NameChanged, command: c.Command | None) -> None:
        if event.what is Naming.SUBSCRIBED:
            self.subscribed.add(event.name)
        kind = "SUBSCRIPTIONCHANGE" if event.what in _SUBSCRIPTION else "MAILBOXNAME"
        if not is_own(command, event):
            for told in _affected(event):
                if any(kind in self.wanted(name) for name in (told.name, told.old) if name):
                    self._listed.append(told)
                    self.due = True
        if event.what is Naming.UNSUBSCRIBED:
            self.subscribed.discard(event.name)

    def _push_metadata(self, event: MetadataChanged) -> None:
        if event.name:
            wanted = "MAILBOXMETADATACHANGE" in self.wanted(event.name)
        else:
            wanted = any("SERVERMETADATACHANGE" in group.events for group in self._groups)
        if wanted:
            self._metadata.setdefault(event.name, {}).update(dict.fromkeys(event.entries))
            self.due = True

    def own(self, name: str, uids: Sequence[int], selected: str | None) -> None:
        """This client put these messages there by APPEND, COPY or MOVE."""
        if name == selected:
            self._own.update(uids)
        elif name in self._mailboxes:
            self._mailboxes[name].added.difference_update(uids)

    def overflow(self) -> None:
        """More than can be told: from now on nothing is, as after NOTIFY NONE (RFC 5465, 5.8)."""
        self.stop()
        self._groups, self._names = [], []
        self.tells_messages = self.tells_flags = False
        self.plan = None
        self.overflown = self.due = True

    def stop(self) -> None:
        """Watch the account no more, and forget what waits."""
        self.end()
        self.end = _nothing
        self._mailboxes.clear()
        self._listed.clear()
        self._metadata.clear()

    # --- the selected mailbox ---------------------------------------------------------------------

    def selected(self, view: Selected) -> None:
        """FETCH responses are told for messages that come from now on."""
        self._own.clear()
        self._next_uid = view.uids[view.told - 1] + 1 if view.told else 1

    def take_new(self, view: Selected) -> list[tuple[int, int]]:
        """Index ranges of messages that the client knows of now and has no FETCH response for yet; those of
        its own are left out (RFC 5465, 5.2)."""
        start = bisect_left(view.uids, self._next_uid, 0, view.told)
        if start == view.told:
            return []
        self._next_uid = view.uids[view.told - 1] + 1
        if not self._own:
            return [(start, view.told)]
        ranges = [(n, n + 1) for n in range(start, view.told) if view.uids[n] not in self._own]
        self._own.clear()
        return ranges

    # --- what is to be told -----------------------------------------------------------------------

    def take_mailboxes(self, selected: str | None) -> dict[str, Waiting]:
        """A mailbox that was selected meanwhile is told of otherwise."""
        mailboxes, self._mailboxes = self._mailboxes, {}
        if selected is not None:
            mailboxes.pop(selected, None)
        return mailboxes

    def take_names(self) -> list[NameTold]:
        """In order, each once."""
        listed, self._listed = self._listed, []
        return list(dict.fromkeys(listed))

    def take_metadata(self) -> dict[str, tuple[str, ...]]:
        metadata, self._metadata = self._metadata, {}
        return {name: tuple(entries) for name, entries in metadata.items()}


def _with_superiors(name: str) -> Iterator[str]:
    yield name
    end = name.rfind("/")
    while end > 0:
        yield name[:end]
        end = name.rfind("/", 0, end)


def _affected(event: NameChanged) -> list[NameTold]:
    """A mailbox that is created or deleted affects its direct parent as well, which may have been without
    children (RFC 5465, 5.4)."""
    if event.what in _SUBSCRIPTION:
        return [NameTold(event.name, subscription=True)]
    parent = event.name.rpartition("/")[0]
    if event.what is Naming.RENAMED or not parent:
        return [NameTold(event.name, event.old)]
    return [NameTold(event.name), NameTold(parent)]


def is_own(command: c.Command | None, event: NameChanged) -> bool:
    """Is this what the command does that is being executed? A second session cannot do the same at the same
    time: there is one mailbox of a name. Superiors may be made on the way."""
    match command:
        case c.Create():
            return event.what is Naming.CREATED and f"{command.mailbox}/".startswith(f"{event.name}/")
        case c.Delete():
            return event.what is Naming.DELETED and event.name == command.mailbox
        case c.Rename():
            renamed = event.what is Naming.RENAMED and event.old == command.mailbox
            return renamed or (event.what is Naming.CREATED and command.new.startswith(f"{event.name}/"))
        case c.Subscribe() | c.Unsubscribe():
            return event.what in _SUBSCRIPTION and event.name == command.mailbox
    return False
