"""Nobody fills the queue alone: 452 at RCPT for whoever has too many messages in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailserver.errors import LimitReached
from mailserver.interfaces import Target
from mailserver.queue.database import drop
from mailserver.queue.spool import Spool
from mailserver.smtp.room import QueueRoom
from tests.helpers.settings import make_settings
from tests.queue.scene import message

ELSEWHERE = [Target("b@far.example", domain="far.example")]
HERE = [Target("b@example.org", user="b@example.org")]


class Transaction:
    started = 1000.0

    def __init__(self, user: str, reverse_path: str, release_at: float = 0.0) -> None:
        self.release_at = release_at
        self.sender = self
        self.user = user
        self.reverse_path = reverse_path


@pytest.fixture
def spool(tmp_path: Path) -> Any:
    spool = Spool(tmp_path / "queue", Clock(), threaded=False)
    spool.open()
    yield spool
    spool.close()


def enqueue(spool: Spool, number: int, **fields: Any) -> None:
    for _ in range(number):
        new = message("b@far.example", **fields)
        spool.enqueue(new.envelope, new.trace, new.body, new.targets)


def refused(
    spool: Spool, user: str, path: str, targets: list[Target], most: int = 3, at: float = 0.0
) -> bool:
    policy = QueueRoom(make_settings(limits={"queued_messages": most}), spool.count)
    transaction: Any = Transaction(user, path, at)
    answer = policy.on_recipient(transaction, None, targets)  # type: ignore[arg-type]
    if answer is None:
        return False
    failures: list[Any] = []
    assert isinstance(answer, Deferred)
    answer.addErrback(failures.append)
    if not failures:
        return False
    error = failures[0].value
    assert isinstance(error, LimitReached)
    assert (error.code, error.enhanced) == (452, "4.3.1")
    return True


def test_who_has_too_many_is_refused_others_are_not(spool: Spool) -> None:
    enqueue(spool, 2, sender="al@example.org", user="alice@example.org")
    assert not refused(spool, "alice@example.org", "al@example.org", ELSEWHERE)
    enqueue(spool, 1, sender="alice@example.org", user="alice@example.org")
    assert refused(spool, "alice@example.org", "al@example.org", ELSEWHERE)
    assert refused(spool, "alice@example.org", "alice@example.org", ELSEWHERE), "whatever the address"
    assert not refused(spool, "alice@example.org", "al@example.org", HERE), (
        "mail for users here does not wait"
    )
    assert not refused(spool, "bob@example.org", "bob@example.org", ELSEWHERE)
    assert not refused(spool, "alice@example.org", "al@example.org", ELSEWHERE, most=0)


def test_there_is_room_again_when_messages_have_gone(spool: Spool) -> None:
    enqueue(spool, 3, sender="relay@far.example")
    assert refused(spool, "", "relay@far.example", ELSEWHERE)
    spool._database.execute("DELETE FROM recipients WHERE message = 1")

    assert drop(spool._database, 1)
    assert not refused(spool, "", "relay@far.example", ELSEWHERE)


def test_reports_are_not_counted(spool: Spool) -> None:
    enqueue(spool, 5, sender="")
    assert not refused(spool, "", "", ELSEWHERE)


def test_what_is_held_back_counts(spool: Spool) -> None:
    """RFC 4865, 6: also for a mailbox here."""
    enqueue(spool, 3, sender="a@example.org")
    for at, wanted in ((0.0, False), (999.0, False), (1001.0, True)):
        assert refused(spool, "", "a@example.org", HERE, at=at) is wanted
