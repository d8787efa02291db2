"""REQUIRETLS and TLS-Required (RFC 8689), LIMITS (RFC 9422), in the server and in the client."""

from __future__ import annotations

import pytest
from attrs import evolve

from mailserver.smtp.client.engine import ClientEngine
from mailserver.smtp.client.values import ClientOptions, Mail, Ready, TransactionDone
from mailserver.smtp.parameters import Limits, read_limits
from tests.smtp.service import Client, World
from tests.smtp.talk import OPTIONS, Talk


def in_tls(world: World) -> Client:
    client = world.connect().hello()
    assert client.line("STARTTLS")[:4] == "220 "
    client.connection.handshakeCompleted()
    return client


def test_the_example_of_the_rfc() -> None:
    """RFC 8689, A.1: announced inside TLS only, and the message is tagged."""
    world = World()
    client = world.connect()
    assert "REQUIRETLS" not in "".join(client.say(b"EHLO mail.example.org\r\n"))
    assert client.line("MAIL FROM:<roger@example.org> REQUIRETLS")[:4] == "555 "
    client = in_tls(world)
    assert "250-REQUIRETLS" in [line.replace("250 ", "250-") for line in client.say(b"EHLO a\r\n")]
    assert client.line("MAIL FROM:<roger@example.org> REQUIRETLS=1")[:4] == "501 "
    assert client.line("MAIL FROM:<roger@example.net> REQUIRETLS")[:4] == "250 "
    client.line("RCPT TO:<alice@example.org>")
    client.line("DATA")
    assert client.line("TLS-Required: No\r\n\r\nx\r\n.")[:4] == "250 "
    ((envelope, _, _),) = world.acceptor.messages
    assert envelope.require_tls is True  # RFC 8689, 4.1: the field is ignored beside the parameter


@pytest.mark.parametrize(
    ("header", "wish"),
    [
        (b"", None),
        (b"TLS-Required: No\r\n", False),
        (b"Subject: x\r\ntls-required:\r\n no\r\n", False),
        (b"TLS-Required: Yes\r\n", None),
        (b"TLS-Required: No\r\nTLS-Required: No\r\n", None),
        (b"X-TLS-Required: No\r\n", None),
    ],
)
def test_the_header_field(header: bytes, wish: bool | None) -> None:
    """RFC 8689, 3: the one value is No, and it stands once."""
    world = World()
    client = world.connect().hello()
    assert (
        client.send("a@b.example", ["alice@example.org"], header + b"\r\nTLS-Required: No\r\n")[:4] == "250 "
    )
    ((envelope, _, text),) = world.acceptor.messages
    assert envelope.require_tls is wish
    assert header.replace(b"\r\n", b"\n") in text


def ready(*extensions: str, secure: bool = True) -> ClientEngine:
    engine = ClientEngine(ClientOptions("relay.example.org", secure=secure))
    engine.receive(b"220 mx\r\n")
    lines = ["mx", *extensions]
    engine.receive(
        "".join(f"250-{line}\r\n" for line in lines[:-1]).encode() + f"250 {lines[-1]}\r\n".encode()
    )
    engine.data_to_send()
    assert isinstance(engine.next_event(), Ready)
    return engine


REQUIRED = Mail("a@example.org", ("b@example.net",), require_tls=True)


def test_the_client_says_so() -> None:
    engine = ready("PIPELINING", "REQUIRETLS", "DSN")
    engine.transact(REQUIRED)
    assert engine.data_to_send().startswith(b"MAIL FROM:<a@example.org> REQUIRETLS\r\n")


@pytest.mark.parametrize(("extension", "secure"), [("SIZE", True), ("REQUIRETLS", False)])
def test_nothing_is_sent_where_the_promise_is_not_given(extension: str, secure: bool) -> None:
    """RFC 8689, 4.2.1, 4 and 5."""
    engine = ready(extension, secure=secure)
    engine.transact(REQUIRED)
    assert engine.data_to_send() == b""
    done = engine.next_event()
    assert isinstance(done, TransactionDone)
    assert (done.replies[0].code, done.replies[0].status) == (550, "5.7.30")


# --- LIMITS --------------------------------------------------------------------------------------


def test_limits_are_announced_and_hold() -> None:
    """RFC 9422, 4: what was said is what is refused."""
    talk = Talk(evolve(OPTIONS, recipients=200, transactions=2))
    assert "250-LIMITS RCPTMAX=200 MAILMAX=2" in talk.say(b"EHLO a\r\n")
    for _ in range(2):
        assert talk.line("MAIL FROM:<a@b>")[:4] == "250 "
        talk.line("RSET")
    assert talk.line("MAIL FROM:<a@b>")[:10] == "421 4.5.3 "
    assert talk.closed()


def test_the_configuration_makes_them() -> None:
    world = World(limits={"recipients": 100})
    client = world.connect()
    assert "250-LIMITS RCPTMAX=100" in client.say(b"EHLO a\r\n")
    client.line("MAIL FROM:<a@b.example>")
    replies = [client.line("RCPT TO:<alice@example.org>")[:9] for _ in range(101)]
    assert replies == ["250 2.1.5"] * 100 + ["452 4.5.3"]


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("", Limits()),
        ("RCPTMAX=20 MAILMAX=5 RCPTDOMAINMAX=1", Limits(5, 20, 1)),
        ("mailmax=5 X-OTHER RCPTMAX=+", Limits(5)),
        ("RCPTMAX=0 MAILMAX=01 RCPTDOMAINMAX=1000000", Limits()),
        ("RCPTMAX=-1 MAILMAX=x=3 =", Limits()),
    ],
)
def test_how_limits_are_read(text: str, limits: Limits) -> None:
    assert read_limits(text) == limits


def test_the_keyword_and_its_parameters() -> None:
    engine = ready("LIMITS RCPTMAX=20 MAILMAX=5", "AUTH=PLAIN LOGIN", "SIZE")
    assert engine.extensions == {"LIMITS": "RCPTMAX=20 MAILMAX=5", "AUTH": "PLAIN LOGIN", "SIZE": ""}


def test_every_MAIL_counts() -> None:
    """RFC 9422, 4.1: whether it succeeds or fails."""
    talk = Talk(evolve(OPTIONS, transactions=2)).hello()
    assert talk.line("MAIL FROM:<a@b.example> SIZE=99999999")[:4] == "552 "
    assert talk.line("MAIL FROM:<a@b.example>")[:4] == "250 "
    talk.line("RSET")
    assert talk.line("MAIL FROM:<a@b.example>")[:10] == "421 4.5.3 "


@pytest.mark.parametrize("line", ["MAIL FROM:<a@@b>", "mail", "MAIL FROM:<a@b.example> BODY=9BIT"])
def test_a_MAIL_that_is_no_command_counts(line: str) -> None:
    """RFC 9422, 4.1, as it stands: all MAIL commands."""
    talk = Talk(evolve(OPTIONS, transactions=2)).hello()
    assert talk.line(line)[:1] == "5"
    assert talk.line("MAIL FROM:<a@b.example>")[:4] == "250 "
    assert talk.line("MAIL FROM:<a@b.example>")[:10] == "421 4.5.3 "


def test_limits_that_are_broken() -> None:
    """RFC 9422, 3.7: one that makes no sense alone, bad syntax with all others."""
    assert read_limits("MAILMAX=0 RCPTMAX=20 NEW OTHER=x/y") == Limits(0, 20, 0)
    assert read_limits("MAILMAX=5 RCPTMAX=2;0") == Limits()
    assert read_limits("MAILMAX=5 RCPT.MAX=20") == Limits()
