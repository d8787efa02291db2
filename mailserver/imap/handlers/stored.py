"""What the store keeps of messages for a FETCH, a batch ahead: while the client is sent the rows of one, a
thread looks for what the next one needs, or makes it."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from mailserver.imap.fetch import Content, Plan
from mailserver.imap.handlers.batches import batch
from mailserver.imap.selected import Selected

Values = Sequence[bytes | None]


class Stored:
    """Of one FETCH. `forget` at its end."""

    def __init__(self, view: Selected, plan: Plan) -> None:
        self._view = view
        self._items: list[str | Content] = [*plan.cached, *plan.headers]
        self._lazy = plan.lazy
        self._coming: dict[str | Content, tuple[Sequence[int], Deferred[Values]]] = {}

    def look_ahead(self, numbers: Sequence[int]) -> None:
        """These messages are the next ones."""
        uids = batch(self._view, numbers).uids
        if uids:
            for item in self._items:
                self._coming[item] = (uids, self._ask(item, uids))

    def values(self, item: str | Content, uids: Sequence[int]) -> Deferred[Values]:
        """Of an item, or of a part of the header (None where the store keeps none)."""
        known, coming = self._coming.pop(item, ((), None))
        if coming is not None and known == uids:
            return coming
        if coming is not None:  # a message is gone since
            coming.addErrback(lambda failure: None)
        return self._ask(item, uids)

    def _ask(self, item: str | Content, uids: Sequence[int]) -> Deferred[Values]:
        mailbox = self._view.mailbox
        if isinstance(item, str):
            return mailbox.rendered(item, uids, not (item == "PREVIEW" and self._lazy))
        if item.cut is None:
            return mailbox.rendered("HEADER", uids)
        return mailbox.cut_headers(item.label.decode("latin-1"), item.cut, uids)

    def forget(self) -> None:
        """What was looked for and is not needed may fail as it likes."""
        for _, values in self._coming.values():
            values.addErrback(lambda failure: None)
        self._coming.clear()
