"""The model of test_model, with two processes in one account: what one does, the other has to show."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from tests.helpers.store import make_store, now
from tests.store.test_model import FOLDERS, StoreMachine


class TwoProcesses(StoreMachine):
    """`store`, `account`, `mailboxes` and `sessions` are those of the process whose turn it is."""

    def start(self) -> None:
        self.number = self.new_run()
        self.told = True
        super().start()
        self.change_places()
        super().start()
        self.introduce()

    def change_places(self) -> None:
        here = tuple(getattr(self, name, None) for name in ("store", "account", "mailboxes", "sessions"))
        there = getattr(self, "other", (None,) * 4)
        self.other: Any = here
        self.store, self.account, self.mailboxes, self.sessions = there

    def make_store(self) -> Any:
        return make_store(self.path, run=self.number)

    def introduce(self) -> None:
        """Each tells the other what it commits, unless that gets lost."""
        one, other = self.store, self.other[0]
        one.changes.forward = lambda change: other.changes.arrived(change) if self.told else None
        other.changes.forward = lambda change: one.changes.arrived(change) if self.told else None

    @rule(told=st.booleans())
    def news_may_get_lost(self, told: bool) -> None:
        self.told = told

    @rule()
    def the_other_process(self) -> None:
        """Its turn; its sessions say NOOP."""
        self.change_places()
        for name in FOLDERS:
            now(self.mailboxes[name].refresh())

    @rule()
    def clean_restart(self) -> None:
        now(self.store.stop())
        self.change_places()
        now(self.store.stop())
        self.start()

    @rule()
    def crash(self) -> None:
        """Of one process: it comes again, the other goes on."""
        for account in self.store._accounts.values():
            account.ledger.close()
        super().start()
        self.introduce()

    def close_other(self) -> None:
        for account in self.other[0]._accounts.values():
            account.ledger.close()

    @rule()
    def index_lost(self) -> None:
        self.other[0].reactor.advance(1)
        self.close_other()
        super().index_lost()

    @rule()
    def remember(self) -> None:
        self.close_other()
        super().remember()

    @precondition(lambda self: os.path.exists(self.path + "/old-index"))
    @rule()
    def power_cut(self) -> None:
        """What only the index knew of the last moments is lost: file names are brought up to date before."""
        self.other[0].reactor.advance(1)
        self.close_other()
        super().power_cut()

    @invariant()
    def what_was_told_is_shown_at_once(self) -> None:
        if not hasattr(self, "other") or self.other[0] is None or not self.told:
            return
        self.other[0].reactor.advance(0.006)  # what came out of order is looked up
        for name, session in self.other[3].items():
            assert list(self.other[2][name].uids) == session.uids


TwoProcesses.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTwoProcesses = TwoProcesses.TestCase
