"""Log-in on a real server: every kind of hash, SCRAM on all protocols, floods, and what the log holds."""

from __future__ import annotations

import base64
import imaplib
import re
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from scramp import ScramClient

from mailserver.auth.passwords import SCHEMES, hash_password
from tests.helpers.server import Server, eventually

SECRET = "correct horse 7 batteries"
SERVICES = ("submission", "imap", "pop3")


class Lines:
    """A connection on which lines go both ways."""

    def __init__(self, server: Server, service: str) -> None:
        self.socket = socket.create_connection((server.host, server.ports[service]), timeout=30)
        self.file = self.socket.makefile("rb")
        self.service = service
        self.read()
        if service == "submission":
            self.say(b"EHLO client.example")

    def read(self) -> bytes:
        """A reply without its CRLF, the last line of it."""
        while True:
            line = self.file.readline()
            if not re.match(rb"\d\d\d-|\* ", line) or line.startswith(b"* OK"):
                return line.rstrip(b"\r\n")

    def say(self, line: bytes) -> bytes:
        self.socket.sendall(line + b"\r\n")
        return self.read()

    def begin(self, mechanism: str, initial: bytes) -> bytes:
        verb = {"submission": "AUTH", "imap": "a AUTHENTICATE", "pop3": "AUTH"}[self.service]
        return self.say(f"{verb} {mechanism} ".encode() + base64.b64encode(initial))

    def challenge(self, line: bytes) -> bytes:
        sign = {"submission": b"334 ", "imap": b"+ ", "pop3": b"+ "}[self.service]
        assert line.startswith(sign), line
        return base64.b64decode(line[len(sign) :])

    def is_ok(self, line: bytes) -> bool:
        return line.startswith({"submission": b"235 ", "imap": b"a OK", "pop3": b"+OK"}[self.service])

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One user of each scheme, without penalties."""
    users = {scheme: hash_password(SECRET, scheme) for scheme in SCHEMES}
    with Server(
        tmp_path_factory.mktemp("server"), users=users, services=SERVICES, auth={"max_failures": 100}
    ) as made:
        yield made


@pytest.fixture
def connections() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(server: Server, service: str, connections: ExitStack) -> Lines:
    made = Lines(server, service)
    connections.callback(made.close)
    return made


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme(server: Server, connections: ExitStack, scheme: str, service: str) -> None:
    for _ in range(2):  # the second comes from the cache
        right = connect(server, service, connections).begin("PLAIN", f"\0{scheme}\0{SECRET}".encode())
        assert b"OK" in right or right.startswith(b"235 ")
    wrong = connect(server, service, connections).begin("PLAIN", f"\0{scheme}\0{SECRET}x".encode())
    assert re.match(rb"535 5.7.8 |a NO \[AUTHENTICATIONFAILED\] |-ERR \[AUTH\] ", wrong)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("user", ["plain", "scram-sha-256@example.org"])
def test_scram(server: Server, connections: ExitStack, user: str, service: str) -> None:
    lines = connect(server, service, connections)
    client = ScramClient(["SCRAM-SHA-256"], user, SECRET)
    first = lines.challenge(lines.begin("SCRAM-SHA-256", client.get_client_first().encode()))
    client.set_server_first(first.decode())
    final = lines.say(base64.b64encode(client.get_client_final().encode()))
    client.set_server_final(lines.challenge(final).decode())
    assert lines.is_ok(lines.say(b""))


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("user", ["plain", "argon2id", "nobody"])
def test_D1_scram_fails_alike(server: Server, connections: ExitStack, user: str, service: str) -> None:
    lines = connect(server, service, connections)
    client = ScramClient(["SCRAM-SHA-256"], user, "wrong")
    first = lines.challenge(lines.begin("SCRAM-SHA-256", client.get_client_first().encode()))
    client.set_server_first(first.decode())
    reply = lines.say(base64.b64encode(client.get_client_final().encode()))
    assert re.fullmatch(rb"(535 5.7.8|a NO \[AUTHENTICATIONFAILED\]|-ERR \[AUTH\]) [A-Za-z ]+", reply)


@pytest.mark.parametrize("service", SERVICES)
def test_D5_D6_wrong_responses_and_then_a_right_one(
    server: Server, connections: ExitStack, service: str
) -> None:
    """State is reset by each, and others can log in meanwhile."""
    lines = connect(server, service, connections)
    for initial in (b"b\0plain\0" + SECRET.encode(), b"\0\0x", b"\0plain\0", b"\0plain\0x\0", b"\0plain"):
        assert not lines.is_ok(lines.begin("PLAIN", initial))
    for response in (b"*", b"=", b"AAA", b"A A=", b"A" * 4000 + b"="):
        lines.challenge(lines.begin("LOGIN", b"plain"))
        assert not lines.is_ok(lines.say(response))
    assert lines.is_ok(lines.begin("PLAIN", f"\0plain\0{SECRET}".encode()))


def test_D12_no_secret_in_the_log(tmp_path_factory: pytest.TempPathFactory, connections: ExitStack) -> None:
    """Right and wrong, mistyped, cut off: neither the octets nor their base64 are told."""
    secret = "hush-hush-8231"
    encoded = base64.b64encode(f"\0alice\0{secret}".encode())
    with Server(tmp_path_factory.mktemp("server"), users={"alice": "{PLAIN}" + secret}) as server:
        dialogs = {
            "submission": [
                b"AUTH PLAIN " + encoded, b"AUHT PLAIN " + encoded, b"AUTH PLAIN" + encoded,
                b"AUTH " + encoded, b"AUTH PLAIN " + encoded + b" x", secret.encode(), encoded,
            ],
            "imap": [
                b"a LOGIN alice " + secret.encode(), b'b LOGIN alice "' + secret.encode(),
                b"c LOGIM alice " + secret.encode(), b"d AUTHENTICATE PLAIN " + encoded, encoded,
                b"e LOGIN alice {14+}\r\n" + secret.encode(),
            ],
            "pop3": [
                b"USER alice\r\nPASS " + secret.encode() + b" b", b"PAS " + secret.encode(),
                b"PASS " + secret.encode(), b"AUTH PLAIN " + encoded, b"AUTHPLAIN " + encoded,
            ],
        }  # fmt: skip
        for service, dialog in dialogs.items():
            for line in dialog:
                connect(server, service, connections).say(line)
        assert eventually(lambda: server.log().count(" login ") == 6)
        connections.close()
    log = server.log()
    for form in (secret.encode(), encoded, base64.b64encode(secret.encode())):
        assert form.strip(b"=").decode() not in log


def test_D13_an_edit_of_the_users_file_takes_effect(
    tmp_path_factory: pytest.TempPathFactory, connections: ExitStack
) -> None:
    with Server(tmp_path_factory.mktemp("server"), users={"alice": hash_password("old")}) as server:
        assert logs_in(server, "old")
        server.passwords["alice@example.org"] = hash_password("new")
        started = time.monotonic()
        server.write()
        eventually(lambda: not logs_in(server, "old"))
        assert time.monotonic() - started < 10
        assert logs_in(server, "new")


def logs_in(server: Server, password: str) -> bool:
    client = imaplib.IMAP4(server.host, server.ports["imap"], timeout=30)
    try:
        return bool(client.login("alice", password)[0] == "OK")
    except imaplib.IMAP4.error:
        return False
    finally:
        client.logout()


def test_D4_a_flood_of_log_ins(tmp_path_factory: pytest.TempPathFactory, connections: ExitStack) -> None:
    """Everybody else is answered at once; beyond the backlog the answer is 454 4.7.0; then all is well."""
    auth = {"threads": 1, "backlog": 10}
    slow = hash_password(SECRET, "bcrypt")  # about 0.2 s each
    with Server(tmp_path_factory.mktemp("server"), users={"alice": slow}, auth=auth) as server:
        idle = connect(server, "submission", connections)
        flood = [connect(server, "submission", connections) for _ in range(300)]
        for number, lines in enumerate(flood):
            initial = base64.b64encode(b"\0alice\0guess%d" % number)
            lines.socket.sendall(b"AUTH PLAIN " + initial + b"\r\n")
        waits = []
        for _ in range(50):
            started = time.perf_counter()
            assert idle.say(b"NOOP").startswith(b"250 ")
            waits.append(time.perf_counter() - started)
        assert statistics.median(waits) < 0.1
        replies = [lines.read()[:10] for lines in flood]
        assert set(replies) == {b"454 4.7.0 ", b"535 5.7.8 "}
        assert replies.count(b"535 5.7.8 ") >= 11
        assert logs_in(server, SECRET)
