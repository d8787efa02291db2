"""Group B: what comes in clear stays in clear, and handshakes cost nobody else anything."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trustme

from tests.attacks.wire import Imap, Pop, Smtp, bodies, leftovers, resident, served, turn
from tests.helpers.server import Server, eventually

SMTP_BEHIND = [
    b"EHLO evil\r\n",
    b"EHLO evil\r\nMAIL FROM:<evil@remote.example>\r\nRCPT TO:<%(user)b>\r\nDATA\r\n",
    b"RSET\r\nNOOP\r\n",
    b"MAIL FROM:<ev",
]


@pytest.mark.parametrize("behind", SMTP_BEHIND)
@pytest.mark.parametrize("service", ["smtp", "submission"])
def test_B1_nothing_in_clear_is_run_after_starttls(
    server: Server, user: str, service: str, behind: bytes
) -> None:
    """In one segment with STARTTLS: the server hangs up rather than guess."""
    with Smtp(server, service) as smtp:
        smtp.send(b"STARTTLS\r\n" + behind.replace(b"%(user)b", user.encode()))
        assert smtp.rest().startswith(b"554 5.5.0")
    assert bodies(server, user) == []


def test_B1_B5_a_session_begins_anew_inside(server: Server) -> None:
    with Smtp(server) as smtp:
        assert smtp.say(b"STARTTLS x").startswith(b"501")
        assert smtp.say(b"MAIL FROM:<a@remote.example>").startswith(b"250")
        assert smtp.say(b"STARTTLS").startswith(b"503")
        assert smtp.say(b"RSET").startswith(b"250")
        assert smtp.say(b"STARTTLS").startswith(b"220")
        smtp.tls()
        assert smtp.say(b"MAIL FROM:<a@remote.example>").startswith(b"503")
        assert b"STARTTLS" not in smtp.say(b"EHLO x")
        assert smtp.say(b"STARTTLS").startswith(b"503")


@pytest.mark.parametrize("cut", range(14))
def test_B2_nothing_in_clear_is_run_after_imap_starttls(
    server: Server, user: str, other: Imap, cut: int
) -> None:
    """Each beginning of a command behind STARTTLS; its other part comes inside TLS."""
    login = b"b LOGIN %b secret\r\n" % user.encode()
    with Imap(server) as imap:
        imap.send(b"a STARTTLS\r\n" + login[:cut])
        assert b"a OK" in imap.tagged(b"a")
        turn(other)
        imap.tls()
        assert imap.silent(0.02)
        assert b"STARTTLS" not in imap.say(b"CAPABILITY")
        said = imap.say(b"NOOP" + login[cut:-2] if cut < 3 else b"NOOP")
        assert b"b OK" not in said
        assert b"t OK" in imap.say(b"LOGIN %b secret" % user.encode())


def test_B2_a_whole_log_in_or_literal_behind_starttls(server: Server, user: str) -> None:
    for behind in (
        b"b LOGIN %b secret\r\n" % user.encode(),
        b"b LOGIN {4+}\r\nuser",
        b"b LOGIN {400}\r\n",
        b"b AUTHENTICATE PLAIN\r\n",
        b"b STARTTLS\r\n",
    ):
        with Imap(server) as imap:
            imap.send(b"a STARTTLS\r\n" + behind)
            assert b"a OK" in imap.tagged(b"a")
            imap.tls()
            assert imap.silent(0.02)
            assert b"t BAD" in imap.say(b"SELECT INBOX")
            assert b"t OK" in imap.say(b"LOGIN %b secret" % user.encode())


@pytest.mark.parametrize("behind", [b"USER x\r\n", b"USER %(user)b\r\nPASS secret\r\n", b"US", b"STLS\r\n"])
def test_B3_nothing_in_clear_is_run_after_stls(server: Server, user: str, behind: bytes) -> None:
    with Pop(server) as pop:
        pop.send(b"STLS\r\n" + behind.replace(b"%(user)b", user.encode()))
        assert pop.line().startswith(b"+OK")
        pop.tls()
        assert pop.silent(0.02)
        assert pop.say(b"PASS secret").startswith(b"-ERR")  # no USER was given
        assert pop.say(b"STLS").startswith(b"-ERR")
        assert pop.say(b"USER %b" % user.encode()).startswith(b"+OK")
        assert pop.say(b"PASS secret").startswith(b"+OK")


def test_B7_no_starttls_after_log_in(server: Server, user: str) -> None:
    with Imap(server, user) as imap:
        assert b"t BAD" in imap.say(b"STARTTLS")
    with Pop(server, user) as pop:
        assert pop.say(b"STLS").startswith(b"-ERR")
    with Smtp(server, "submission") as smtp:
        smtp.log_in(user)
        assert smtp.say(b"STARTTLS").startswith(b"503")


def test_B10_handshakes_that_are_left_alone_disturb_nobody(server: Server, bystander: str) -> None:
    """Nothing, a part of a hello, and rubbish, on each service with TLS."""
    with ExitStack() as stack, served(server, bystander) as pulse:
        for service in ("submissions", "imaps", "pop3s"):
            for hello in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.0\r\n\r\n", b"\x80\x2e\x01") * 10:
                made = socket.create_connection((server.host, server.ports[service]), 10)
                stack.callback(made.close)
                made.sendall(hello)
        beats = pulse.beats
        eventually(lambda: pulse.beats > beats + 5)
    assert "Traceback" not in server.log()


def test_B14_random_names_cost_no_memory(server: Server, bystander: str) -> None:
    """The rest of the case is in tests/tls; here it is a process that has them."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def hello(number: int) -> None:
        with (
            socket.create_connection((server.host, server.ports["imaps"]), 10) as made,
            context.wrap_socket(made, server_hostname=f"n{number}.{'x' * 50}.example") as wrapped,
        ):
            wrapped.recv(10)

    with served(server, bystander):
        for number in range(50):
            hello(number)
        before = resident(server)
        for number in range(50, 250):
            hello(number)
    assert resident(server) - before < 4_000_000


