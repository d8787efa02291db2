"""Which reports a message causes, by what its sender asked for (RFC 3461, 5.2; CASES G19)."""

from __future__ import annotations

import email
from email.message import Message
from typing import Any

from attrs import evolve

from mailserver.queue.values import NewMessage
from tests.queue.scene import HEADER, LATER, NO, OK, QueueTestCase, message

DAY = 86400.0


def asked(*to: str, notify: str = "", orcpt: str = "", **fields: Any) -> NewMessage:
    """A message whose recipients all have the parameter NOTIFY=`notify`."""
    made = message(*to, **fields)
    wanted = frozenset(notify.split(",")) if notify else frozenset()
    pairs = tuple((evolve(r, notify=wanted, orcpt=orcpt), t) for r, t in made.targets)
    return evolve(made, targets=pairs)


class WishesTests(QueueTestCase):
    def reports(self) -> list[Message]:
        return [email.message_from_bytes(data) for _, data in self.local.boxes.get("a@example.org", ())]

    def actions(self) -> list[str]:
        return [str(report.get_payload()[1].get_payload()[1]["Action"]) for report in self.reports()]  # type: ignore[index,union-attr]

    def test_success_of_a_local_delivery(self) -> None:
        self.enqueue(
            asked("bob@example.org", notify="SUCCESS", orcpt="rfc822;bob+2Bx@example.org", envid="q+2B1")
        )
        (report,) = self.reports()
        _, status, header = report.get_payload()  # type: ignore[misc]
        general, recipient = status.get_payload()  # type: ignore[union-attr]
        assert general["Original-Envelope-Id"] == "q+1"
        assert recipient["Original-Recipient"] == "rfc822; bob+x@example.org"
        assert (recipient["Action"], recipient["Status"]) == ("delivered", "2.0.0")
        assert "body" not in str(header.get_payload())  # type: ignore[union-attr]
        self.assertEmpty()

    def test_success_at_a_host_that_does_not_report(self) -> None:
        self.enqueue(asked("b@far.example", "c@far.example", notify="SUCCESS,FAILURE"))
        (report,) = self.reports()
        assert report["Subject"] == "Mail was passed on"
        assert self.actions() == ["relayed"]
        assert report.as_string().count("Action: relayed") == 2
        self.assertEmpty()

    def test_success_at_a_host_that_reports_itself(self) -> None:
        self.relay.answer = lambda address, domain: evolve(OK, reports=True)
        self.enqueue(asked("b@far.example", notify="SUCCESS"))
        assert self.reports() == []
        (_, parcel) = self.relay.parcels[0]
        assert [sorted(wishes.notify) for wishes in parcel.mail.wishes] == [["SUCCESS"]]
        self.assertEmpty()

    def test_nothing_was_asked_for(self) -> None:
        self.enqueue(asked("bob@example.org", "b@far.example"))
        assert self.reports() == []

    def test_never(self) -> None:
        self.relay.answer = lambda address, domain: NO
        self.enqueue(asked("b@far.example", notify="NEVER"))
        assert self.reports() == []
        self.assertEmpty()

    def test_failure_only_where_it_is_wanted(self) -> None:
        self.relay.answer = lambda address, domain: NO
        self.enqueue(asked("b@far.example", notify="SUCCESS,DELAY"))
        self.enqueue(asked("c@far.example", notify="FAILURE"))
        assert self.actions() == ["failed"]
        assert "c@far.example" in self.reports()[0].as_string()

    def test_delay_only_where_it_is_wanted(self) -> None:
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(asked("b@far.example", notify="FAILURE"))
        self.enqueue(asked("c@far.example", notify="DELAY"))
        self.pass_time(0.25 * DAY, step=600)
        assert self.actions() == ["delayed"]
        assert "c@far.example" in self.reports()[0].as_string()

    def test_no_report_of_success_about_the_null_reverse_path(self) -> None:
        self.enqueue(asked("bob@example.org", notify="SUCCESS", sender=""))
        assert list(self.local.boxes) == ["bob@example.org"]
        self.assertEmpty()

    def test_the_whole_message_is_returned_where_that_was_asked_for(self) -> None:
        self.relay.answer = lambda address, domain: NO
        text = HEADER + "k\u00f6rper\n--=_report_report0\n".encode()
        for ret in ("FULL", "HDRS"):
            self.enqueue(asked("b@far.example", ret=ret, body=text))
        whole, header = (data for _, data in self.local.boxes["a@example.org"])
        assert b"Content-Type: message/rfc822\n" in whole
        assert b"\n\nReceived: here\n" + text in whole
        assert email.message_from_bytes(whole).get_payload()[2].get_content_type() == "message/rfc822"  # type: ignore[index,union-attr]
        assert b"rper" not in header

    def test_a_large_message_is_not_returned(self) -> None:
        self.relay.answer = lambda address, domain: NO
        self.enqueue(asked("b@far.example", ret="FULL", body=HEADER + b"line\n" * 20_000))
        ((_, report),) = self.local.boxes["a@example.org"]
        assert len(report) < 5000

    def test_a_sender_whose_address_is_not_ascii(self) -> None:
        """RFC 6533: the report goes out as an internationalized message, to be told by SMTPUTF8."""
        self.relay.answer = lambda address, domain: NO if domain == "far.example" else OK
        self.enqueue(asked("b@far.example", sender="j\u00f6rg@near.example"))
        _, parcel = self.relay.parcels[1]
        assert parcel.mail.utf8
        assert "To: <j\u00f6rg@near.example>\n".encode() in (self.relay.bodies[1] or b"")

    def test_smtputf8_is_only_asked_for_where_it_is_needed(self) -> None:
        """RFC 6531, 3.2: clients give the parameter by habit."""
        for text in ("k\u00f6rper\n", "plain\n"):
            self.enqueue(message("b@far.example", body=HEADER + text.encode(), smtputf8=True))
        self.enqueue(message("b@far.example", body="Subject: \u00e4\n\nx\n".encode(), smtputf8=True))
        assert [parcel.mail.utf8 for _, parcel in self.relay.parcels] == [False, False, True]
