"""Python's POP3 client against a real server process, in clear, with STLS and with TLS from the start."""

from __future__ import annotations

import base64
import poplib
import smtplib
import ssl
from collections.abc import Iterator

import pytest

from tests.helpers.server import PASSWORD, Server, eventually

BIG = b"Subject: big\r\n\r\n" + b".\r\n" * 700_000  # 2.1 MB of dots: streamed in slices


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with Server(folder, services=("smtp", "pop3", "pop3s"), users=("alice", "jürgen")) as made:
        yield made


@pytest.fixture(scope="module")
def mail(server: Server) -> list[bytes]:
    """Three messages in alice's mailbox."""
    messages = [b"Subject: one\r\n\r\nhello\r\n", b"Subject: two\r\n\r\n.\r\n..dots\r\n", BIG]
    with smtplib.SMTP(server.host, server.ports["smtp"], timeout=60) as client:
        for message in messages:
            client.sendmail("sender@remote.example", ["alice@example.org"], message)
    return messages


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(server: Server, how: str) -> poplib.POP3:
    if how == "pop3s":
        port = server.ports["pop3s"]
        client: poplib.POP3 = poplib.POP3_SSL(server.host, port, timeout=60, context=unverified())
    else:
        client = poplib.POP3(server.host, server.ports["pop3"], timeout=60)
    if how == "stls":
        client.stls(unverified())
    return client


def log_in(client: poplib.POP3) -> None:
    client.user("alice@example.org")
    client.pass_(PASSWORD)


@pytest.mark.parametrize("how", ["clear", "stls", "pop3s"])
def test_all_messages_come_whole(server: Server, mail: list[bytes], how: str) -> None:
    client = connect(server, how)
    assert ("STLS" in client.capa()) == (how == "clear")
    log_in(client)
    assert "IMPLEMENTATION" in client.capa()

    count, octets = client.stat()
    sizes = [int(line.split()[1]) for line in client.list()[1]]
    assert (count, octets) == (3, sum(sizes))
    for number, sent in enumerate(mail, 1):
        lines = client.retr(number)[1]
        got = b"".join(line + b"\r\n" for line in lines)
        assert got.endswith(sent)
        assert len(got) == sizes[number - 1]
        assert got.startswith(b"Return-Path: <sender@remote.example>\r\n")
        top = b"".join(line + b"\r\n" for line in client.top(number, 1)[1])
        assert got.startswith(top) and top.endswith(b"\r\n".join(sent.split(b"\r\n")[:3]) + b"\r\n")
    assert len({line.split()[1] for line in client.uidl()[1]}) == 3
    client.quit()


def test_pipelining_on_one_segment(server: Server, mail: list[bytes]) -> None:
    client = connect(server, "clear")
    log_in(client)
    client.sock.sendall(b"NOOP\r\nRETR 1\r\nSTAT\r\nUIDL 2\r\nQUIT\r\n")
    answer = b"".join(iter(lambda: client.sock.recv(65536), b""))

    assert [line[:3] for line in answer.split(b"\r\n") if line.startswith((b"+", b"-"))] == [b"+OK"] * 5


def test_J2_QUIT_deletes_and_nothing_else_does(server: Server) -> None:
    with smtplib.SMTP(server.host, server.ports["smtp"], timeout=60) as smtp:
        for number in range(3):
            smtp.sendmail("sender@remote.example", ["alice@example.org"], f"Subject: {number}\r\n\r\nx\r\n")
    client = connect(server, "clear")
    log_in(client)
    before = client.uidl()[1]
    client.dele(len(before))
    client.close()

    client = connect(server, "clear")
    log_in(client)
    assert client.uidl()[1] == before
    client.dele(len(before))
    client.quit()

    client = connect(server, "clear")
    log_in(client)
    assert client.uidl()[1] == before[:-1]
    client.quit()


def test_RFC_6856_a_user_name_in_utf8(server: Server) -> None:
    client = connect(server, "stls")
    client.encoding = "UTF-8"
    client.utf8()
    client.user("jürgen@example.org")
    client.pass_(PASSWORD)

    assert client.stat() == (0, 0)
    client.quit()


def test_RFC_5034_PLAIN_in_one_and_in_two_steps(server: Server) -> None:
    response = base64.b64encode(f"\0alice@example.org\0{PASSWORD}".encode())
    for lines in ((b"AUTH PLAIN " + response,), (b"AUTH PLAIN", response)):
        client = connect(server, "stls")
        answers = []
        for line in lines:
            client.sock.sendall(line + b"\r\n")
            answers.append(client.file.readline())
        assert answers[-1].startswith(b"+OK ")
        assert answers[:-1] in ([], [b"+ \r\n"])
        client.quit()


def test_D12_no_password_in_the_log(server: Server) -> None:
    """Wrong ones, with spaces, mistyped commands, broken exchanges."""
    secret = b"tell nobody 7f3a"
    encoded = base64.b64encode(b"\0alice@example.org\0" + secret)
    client = connect(server, "clear")
    for line in (
        b"USER alice@example.org\r\nPASS " + secret,
        b"PAS " + secret,
        b"AUTH PLAIN " + encoded,
        b"AUHT PLAIN " + encoded,
        b"AUTH PLAIN\r\n" + encoded + b"=",
    ):
        client.sock.sendall(line + b"\r\n")
        while not client.file.readline().startswith(b"-ERR"):
            pass
    client.close()
    eventually(lambda: server.log().count("login") > 2)

    assert secret.decode() not in server.log()
    assert encoded.decode()[:20] not in server.log()


def test_a_graceful_stop_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Server(tmp_path_factory.mktemp("stop"), services=("pop3",)) as server:
        client = connect(server, "clear")
        log_in(client)

        assert server.stop() == 0
        assert client.file.readline() == b"-ERR [SYS/TEMP] The server stops, try again later\r\n"
        assert client.file.readline() == b""
        client.close()
