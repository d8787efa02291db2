"""Who gets the message, and what the sender is told when some of it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailserver.delivery.accept import Acceptor
from mailserver.delivery.body import MemoryBody
from mailserver.errors import NoSpace, NoSuchMailbox, OverQuota, TemporaryFailure
from mailserver.interfaces import Envelope, IAcceptor, Peer, Recipient, Target
from mailserver.queue.reports import Reporter
from tests.helpers.settings import make_settings
from tests.queue.scene import FakeRouter


class Local:
    """ILocalDelivery that does as it is told: `errors` by user."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.delivered: list[str] = []

    def deliver(
        self, envelope: Envelope, trace: bytes, body: Any, targets: Sequence[Target]
    ) -> Deferred[Any]:
        assert b"".join(body.chunks()) == b"text\n"
        outcomes = [self.errors.get(target.user) for target in targets]
        self.delivered += [t.user for t, error in zip(targets, outcomes, strict=True) if error is None]
        return succeed(outcomes)


class Queue:
    def __init__(self) -> None:
        self.error: Exception | None = None
        self.queued: list[str] = []
        self.reports: list[bytes] = []
        self.notify: set[frozenset[str]] = set()

    def enqueue(self, envelope: Envelope, trace: bytes, body: Any, targets: Any) -> Deferred[None]:
        if self.error is not None:
            return fail(self.error)
        if not envelope.reverse_path:
            self.reports.append(b"".join(body.chunks()))
            return succeed(None)
        assert b"".join(body.chunks()) == b"text\n"
        self.notify |= {recipient.notify for recipient, _ in targets}
        self.queued += [target.address for _, target in targets]
        return succeed(None)


class Audit:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))


def local(user: str) -> Target:
    return Target(user, user=user)


def remote(address: str) -> Target:
    return Target(address, domain=address.partition("@")[2])


class Scene(SynchronousTestCase):
    def setUp(self) -> None:
        self.local, self.queue, self.audit = Local(), Queue(), Audit()
        self.reporter = Reporter(make_settings(), FakeRouter(), lambda: "r1")  # type: ignore[arg-type]
        self.acceptor = Acceptor(self.local, self.queue, self.reporter, self.audit, Clock())
        self.body = MemoryBody(b"text\n")

    def assert_discarded(self) -> None:
        self.assertEqual(b"".join(self.body.chunks()), b"")


