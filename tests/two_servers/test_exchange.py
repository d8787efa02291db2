"""Mail between two servers that find each other by MX."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.server import PASSWORD, Server, eventually
from tests.helpers.smtp_sink import SmtpSink
from tests.two_servers.world import A, B, World, arrived, inbox, queue_is_empty, report, status_of, submit


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def a(world: World) -> Iterator[Server]:
    aliases = {"loop@a.example": ["loop@b.example"]}
    with world.server("a", A, ("alice", "carol"), aliases) as server:
        yield server


@pytest.fixture(scope="module")
def b(world: World) -> Iterator[Server]:
    with world.server("b", B, ("bob", "jörg"), {"loop@b.example": ["loop@a.example"]}) as server:
        yield server


def test_mail_both_ways(a: Server, b: Server) -> None:
    """Submitted, relayed by MX with TLS, delivered, read; and an answer back."""
    submit(a, "alice", "bob@b.example", subject="there", text=".dots\n..\nend\n")
    there = arrived(b, "bob", "there")

    assert there["Return-Path"] == "<alice@a.example>"
    assert there.get_content() == ".dots\n..\nend\n"
    received = there.get_all("Received", [])
    assert len(received) == 2
    assert "by mx.b.example" in received[0] and "ESMTPS" in received[0]
    assert "by mx.a.example" in received[1] and "ESMTPA" in received[1]

    submit(b, "bob", "alice@a.example", subject="and back")
    assert arrived(a, "alice", "and back")["Return-Path"] == "<bob@b.example>"
    eventually(lambda: queue_is_empty(a) and queue_is_empty(b))


def test_a_binary_message(a: Server, b: Server) -> None:
    """RFC 3030, 3: as it is from server to server, and as text into both mailboxes; no octet is lost."""
    octets = bytes(range(256)) * 5000 + b"\r\n.\r\n\n\r"
    head = b"From: alice@a.example\r\nSubject: octets\r\nContent-Type: image/png\r\n"
    message = head + b"Content-Transfer-Encoding: binary\r\n\r\n" + octets
    with smtplib.SMTP(A, a.ports["submission"], timeout=30) as client:
        client.login("alice@a.example", PASSWORD)
        client.docmd("MAIL", "FROM:<alice@a.example> BODY=BINARYMIME")
        client.docmd("RCPT", "TO:<bob@b.example>")
        client.docmd("RCPT", "TO:<carol@a.example>")
        client.send(b"BDAT %d LAST\r\n%b" % (len(message), message))
        assert client.getreply()[0] == 250
    for server, user in ((b, "bob"), (a, "carol")):
        found = arrived(server, user, "octets")
        assert found["Content-Transfer-Encoding"] == "base64"
        assert found.get_content() == octets


def test_local_and_remote_recipients_of_one_message(a: Server, b: Server) -> None:
    submit(a, "alice", "bob@b.example", "carol@a.example", subject="both")

    arrived(b, "bob", "both")
    arrived(a, "carol", "both")


def test_a_bounce_comes_back_to_the_sender_and_to_nobody_else(a: Server, b: Server) -> None:
    """RFC 5321, 4.5.5; RFC 3464: one report, with the null reverse-path, and none about it (CASES G13)."""
    submit(a, "alice", "nobody@b.example", subject="to nobody")
    bounce = report(a, "alice", "nobody@b.example", "failed")

    assert bounce["Return-Path"] == "<>"
    assert status_of(bounce)["status"] == "5.1.1"
    assert "mx.b.example" in status_of(bounce)["remote-mta"]
    assert "to nobody" in bounce.as_string()
    eventually(lambda: queue_is_empty(a))
    assert len([message for message in inbox(a, "alice") if status_of(message)]) == 1


def test_some_recipients_are_refused_others_get_the_message(a: Server, b: Server) -> None:
    submit(a, "carol", "bob@b.example", "ghost@b.example", subject="half")

    arrived(b, "bob", "half")
    assert status_of(report(a, "carol", "ghost@b.example", "failed"))["status"] == "5.1.1"


def test_G5_a_greylisting_peer_is_tried_again(world: World, a: Server) -> None:
    asked: list[tuple[str, str]] = []

    def recipient(sender: str, recipient: str) -> str:
        asked.append((sender, recipient))
        known = asked.count((sender, recipient)) > 1
        return "250 2.1.5 welcome back" if known else "451 4.7.1 greylisted, come back later"

    world.zone({"grey.example MX": ["10 mx.grey.example."], "mx.grey.example A": ["127.0.0.4"]})
    with SmtpSink("127.0.0.4", world.port, recipient=recipient) as peer:
        submit(a, "alice", "one@grey.example", "two@grey.example", subject="grey")
        eventually(lambda: sum(len(taken.recipients) for taken in peer.taken) == 2)
        eventually(lambda: queue_is_empty(a))

    assert sorted(name for taken in peer.taken for name in taken.recipients) == [
        "one@grey.example",
        "two@grey.example",
    ]
    assert all(b"Subject: grey\n" in taken.data for taken in peer.taken)


def test_the_second_MX_takes_over(world: World, a: Server, b: Server) -> None:
    """RFC 5321, 5.1: hosts in the order of their preference."""
    world.zone(
        {
            "c.example MX": ["20 mx2.c.example.", "10 mx1.c.example."],
            "mx1.c.example A": ["127.0.0.5"],  # nobody listens there
            "mx2.c.example A": ["127.0.0.6"],
        }
    )
    with SmtpSink("127.0.0.6", world.port) as peer:
        submit(a, "alice", "x@c.example", subject="second")
        eventually(lambda: peer.taken)


def test_G8_G9_names_without_mail(world: World, a: Server) -> None:
    """NXDOMAIN and null MX come back at once; a DNS server in trouble makes mail wait."""
    world.zone({"null.example MX": ["0 ."], "sick.example": "SERVFAIL"})
    submit(a, "carol", "x@nowhere.example", subject="nowhere")
    submit(a, "carol", "x@null.example", subject="null")
    submit(a, "carol", "x@sick.example", subject="sick")

    assert status_of(report(a, "carol", "x@nowhere.example", "failed"))["status"] == "5.1.2"
    assert status_of(report(a, "carol", "x@null.example", "failed"))["status"] == "5.1.10"
    assert not queue_is_empty(a)

    world.zone({"sick.example MX": ["10 mx.sick.example."], "mx.sick.example A": ["127.0.0.4"]})
    with SmtpSink("127.0.0.4", world.port) as peer:
        eventually(lambda: peer.taken)
    eventually(lambda: queue_is_empty(a))


def test_G10_DNS_never_leads_back_to_the_server_itself(world: World, a: Server) -> None:
    world.zone({"self.example MX": ["10 mx.a.example."]})
    submit(a, "alice", "x@self.example", subject="loop")

    assert status_of(report(a, "alice", "x@self.example", "failed"))["status"] == "5.4.6"


def test_G15_a_loop_between_two_servers_ends_with_one_report(a: Server, b: Server) -> None:
    """RFC 5321, 6.3: each forwards to the other, once: the second time it finds its own Delivered-To."""
    submit(a, "carol", "loop@b.example", subject="round and round")
    bounce = report(a, "carol", "loop@", "failed")

    assert status_of(bounce)["status"] == "5.4.6"
    assert bounce.as_string().count("\nReceived: ") < 6
    eventually(lambda: queue_is_empty(a) and queue_is_empty(b))
    assert len([m for m in inbox(a, "carol") if "loop@" in status_of(m).get("final-recipient", "")]) == 1


def test_G16_nothing_here_answers_by_itself(a: Server, b: Server) -> None:
    """RFC 3834: there are no automatic replies but reports of failure (CASES G13); whatever is delivered, a
    message of a list or of another robot, makes none."""
    before = len(inbox(b, "bob"))
    for number, field in enumerate(
        ("Auto-Submitted: auto-replied", "List-Id: <x.b.example>", "Precedence: bulk")
    ):
        for sender in ("bob@b.example", ""):
            subject = f"robot {number} {sender or 'null'}"
            with smtplib.SMTP(A, a.ports["smtp"], timeout=30) as client:
                text = f"From: bob@b.example\r\nSubject: {subject}\r\n{field}\r\n\r\nx\r\n"
                client.sendmail(sender, ["alice@a.example"], text)
            arrived(a, "alice", subject)
    eventually(lambda: queue_is_empty(a))
    assert len(inbox(b, "bob")) == before


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_G1_a_peer_that_is_down_and_comes_back_after_a_restart_of_ours(world: World, way: str) -> None:
    """What was accepted is still known after the restart, and arrives once."""
    here = world.server("a", "127.0.0.12", ("alice",))
    there = world.server("b", "127.0.0.13", ("bob",))
    world.zone({"b.example MX": ["10 mx.b.example."], "mx.b.example A": ["127.0.0.13"]})
    try:
        here.start()
        submit(here, "alice", "bob@b.example", subject="patience")
        eventually(lambda: "deferred" in here.log())
        if way == "stop":
            assert here.stop() == 0
        else:
            here.kill()
        here.start()
        there.start()

        arrived(there, "bob", "patience")
        eventually(lambda: queue_is_empty(here))
        assert len(inbox(there, "bob")) == 1
        assert inbox(here, "alice") == []
    finally:
        here.kill()
        there.kill()
        world.zone({})


def test_reports_of_delay_and_of_the_end(world: World, tmp_path: Path) -> None:
    """RFC 3464: "delayed" while the peer is down, "failed" when its time is over."""
    server = world.server("a", "127.0.0.12", ("alice",), warn_after="1s", expire_after="4s")
    world.zone({"b.example MX": ["10 mx.b.example."], "mx.b.example A": ["127.0.0.13"]})
    try:
        server.start()
        submit(server, "alice", "bob@b.example", subject="too late")

        assert status_of(report(server, "alice", "bob@b.example", "delayed"))["status"].startswith("4.")
        status_of(report(server, "alice", "bob@b.example", "failed"))
        eventually(lambda: queue_is_empty(server))
        assert len(inbox(server, "alice")) == 2
    finally:
        server.kill()
        world.zone({})


def test_a_route_needs_no_DNS(world: World, b: Server) -> None:
    """relay.routes, also to this machine: what the administrator wrote is trusted."""
    server = world.server(
        "a", "127.0.0.12", ("alice",), allow_loopback=False, routes={"b.example": f"{B}:{world.port}"}
    )
    with server:
        submit(server, "alice", "bob@b.example", subject="by route")
        arrived(b, "bob", "by route")


def test_G10_without_allow_loopback_DNS_leads_nowhere_here(world: World, b: Server) -> None:
    server = world.server("a", "127.0.0.12", ("alice",), allow_loopback=False)
    with server:
        submit(server, "alice", "bob@b.example", subject="not here")

        assert status_of(report(server, "alice", "bob@b.example", "failed"))["status"] == "5.4.6"


def test_G19_success_is_reported_by_the_server_that_delivers(a: Server, b: Server) -> None:
    """RFC 3461, 5.2.1: our wishes travel with the message, and the last server tells."""
    with smtplib.SMTP(a.host, a.ports["submission"]) as client:
        client.login("alice@a.example", PASSWORD)
        client.sendmail(
            "alice@a.example",
            ["bob@b.example"],
            b"From: alice@a.example\r\nSubject: tell me\r\n\r\n\r\n",
            mail_options=["ENVID=abc+2B1", "RET=HDRS"],
            rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;bob@b.example"],
        )
    told = status_of(report(a, "alice", "bob@b.example", "delivered"))
    assert told["reporting-mta"] == "dns; mx.b.example"
    assert told["original-envelope-id"] == "abc+1"
    assert told["original-recipient"] == "rfc822; bob@b.example"


def test_an_address_in_utf8(a: Server, b: Server) -> None:
    """RFC 6531, from submission to the mailbox; the client of the library asks for SMTPUTF8 by itself."""
    submit(a, "alice", "jörg@b.example", subject="grüße")
    (found,) = eventually(lambda: list(b.data.glob("mail/b.example/j*rg/new/*")))
    text = found.read_bytes()
    assert b" with UTF8SMTPS " in text and b" with UTF8SMTPA " in text
    assert "for <jörg@b.example>".encode() in text


def test_a_time_and_a_priority_go_along(a: Server, b: Server) -> None:
    """RFC 2852, 4.1.4: what is left of the time, a report of the relay (T); RFC 6710, 4.2."""
    with smtplib.SMTP(A, a.ports["submission"], timeout=30) as client:
        client.login("alice@a.example", PASSWORD)
        options = ["BY=600;RT", "MT-PRIORITY=-3"]
        text = "From: alice@a.example\r\nSubject: in time\r\n\r\nx\r\n"
        client.sendmail("alice@a.example", ["bob@b.example"], text, mail_options=options)
    there = arrived(b, "bob", "in time")
    assert [" PRIORITY -3;" in " ".join(field.split()) for field in there.get_all("Received", [])] == [
        True
    ] * 2
    assert status_of(report(a, "alice", "bob@b.example", "relayed"))["deliver-by-date"]