@pytest.mark.parametrize("how", ["fin", "reset", "close_notify"])
def test_B16_E7_a_truncated_message_leaves_nothing(server: Server, user: str, how: str) -> None:
    with Smtp(server) as smtp:
        smtp.say(b"STARTTLS")
        smtp.tls()
        smtp.say(b"EHLO x")
        smtp.begin(user)
        smtp.send(b"Subject: cut\r\n\r\n" + b"x\r\n" * 600_000)
        if how == "close_notify":
            assert isinstance(smtp.socket, ssl.SSLSocket)
            smtp.socket.settimeout(0.2)
            with suppress(OSError):
                smtp.socket.unwrap()
        elif how == "reset":
            smtp.reset()
        else:
            smtp.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: not leftovers(server))
    assert bodies(server, user) == []


def test_B13_certificates_are_reloaded_and_sessions_stay(tmp_path: Path) -> None:
    """New files on SIGHUP; a pair that does not match, or an empty file, changes nothing."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def issue(name: str) -> trustme.LeafCert:
        return trustme.CA().issue_cert("localhost", common_name=name)

    def write(certificate: trustme.LeafCert, its_key: trustme.LeafCert) -> None:
        cert.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        key.write_bytes(its_key.private_key_pem.bytes())
        key.chmod(0o600)

    def shown(server: Server) -> bytes:
        return ssl.PEM_cert_to_DER_cert(
            ssl.get_server_certificate((server.host, server.ports["imaps"]), timeout=10)
        )

    first, second = issue("first"), issue("second")
    write(first, first)
    tls = {"certificate": str(cert), "key": str(key)}
    with Server(tmp_path / "server", tls=tls, services=("imap", "imaps")) as server:
        old = shown(server)
        with Imap(server, "alice@example.org", "imaps") as imap:
            write(second, first)
            server.reload()
            eventually(lambda: server.log().count("reload") > 0 or server.log().count("certificate") > 0)
            assert shown(server) == old
            cert.write_bytes(b"")
            server.reload()
            assert shown(server) == old
            write(second, second)
            server.reload()
            eventually(lambda: shown(server) != old)
            imap.ok(b"SELECT INBOX")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("service", ["submissions", "imaps", "pop3s"])
def test_B11_old_versions_and_weak_ciphers(server: Server, service: str) -> None:
    for maximum, ciphers in (
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AES128+SHA256:!AESGCM:@SECLEVEL=0"),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = maximum
        context.set_ciphers(ciphers)
        with (
            socket.create_connection((server.host, server.ports[service]), 10) as made,
            pytest.raises((ssl.SSLError, ConnectionResetError)),
        ):
            context.wrap_socket(made)