class AcceptorTests(Scene):
    def accept(self, *targets: Target) -> Deferred[None]:
        recipients = tuple(Recipient(target.address, (target,)) for target in targets)
        envelope = Envelope("id1", "s@example.com", recipients, Peer("192.0.2.1"))
        return self.acceptor.accept(envelope, b"Received: x\n", self.body)

    def test_interface(self) -> None:
        verifyObject(IAcceptor, self.acceptor)

    def test_local_only(self) -> None:
        self.successResultOf(self.accept(local("a@b"), local("c@b")))
        self.assertEqual((self.local.delivered, self.queue.queued), (["a@b", "c@b"], []))
        told = [(name, fields["to"]) for name, fields in self.audit.events]
        self.assertEqual(told, [("received", "a@b,c@b"), ("delivered", "a@b"), ("delivered", "c@b")])
        self.assertEqual({fields["id"] for _, fields in self.audit.events}, {"id1"})
        self.assert_discarded()

    def test_G23_an_envelope_with_more_than_a_line_in_it(self) -> None:
        """Submission is by SMTP only; what hands in such a message here is refused, and nothing is kept."""
        here = (local("a@b"),)
        good = Envelope("id1", "s@example.com", (Recipient("a@b", here),), Peer("192.0.2.1"))
        for bad in ("a\n@b", "a\r@b", "a\0@b"):
            for envelope in (
                evolve(good, reverse_path=bad),
                evolve(good, envid=bad),
                evolve(good, recipients=(Recipient(bad, here),)),
                evolve(good, recipients=(Recipient("a@b", (remote(bad),)),)),
                evolve(good, recipients=(Recipient("a@b", here, orcpt=bad),)),
            ):
                for accept in (self.acceptor.accept, self.acceptor.accept_each):
                    error = self.failureResultOf(accept(envelope, b"", MemoryBody(b"text\n"))).value
                    self.assertEqual((error.code, error.enhanced), (553, "5.1.7"))
        self.assertEqual((self.local.delivered, self.queue.queued, self.audit.events), ([], [], []))

    def test_C15_one_copy_for_each_mailbox(self) -> None:
        self.successResultOf(self.accept(local("a@b"), local("a@b"), local("a@b")))
        self.assertEqual(self.local.delivered, ["a@b"])

    def test_a_remote_target_queues_all(self) -> None:
        self.successResultOf(self.accept(local("a@b"), remote("x@y")))
        self.assertEqual((self.local.delivered, self.queue.queued), ([], ["a@b", "x@y"]))
        self.assertEqual([(name, fields["size"]) for name, fields in self.audit.events], [("received", 5)])
        self.assert_discarded()

    def accept_alias(self, notify: str, *targets: Target) -> None:
        recipient = Recipient("team@example.org", targets, frozenset(notify.split(",")), "rfc822;t@e")
        envelope = Envelope("id1", "s@example.com", (recipient,), Peer("192.0.2.1"), received_at=1.0)
        self.successResultOf(self.acceptor.accept(envelope, b"Received: x\n", self.body))

    def test_G19_a_success_that_is_to_be_reported_is_the_queues(self) -> None:
        self.accept_alias("SUCCESS", local("a@b"))
        self.assertEqual((self.local.delivered, self.queue.queued), ([], ["a@b"]))
        self.assertEqual((self.queue.notify, self.queue.reports), ({frozenset(("SUCCESS",))}, []))

    def test_G19_an_alias_of_several_is_reported_as_expanded(self) -> None:
        """RFC 3461, 5.2.7.3 (c)"""
        self.accept_alias("SUCCESS,FAILURE", local("a@b"), remote("x@y"))
        self.assertEqual(self.queue.notify, {frozenset(("FAILURE",))})
        (report,) = self.queue.reports
        self.assertIn(b"Final-Recipient: rfc822; team@example.org\nAction: expanded\n", report)
        self.assertIn(b"Received: x\n", report)

    def test_G19_members_of_an_alias_whose_success_alone_was_asked_for(self) -> None:
        self.accept_alias("SUCCESS", local("a@b"), local("c@b"))
        self.assertEqual((self.local.delivered, len(self.queue.reports)), (["a@b", "c@b"], 1))

    def test_F12_a_report_that_cannot_be_queued_changes_nothing(self) -> None:
        self.queue.error = NoSpace()
        self.accept_alias("SUCCESS", local("a@b"), local("c@b"))
        self.assertEqual(self.local.delivered, ["a@b", "c@b"])

    def test_F7_what_failed_beside_others_is_queued(self) -> None:
        self.local.errors = {"c@b": NoSpace()}
        self.successResultOf(self.accept(local("a@b"), local("c@b")))
        self.assertEqual((self.local.delivered, self.queue.queued), (["a@b"], ["c@b"]))

    def test_F7_all_failed_is_the_error(self) -> None:
        self.local.errors = {"a@b": NoSuchMailbox(), "c@b": OverQuota()}
        self.failureResultOf(self.accept(local("a@b"), local("c@b")), OverQuota)
        self.assertEqual(self.queue.queued, [])
        self.assert_discarded()

    def test_unexpected_failures_are_temporary(self) -> None:
        self.local.errors = {"a@b": ValueError("bug")}
        self.failureResultOf(self.accept(local("a@b")), TemporaryFailure)

    def test_a_queue_that_fails(self) -> None:
        self.queue.error = NoSpace()
        self.failureResultOf(self.accept(remote("x@y")), NoSpace)
        self.assertEqual(self.audit.events, [])
        self.assert_discarded()

    def test_F12_a_log_that_fails_changes_nothing(self) -> None:
        def broken(*args: Any, **fields: Any) -> None:
            raise OSError("log")

        self.patch(self.audit, "event", broken)
        self.successResultOf(self.accept(local("a@b")))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class AcceptEachTests(Scene):
    """LMTP: an outcome for each recipient (RFC 2033, 4.2)."""

    def each(self, *recipients: Recipient) -> list[str]:
        """ "" for what is ours, else the enhanced code."""
        envelope = Envelope("id1", "s@example.com", recipients, Peer("192.0.2.1"), received_at=1.0)
        answers = self.successResultOf(self.acceptor.accept_each(envelope, b"Received: x\n", self.body))
        self.assert_discarded()
        return ["" if answer is None else answer.enhanced for answer in answers]

    def test_outcomes_are_independent(self) -> None:
        self.local.errors = {"a@b": OverQuota(), "c@b": ValueError("bug")}
        users = ["a@b", "e@b", "c@b", "a@b"]
        found = self.each(*(Recipient(user, (local(user),)) for user in users))
        self.assertEqual(found, ["4.2.2", "", "4.3.0", "4.2.2"])
        self.assertEqual((self.local.delivered, self.queue.queued), (["e@b"], []))
        told = [(name, fields["to"]) for name, fields in self.audit.events]
        self.assertEqual(told, [("received", "e@b"), ("delivered", "e@b")])

    def test_nothing_is_told_as_received_where_nothing_is_ours(self) -> None:
        self.local.errors = {"a@b": NoSpace()}
        self.assertEqual(self.each(Recipient("a@b", (local("a@b"),))), ["4.3.1"])
        self.assertEqual(self.audit.events, [])

    def test_a_failure_of_all_deliveries_is_each_ones(self) -> None:
        self.local.deliver = lambda *args: fail(NoSpace())  # type: ignore[method-assign]
        found = self.each(Recipient("a@b", (local("a@b"),)), Recipient("x@b", (remote("x@y"),)))
        self.assertEqual((found, self.queue.queued), (["4.3.1", ""], ["x@y"]))

    def test_C15_two_recipients_of_one_mailbox(self) -> None:
        found = self.each(Recipient("a@b", (local("a@b"),)), Recipient("a+x@b", (local("a@b"),)))
        self.assertEqual((found, self.local.delivered), (["", ""], ["a@b"]))

    def test_what_an_alias_leads_to_elsewhere_is_queued(self) -> None:
        """The alias is ours, and so is what it means; the client's queue knows nothing of it."""
        team = Recipient("team@b", (local("a@b"), remote("x@y")))
        self.assertEqual(self.each(team, Recipient("c@b", (local("c@b"),))), ["", ""])
        self.assertEqual((self.local.delivered, self.queue.queued), (["a@b", "c@b"], ["x@y"]))

    def test_F7_a_member_that_fails_beside_others_is_queued(self) -> None:
        self.local.errors = {"a@b": OverQuota()}
        team = Recipient("team@b", (local("a@b"), local("c@b")))
        self.assertEqual((self.each(team), self.queue.queued), ([""], ["a@b"]))

    def test_F7_a_queue_that_fails_is_told_to_those_that_need_it(self) -> None:
        self.queue.error = NoSpace()
        team = Recipient("team@b", (local("a@b"), remote("x@y")))
        self.assertEqual(self.each(team, Recipient("c@b", (local("c@b"),))), ["4.3.1", ""])
        self.assertEqual([f["to"] for name, f in self.audit.events if name == "received"], ["c@b"])

    def test_G19_success_is_reported_of_those_that_asked(self) -> None:
        """RFC 3461, 5.2.3: LMTP delivers for good, so nobody else could."""
        self.local.errors = {"c@b": OverQuota()}
        wish = frozenset(("SUCCESS",))
        found = self.each(*(Recipient(user, (local(user),), wish) for user in ("a@b", "c@b")))
        self.assertEqual(found, ["", "4.2.2"])
        (report,) = self.queue.reports
        self.assertIn(b"Final-Recipient: rfc822; a@b\nAction: delivered\n", report)
        self.assertNotIn(b"c@b", report)
        self.body = MemoryBody(b"text\n")
        self.each(Recipient("team@b", (local("a@b"), remote("x@y")), wish))
        self.assertIn(b"Final-Recipient: rfc822; team@b\nAction: expanded\n", self.queue.reports[1])
        self.assertEqual(self.queue.notify, {frozenset(("NEVER",))})
