"""VANISHED (EARLIER), for UID FETCH and SELECT (RFC 7162, 3.2.5, 3.2.6)."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.imap.resync import absent, matched, runs, vanished_lines, within
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.imap.values import Sample, SequenceSet


async def tell_vanished(
    session: Session, view: Selected, known: SequenceSet, modseq: int, samples: Sequence[Sample] = ()
) -> None:
    """VANISHED (EARLIER) for those of the UIDs that the client knows that are gone since `modseq`."""
    mailbox = view.mailbox
    if modseq >= mailbox.highestmodseq:
        return
    expunged = await mailbox.expunged_since(modseq)
    last = max(mailbox.uidnext - 1, view.uids[view.told - 1] if view.told else 0)
    first = matched(view, samples) + 1
    uids = [(low, high + 1) for low, high in known.resolve(last)]
    asked = runs(view.saved) if known.saved else within(uids, [(first, last + 1)])
    for line in vanished_lines(within(asked, absent(view, expunged, last + 1))):
        session.send(line)
        await session.drained()
