"""Group A: where a message ends, and where a command ends."""

from __future__ import annotations

import pytest

from mailserver.smtp.loop import MAX_WAITING
from tests.attacks.wire import Imap, Smtp, Wire, bodies, resident, served, turn
from tests.helpers.server import Server

ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\r\n\0.\r\n",
]


def smuggled(user: str) -> bytes:
    """What must never be executed."""
    return (
        b"MAIL FROM:<evil@remote.example>\r\nRCPT TO:<%b>\r\nDATA\r\nSubject: evil\r\n\r\nx" % user.encode()
    )


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_A1_A2_no_second_message_whatever_the_cut(server: Server, user: str, other: Imap, end: bytes) -> None:
    """Each stray end, the text cut in two segments at every octet, and the mailbox afterwards."""
    text = b"Subject: one\r\n\r\nx" + end + smuggled(user) + b"\r\n.\r\n"
    accepted = 0
    with Smtp(server) as smtp:
        for cut in range(12, len(text)):
            smtp.begin(user)
            smtp.send(text[:cut])
            turn(other)
            smtp.send(text[cut:])
            reply = smtp.reply()
            assert reply[:3] in (b"550", b"250"), reply
            accepted += reply.startswith(b"250")
            assert smtp.say(b"NOOP x").startswith(b"250"), f"cut at {cut}"
            assert not smtp.data
            assert smtp.say(b"RCPT TO:<%b>" % user.encode()).startswith(b"503")
    kept = bodies(server, user)
    assert len(kept) == accepted == (0 if end != b"\r\n\0.\r\n" else len(text) - 12)
    assert all(b"Subject: one" in message and message.count(b"\r\nReceived:") <= 1 for message in kept)


@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_A3_a_long_line_does_not_lead_back_to_commands(
    server: Server, user: str, bystander: str, size: int
) -> None:
    with Smtp(server) as smtp, served(server, bystander):
        smtp.begin(user)
        smtp.send(b"Subject: long\r\n\r\n" + b"x" * size + b"\r\n" + smuggled(user))
        assert smtp.silent()
        smtp.send(b"\r\n.\r\nNOOP\r\n")
        assert smtp.reply()[:3] in (b"500", b"554")
        assert smtp.reply().startswith(b"250")
        assert not smtp.data
    assert bodies(server, user) == []


def test_A4_over_size_is_read_to_its_end(server: Server, user: str, bystander: str) -> None:
    """Commands beyond the limit are still text."""
    with Smtp(server) as smtp, served(server, bystander):
        smtp.begin(user)
        smtp.send(b"Subject: big\r\n\r\n" + (b"x" * 70 + b"\r\n") * 35_000)
        smtp.send(smuggled(user))
        assert smtp.silent()
        smtp.send(b"\r\n.\r\nNOOP\r\n")
        assert smtp.reply().startswith(b"552 5.3.4")
        assert smtp.reply().startswith(b"250")
        assert not smtp.data
    assert bodies(server, user) == []


def test_A4_a_flood_of_text_is_cut_off(server: Server, user: str, bystander: str) -> None:
    """Four times the limit is read, then the connection is closed, with one reply."""
    with Smtp(server) as smtp, served(server, bystander):
        before = resident(server)
        smtp.begin(user)
        block = (b"x" * 70 + b"\r\n") * 14_000
        sent = 0
        while sent < 40 and smtp.send_anyway(block):
            sent += 1
        assert sent < 40
        assert resident(server) - before < 20_000_000
        assert smtp.rest()[:3] in (b"", b"552")
    assert bodies(server, user) == []


def test_A7_dots_survive_all_hops(server: Server, user: str) -> None:
    """In by SMTP, out by IMAP and by POP3."""
    sent = b"Subject: dots\r\n\r\n..a\r\n.b\r\n...\r\n. \r\n."
    with Smtp(server) as smtp:
        assert smtp.message(sent.replace(b"\r\n.", b"\r\n.."), user).startswith(b"250")
    (kept,) = bodies(server, user)
    assert kept.endswith(sent + b"\r\n")


def test_A9_bare_line_feeds_are_no_commands(server: Server) -> None:
    with Smtp(server, hello=False) as smtp:
        assert smtp.say(b"EHLO a\nMAIL FROM:<b@remote.example>").startswith(b"500 5.5.2")
        assert smtp.say(b"MAIL FROM:<b@remote.example>").startswith(b"503")
        smtp.send(b"NOOP\nNOOP\nNOOP\n")
        assert smtp.reply().startswith(b"500 5.5.2")
        smtp.send(b"NOOP\r\n")  # still that line
        assert smtp.silent()
        assert smtp.say(b"NOOP").startswith(b"250")
        assert not smtp.data


