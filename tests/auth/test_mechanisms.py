"""A real server over TLS: -PLUS, EXTERNAL and tokens on all three protocols."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from scramp import ScramClient

from tests.helpers.server import PASSWORD, Server

SERVICES = ("submission", "imap", "pop3", "submissions", "imaps", "pop3s")


class Provider(BaseHTTPRequestHandler):
    """Whose token is good is the token itself."""

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        [token] = form["token"]
        good = token.startswith("of-")
        answer = {"active": good, "email": f"{token[3:]}@example.org", "scope": "mail"}
        body = json.dumps(answer if good else {"active": False}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/introspect"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    authority, file = trustme.CA(), tmp_path_factory.mktemp("ca") / "users-ca.pem"
    authority.cert_pem.write_to_path(file)
    return authority, file


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, provider: str, authority: tuple[trustme.CA, Path]
) -> Iterator[Server]:
    oauth = {"introspection": provider, "user_claim": "email", "scope": "mail"}
    with Server(
        tmp_path_factory.mktemp("server"),
        services=SERVICES,
        auth={"allow_cleartext": False, "max_failures": 100, "oauth": oauth},
        tls={"client_ca": str(authority[1])},
    ) as made:
        yield made


class Lines:
    """Lines inside TLS, after STARTTLS or with it from the start."""

    def __init__(self, server: Server, service: str, context: ssl.SSLContext | None = None) -> None:
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.protocol = service.removesuffix("s") if service != "submission" else service
        self.socket: Any = socket.create_connection((server.host, server.ports[service]), timeout=30)
        if service.endswith("s"):
            self.socket = context.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")
        self.read()
        if not service.endswith("s"):
            self.greet()
            self.say({"submission": b"STARTTLS", "imap": b"a STARTTLS", "pop3": b"STLS"}[self.protocol])
            self.socket = context.wrap_socket(self.socket)
            self.file = self.socket.makefile("rb")
        self.greet()

    def greet(self) -> None:
        if self.protocol == "submission":
            self.say(b"EHLO client.example")

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def read(self) -> bytes:
        while True:
            line: bytes = self.file.readline()
            if not re.match(rb"\d\d\d-|\* ", line) or line.startswith(b"* OK"):
                return line.rstrip(b"\r\n")

    def say(self, line: bytes) -> bytes:
        self.socket.sendall(line + b"\r\n")
        return self.read()

    def mechanisms(self) -> set[str]:
        ask, end = {
            "submission": (b"EHLO x", rb"250 "),
            "imap": (b"a CAPABILITY", rb"a "),
            "pop3": (b"CAPA", rb"\.\r"),
        }[self.protocol]
        self.socket.sendall(ask + b"\r\n")
        text = b""
        while not re.match(end, line := self.file.readline()):
            text += line
        words = (text + line).decode().split()
        return {word.removeprefix("AUTH=") for word in words}

    def begin(self, mechanism: str, initial: bytes) -> bytes:
        verb = "a AUTHENTICATE" if self.protocol == "imap" else "AUTH"
        encoded = base64.b64encode(initial) or b"="
        return self.say(f"{verb} {mechanism} ".encode() + encoded)

    def challenge(self, line: bytes) -> bytes:
        sign = b"334 " if self.protocol == "submission" else b"+ "
        assert line.startswith(sign), line
        return base64.b64decode(line[len(sign) :])

    def is_ok(self, line: bytes) -> bool:
        return line.startswith({"submission": b"235 ", "imap": b"a OK", "pop3": b"+OK"}[self.protocol])

    def is_failed(self, line: bytes) -> bool:
        return re.match(rb"535 5.7.8 |a NO \[AUTHENTICATIONFAILED\] |-ERR \[AUTH\] ", line) is not None


ALL = {"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2", "PLAIN"}


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_announced_inside_tls(server: Server, service: str) -> None:
    with closing(Lines(server, service)) as lines:
        found = lines.mechanisms()
        assert found >= ALL
        assert "EXTERNAL" not in found


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("right", [True, False])
def test_scram_plus(server: Server, service: str, right: bool) -> None:
    with closing(Lines(server, service)) as lines:
        data = hashlib.sha256(lines.socket.getpeercert(True)).digest()
        client = ScramClient(
            ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"],
            "alice",
            PASSWORD,
            channel_binding=("tls-server-end-point", data if right else data[::-1]),
        )
        first = lines.challenge(lines.begin(client.mechanism_name, client.get_client_first().encode()))
        client.set_server_first(first.decode())
        answer = lines.say(base64.b64encode(client.get_client_final().encode()))
        if right:
            client.set_server_final(lines.challenge(answer).decode())
            assert lines.is_ok(lines.say(b""))
        else:
            assert lines.is_failed(answer)


@pytest.mark.parametrize("service", SERVICES)
def test_a_downgrade_is_noticed(server: Server, service: str) -> None:
    """RFC 5802, 6"""
    with closing(Lines(server, service)) as lines:
        assert lines.is_failed(lines.begin("SCRAM-SHA-256", b"y,,n=alice,r=abc"))


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("response", [b"", b"alice@example.org", b"bob"])
def test_external(server: Server, authority: tuple[trustme.CA, Path], service: str, response: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority[0].issue_cert("alice@example.org").configure_cert(context)
    with closing(Lines(server, service, context)) as lines:
        assert "EXTERNAL" in lines.mechanisms()
        answer = lines.begin("EXTERNAL", response)
        assert lines.is_failed(answer) if response == b"bob" else lines.is_ok(answer)


def test_a_certificate_of_a_stranger_leaves_the_password(server: Server) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trustme.CA().issue_cert("alice@example.org").configure_cert(context)
    with closing(Lines(server, "imaps", context)) as lines:
        assert "EXTERNAL" not in lines.mechanisms()
        assert lines.begin("EXTERNAL", b"").startswith(b"a NO Unrecognized")
        assert lines.is_ok(lines.begin("PLAIN", f"\0alice\0{PASSWORD}".encode()))


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_tokens(server: Server, service: str, mechanism: str) -> None:
    head = "n,a=alice@example.org," if mechanism == "OAUTHBEARER" else "user=alice@example.org"
    with closing(Lines(server, service)) as lines:
        refused = lines.challenge(lines.begin(mechanism, f"{head}\x01auth=Bearer of-bob\x01\x01".encode()))
        assert json.loads(refused)["scope"] == "mail"
        assert lines.is_failed(lines.say(base64.b64encode(b"\x01") if mechanism == "OAUTHBEARER" else b""))
        assert lines.is_ok(lines.begin(mechanism, f"{head}\x01auth=Bearer of-alice\x01\x01".encode()))


def test_no_token_in_the_log(server: Server) -> None:
    with closing(Lines(server, "imaps")) as lines:
        lines.begin("OAUTHBEARER", b"n,,\x01auth=Bearer hush-hush-8231\x01\x01")
        lines.say(b"AQ==")
    text = (server.folder / "server.log").read_text()
    assert "mechanism=OAUTHBEARER result=failed" in text
    assert "hush-hush" not in text
    assert base64.b64encode(b"hush-hush-8231").decode()[4:-4] not in text
