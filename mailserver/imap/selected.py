"""One session's view of its mailbox: which message has which sequence number, and what is not yet told.

The mailbox in memory is shared and always up to date; a client's numbers change only when it is told
(RFC 3501, 7.4.1). A view therefore keeps the array of UIDs that its numbers refer to (`uids`, an object
that the mailbox replaces rather than shrinks) and how many of them the client knows (`told`). Invariants:

- the message with sequence number n, 1 <= n <= told, is `uids[n - 1]`, until `sync` says otherwise
- `told` falls only by EXPUNGE responses, one each, and rises only by EXISTS (RFC 3501, 7.3.1)
- FETCH of a message is never sent before the EXISTS that makes it known
- while an EXPUNGE may not be told, no EXISTS is told either: new messages wait behind it (RFC 2180, 4)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence

from zope.interface import implementer

from mailserver.imap.fetch import Prefixes, heads, interleave, modseq_column, prefixes_of
from mailserver.imap.flags import names_of
from mailserver.imap.resync import runs, vanished_lines
from mailserver.imap.search.contexts import Contexts
from mailserver.imap.values import SequenceSet
from mailserver.interfaces import IMailbox, IMailboxListener
from mailserver.message.structure import Part

MANY = 1000  # lines from which on it pays to keep their beginnings


def _nothing() -> None:
    """A session that is not to be woken."""


@implementer(IMailboxListener)
class Selected:
    """The selected mailbox of a session. `attach` it once the mailbox is open.

    wake:    called whenever there is something new to tell (IDLE); `sync` tells it
    enabled: what the session has switched on (`Session.enabled`, which may grow): how it is told
    settled: the mailbox's MODSEQ when everything was told; what is untold has a greater one
    """

    mailbox: IMailbox

    def __init__(
        self,
        read_only: bool = False,
        wake: Callable[[], None] = _nothing,
        enabled: Collection[str] = frozenset(),
    ) -> None:
        self.read_only = self._examine = read_only
        self.wake = wake
        self.enabled = enabled
        self.settled = 0
        self.gone = False
        self.told = 0
        self.uids: Sequence[int] = ()
        self.recent: set[int] = set()
        self.saved: Sequence[int] = ()  # UIDs that `$` stands for (RFC 5182), ascending
        self.contexts = Contexts()  # searches that the client is kept informed of (RFC 5267)
        self.scanned: tuple[int, Part] | None = None  # the large message whose parts were asked for last
        self.prefixes: Prefixes | None = None  # line prefixes of FETCH
        self._removed: set[int] = set()
        self._changed: set[int] = set()
        self._keywords_told = 0
        self._vanished_told = False

    def attach(self, mailbox: IMailbox) -> None:
        """The client now learns of the mailbox (SELECT): everything in it counts as told."""
        self.mailbox = mailbox
        self.names = names_of(mailbox)
        self._fragments = self.names.fragments(b"")
        self._recent_fragments = self.names.fragments(b"", recent=True)
        self.read_only = self._examine or mailbox.read_only
        self.uids = mailbox.uids
        self.told = len(mailbox.uids)
        self.settled = mailbox.highestmodseq
        self.recent = set() if self.rev2 else set(mailbox.take_recent(self, self.read_only))
        self.saved = ()
        self._removed.clear()
        self._changed.clear()
        self._keywords_told = len(mailbox.keywords)

    def close(self) -> None:
        """Leave the mailbox; nothing is told any more."""
        self.wake = _nothing
        self.mailbox.close(self)

    # --- told by the mailbox ----------------------------------------------------------------------

    def messages_added(self, count: int) -> None:
        self.wake()

    def flags_changed(self, uids: Sequence[int], by: IMailboxListener | None) -> None:
        self.contexts.flags_changed(uids)
        if by is not self:
            self._changed.update(uids)
            self.wake()

    def messages_removed(self, uids: Sequence[int], by: IMailboxListener | None) -> None:
        view = self.uids
        self._removed.update([view[index] for index in self.indices_of(sorted(uids))])
        self._changed.difference_update(uids)
        self.contexts.messages_removed(uids)
        self.recent.difference_update(uids)
        self.wake()

    def mailbox_gone(self) -> None:
        self.gone = True
        self.wake()

    def rights_changed(self) -> None:
        """FLAGS and PERMANENTFLAGS are told anew (RFC 4314, 5.1.1)."""
        self.read_only = self._examine or self.mailbox.read_only
        self._keywords_told = -1
        self.wake()

    # --- numbers ----------------------------------------------------------------------------------

    @property
    def keeps_modseqs(self) -> bool:
        """False where the mailbox has no mod-sequences that last (RFC 7162, 3.1.2.2: NOMODSEQ)."""
        return bool(self.mailbox.highestmodseq)

    @property
    def rev2(self) -> bool:
        """Has the client enabled IMAP4rev2, which knows no \\Recent?"""
        return "IMAP4rev2" in self.enabled

    def forget_recent(self) -> None:
        """The client has just enabled IMAP4rev2."""
        self.recent.clear()

    def forget_numbers(self) -> list[bytes]:
        """The client has just enabled UIDONLY: results that it knows by number are updated no more. The tags
        of these searches."""
        tags = [context.tag for context in self.contexts if not context.uid]
        for tag in tags:
            self.contexts.cancel(tag)
        return tags

    @property
    def condstore(self) -> bool:
        """Are UID and MODSEQ told with every change (RFC 7162, 3.2.4)?"""
        return "CONDSTORE" in self.enabled and self.keeps_modseqs

    @property
    def qresync(self) -> bool:
        """Is VANISHED told instead of EXPUNGE (RFC 7162, 3.2.3)?"""
        return "QRESYNC" in self.enabled and self.keeps_modseqs

    @property
    def uidonly(self) -> bool:
        """Are messages told by UID instead of by number (RFC 9586)?"""
        return "UIDONLY" in self.enabled

    @property
    def current(self) -> bool:
        """True while no message of the view is missing from the mailbox: then sequence number n is index
        n - 1 of the mailbox's arrays."""
        return self.uids is self.mailbox.uids

    def number_of(self, uid: int) -> int:
        """The sequence number of a UID in this view, 0 where the client does not know it."""
        index = bisect_left(self.uids, uid, 0, self.told)
        return index + 1 if index < self.told and self.uids[index] == uid else 0

    def indices_of(self, uids: Sequence[int]) -> Sequence[int]:
        """Where these UIDs (ascending) stand in the view; those that the client does not know are left out.
        A run of neighbours, as from a change of a whole mailbox, costs one comparison."""
        view, told = self.uids, self.told
        if not uids:
            return ()
        first = bisect_left(view, uids[0], 0, told)
        last = first + len(uids)
        if last <= told and list(view[first:last]) == list(uids):
            return range(first, last)
        if len(uids) > told // 16:
            wanted = set(uids)
            return [index for index, uid in enumerate(view[:told]) if uid in wanted]
        found: list[int] = []
        for uid in uids:
            first = bisect_left(view, uid, first, told)
            if first < told and view[first] == uid:
                found.append(first)
        return found

    def ranges(self, numbers: SequenceSet, uid: bool) -> list[tuple[int, int]] | None:
        """Ascending, disjoint (start, stop) index ranges of `uids` for a set of UIDs or sequence numbers.

        Unknown UIDs are left out (RFC 3501, 6.4.8). None: a sequence number that the client cannot know
        (RFC 3501, 9: seq-number); a range is clipped where it begins with one that exists. Costs
        O(r log n) for r ranges (CASES H3).
        """
        uids, told = self.uids, self.told
        found: list[tuple[int, int]] = []
        if numbers.saved:
            return self._saved_ranges()
        if uid:
            for first, last in numbers.resolve(uids[told - 1] if told else 0):
                start = bisect_left(uids, first, 0, told)
                stop = bisect_right(uids, last, start, told)
                if start < stop:
                    found.append((start, stop))
            return found
        if not told and all(None in pair for pair in numbers.ranges):
            return []  # 1:* in an empty mailbox: BAD by the letter, but clients send it
        for first, last in numbers.resolve(told):
            if first > told:
                return None
            found.append((first - 1, min(last, told)))
        return found

    def _saved_ranges(self) -> list[tuple[int, int]]:
        """`$`: whatever it was saved as, and without what is expunged since (RFC 5182, 2.1)."""
        gone = self._removed
        found: list[tuple[int, int]] = []
        start = stop = -1
        for index in self.indices_of([uid for uid in self.saved if uid not in gone] if gone else self.saved):
            if index != stop:
                if stop > start:
                    found.append((start, stop))
                start = index
            stop = index + 1
        if stop > start:
            found.append((start, stop))
        return found

    def is_removed(self, uid: int) -> bool:
        """True for a message that is expunged but still has a number here (RFC 2180, 4.1)."""
        return uid in self._removed

    @property
    def contexts_due(self) -> bool:
        """Has something happened that may change the results of a context?"""
        return self.contexts.due(self.uids[self.told - 1] if self.told else 0)

    @property
    def pending(self) -> bool:
        """True where `sync(True)` would tell something."""
        return bool(
            self._removed
            or self._changed
            or len(self.mailbox.uids) != self.told
            or len(self.mailbox.keywords) != self._keywords_told
        )

    # --- what the client is told ------------------------------------------------------------------

    def sync(self, allow_expunge: bool, with_uid: bool = False, flags: bool = True) -> bytes:
        """Untagged responses for what has changed, in the order EXPUNGE, EXISTS, RECENT, FLAGS, FETCH.

        allow_expunge: false while answering FETCH, STORE, SEARCH (RFC 3501, 7.4.1).
        with_uid: the responses belong to a UID command (RFC 3501, 6.4.8).
        flags: false where the client does not want to know of them (RFC 5465, 3.1): they stay untold.
        """
        if not self._removed:
            self.uids = self.mailbox.uids  # what may have gone from it was never told
        told: list[bytes] = []
        if self.pending:
            self._tell(told, allow_expunge, with_uid, flags)
        if not (self._removed or self._changed):
            self.settled = self.mailbox.highestmodseq
        return b"".join(told)

    def _tell(self, told: list[bytes], allow_expunge: bool, with_uid: bool, flags: bool) -> None:
        if allow_expunge and self._removed:
            self._tell_expunges(told)
        if not self._removed:
            self._tell_new(told)
        told.append(self.tell_keywords())
        if self._changed and flags:
            changed = sorted(self._changed)
            self._changed.clear()
            told.extend(self.flag_lines(changed, with_uid))

    def _tell_expunges(self, told: list[bytes]) -> None:
        """VANISHED, or EXPUNGE from the highest number down, so that none moves another (RFC 3501, 7.4.1)."""
        told.extend(self.contexts.removed(self._removed, self.number_of))
        removed = sorted(self._removed)
        indices = self.indices_of(removed)
        if self.qresync or self.uidonly:
            told.extend(vanished_lines(runs(removed), b""))
            self._vanished_told = self.qresync
        else:
            told.extend([b"* %d EXPUNGE\r\n" % (index + 1) for index in reversed(indices)])
        self.told -= len(indices)
        self.uids = self.mailbox.uids
        self._removed.clear()

    def _tell_new(self, told: list[bytes]) -> None:
        """EXISTS and RECENT for messages behind the last one told."""
        self.uids = self.mailbox.uids
        count = len(self.uids)
        if count == self.told:
            return
        self.told = count
        if not self.rev2:
            self.recent |= self.mailbox.take_recent(self, self.read_only)
        told.append(self.exists_response())

    def exists_response(self) -> bytes:
        """EXISTS, and RECENT for those who know it (RFC 9051, E 12)."""
        if self.rev2:
            return b"* %d EXISTS\r\n" % self.told
        return b"* %d EXISTS\r\n* %d RECENT\r\n" % (self.told, len(self.recent))

    def tell_keywords(self) -> bytes:
        """FLAGS and PERMANENTFLAGS where keywords came in (RFC 3501, 7.2.6); before any FETCH with them."""
        if len(self.mailbox.keywords) == self._keywords_told:
            return b""
        self._keywords_told = len(self.mailbox.keywords)
        return self.flags_responses()

    def flags_responses(self) -> bytes:
        """`* FLAGS` and `* OK [PERMANENTFLAGS …]` as they are now."""
        return self.names.responses("" if self.read_only else self.mailbox.rights)

    def take_modseq(self) -> int:
        """What HIGHESTMODSEQ is to be told beside the responses of `sync`, 0 for nothing.

        A client takes the greatest MODSEQ that it was told for the state it has. So it is told a lower one as
        long as there are expunged messages that it may not be told of, or flags that it does not want to hear
        of, and the right one as soon as it was (RFC 7162, 3.2, 3.2.7, 6).
        """
        if not self.qresync or not (self._removed or self._changed or self._vanished_told):
            return 0
        self._vanished_told = False
        return self.settled

    def modseq_response(self) -> bytes:
        """HIGHESTMODSEQ as far as everything is told, or NOMODSEQ (RFC 7162, 3.1.2)."""
        if not self.keeps_modseqs:
            return b"* OK [NOMODSEQ] No permanent mod-sequences\r\n"
        return b"* OK [HIGHESTMODSEQ %d] Highest mod-sequence\r\n" % self.settled

    def flag_lines(self, uids: Sequence[int], with_uid: bool) -> list[bytes]:
        """`* n FETCH (FLAGS (…))` for those of these UIDs (ascending) that the client knows; with UID and
        MODSEQ where CONDSTORE is enabled, with UID for IMAP4rev2 (RFC 9051, E 21)."""
        indices = rows = self.indices_of(uids)
        view, mailbox, condstore = self.uids, self.mailbox, self.condstore
        if not self.current:
            found = [(index, mailbox.index_of(view[index])) for index in indices]
            indices = [index for index, row in found if row >= 0]
            rows = [row for _, row in found if row >= 0]
        if not indices:
            return []
        with_uid = not self.uidonly and (with_uid or condstore or self.rev2)
        columns = [self._heads(indices, with_uid), self._flags(indices, rows)]
        if condstore:
            modseqs = mailbox.modseqs
            columns += [[b" "] * len(rows), modseq_column([modseqs[row] for row in rows], b"")]
        return interleave([*columns, [b")\r\n"] * len(rows)])

    def _heads(self, indices: Sequence[int], with_uid: bool) -> list[bytes]:
        if len(indices) > MANY:
            lines = prefixes_of(self).get(with_uid, indices[-1] + 1, self.uidonly)
            return [lines[index] for index in indices]
        uids = [self.uids[index] for index in indices]
        return heads([index + 1 for index in indices], uids, with_uid, self.uidonly)

    def _flags(self, indices: Sequence[int], rows: Sequence[int]) -> list[bytes]:
        recent, view, flags = self.recent, self.uids, self.mailbox.flags
        plain, marked = self._fragments, self._recent_fragments
        return [
            marked[flags[row]] if recent and view[index] in recent else plain[flags[row]]
            for index, row in zip(indices, rows, strict=True)
        ]

    def flags_told(self, uids: Iterable[int], modseq: bool) -> None:
        """FETCH has just told the flags of these messages: no need to repeat them, unless their MODSEQ is to
        be told as well and was not."""
        if self._changed and (modseq or not self.condstore):
            self._changed.difference_update(uids)