def test_A10_odd_octets(server: Server) -> None:
    """Whatever stands where a name should: an error, and the session goes on."""
    odd = [bytes([octet]) for octet in (0, 1, 8, 13, 27, 127, 128, 192, 255)] + [b"\xc3\x28", b"\xf0\x9f"]
    with Smtp(server) as smtp:
        for octets in odd:
            for form in (b"%b", b"NO%bOP", b"EHLO a%bb", b"MAIL FROM:<a%bb@remote.example>", b"HELP%b"):
                assert smtp.say(form % octets)[:1] == b"5", (form, octets)
        assert smtp.say(b"NOOP").startswith(b"250")


@pytest.mark.parametrize("service", ["smtp", "submission", "imap", "pop3"])
def test_A11_A12_H6_J6_a_megabyte_without_line_end(server: Server, bystander: str, service: str) -> None:
    """200 clients at once. What a client can make the server hold before log-in is bounded."""
    block = b"A" * 65536
    wires = [Wire(server, service) for _ in range(200)]
    try:
        with served(server, bystander, within=0.3):  # 200 clients' segments are read in one turn
            before = resident(server)
            left = dict.fromkeys(wires, 16)
            for wire in wires:
                wire.socket.setblocking(False)
            idle = 0
            while left and idle < 50:
                moved = False
                for wire in list(left):
                    try:
                        wire.socket.send(block)
                        left[wire] -= 1
                        moved = True
                    except BlockingIOError:
                        continue
                    except OSError:
                        left[wire] = 0
                    if left[wire] <= 0:
                        del left[wire]
                idle = 0 if moved else idle + 1
            grown = resident(server) - before
            assert grown / len(wires) < MAX_WAITING, f"{grown / len(wires):.0f} octets a connection"
    finally:
        for wire in wires:
            wire.close()


def test_A13_a_pipelined_transaction_is_answered_in_order(server: Server, user: str) -> None:
    with Smtp(server) as smtp:
        for _ in range(20):
            smtp.send(
                b"MAIL FROM:<a@remote.example>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<%b>\r\n"
                b"RCPT TO:<x@elsewhere.example>\r\nDATA\r\n" % user.encode()
            )
            codes = [smtp.reply()[:3] for _ in range(5)]
            assert codes == [b"250", b"550", b"250", b"550", b"354"]
            smtp.send(b"Subject: x\r\n\r\nx\r\n.\r\nRSET\r\nNOOP\r\nVRFY a\r\nQUIT x\r\n")
            assert [smtp.reply()[:3] for _ in range(5)] == [b"250", b"250", b"250", b"252", b"501"]
    assert len(bodies(server, user)) == 20


@pytest.mark.parametrize("behind", [b"DATA\r\nSubject: early\r\n\r\nx\r\n.\r\n", b"EHLO x\r\nNOOP\r\n"])
def test_A14_what_may_not_be_pipelined(server: Server, user: str, behind: bytes) -> None:
    with Smtp(server) as smtp:
        smtp.say(b"MAIL FROM:<a@remote.example>")
        smtp.say(b"RCPT TO:<%b>" % user.encode())
        smtp.send(behind)
        assert smtp.rest().startswith(b"554 5.5.0")
    assert bodies(server, user) == []


def test_A15_A16_nothing_is_left_of_a_refused_message(server: Server, user: str) -> None:
    with Smtp(server) as smtp:
        smtp.begin(user)
        smtp.send(b"Subject: bare\r\n\r\na\nb\r\n.\r\n")
        assert smtp.reply().startswith(b"550")
        assert smtp.say(b"RCPT TO:<%b>" % user.encode()).startswith(b"503 5.5.1")
        assert smtp.say(b"DATA").startswith(b"503 5.5.1")
        assert smtp.say(b"MAIL FROM:<a@remote.example> SIZE=9999999").startswith(b"552 5.3.4")
        assert smtp.say(b"DATA").startswith(b"503 5.5.1")
        for size in (b"99999999999999999999", b"-1", b"1e9", b"1 SIZE=1"):
            assert smtp.say(b"MAIL FROM:<a@remote.example> SIZE=" + size)[:3] in (b"501", b"552")
        assert smtp.message(b"Subject: good\r\n\r\nx", user).startswith(b"250")
    assert len(bodies(server, user)) == 1


@pytest.mark.parametrize("service", ["smtp", "submission", "imap", "pop3"])
def test_A19_other_protocols_get_no_echo(server: Server, service: str) -> None:
    """A browser, and a TLS hello to a port without TLS."""
    with Wire(server, service) as wire:
        wire.send(b"GET /<script> HTTP/1.1\r\nHost: <script>\r\nCookie: a=<script>\r\n\r\n")
        assert b"script" not in wire.rest()
    with Wire(server, service) as wire:
        wire.send_anyway(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600) + b"\r\n" * 30)
        assert b"\x16" not in wire.until(rb"\n")
