"""Ports behind a load balancer: the PROXY header before everything, and whose word counts."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from mailserver.net.proxied import HEADER_SECONDS, Gate, ProxiedFactory
from tests.helpers.server import PASSWORD, Server, eventually, free_port
from tests.smtp.service import Transport, World
from tests.wire.test_proxy import version_2

V1 = b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 25\r\n"
V2 = version_2(0x21, 0x11, bytes([198, 51, 100, 7, 192, 0, 2, 1, 1, 0, 0, 25, 4, 0, 0]))
LOCAL = version_2(0x20, 0, b"")
BALANCER = IPv4Address("TCP", "10.0.0.5", 5000)


class Port:
    """A port of the MX service, behind 10.0.0.0/24."""

    def __init__(self, **limits: int) -> None:
        self.world = World(proxy={"networks": ("10.0.0.0/24",)}, limits=limits)
        self.factory = ProxiedFactory(self.world.factory, self.world.factory)

    def connect(self, addr: Any = BALANCER) -> Transport | None:
        protocol = self.factory.buildProtocol(addr)
        if protocol is None:
            return None
        transport = Transport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    def say(self, transport: Transport, data: bytes) -> bytes:
        transport.protocol.dataReceived(data)
        self.world.clock.advance(0)
        said: bytes = transport.value()
        transport.clear()
        return said

    def refused(self) -> list[str]:
        return [event["reason"] for event in self.world.audit.named("refused") if "reason" in event]


def test_the_client_is_the_one_told() -> None:
    port = Port()
    transport = port.connect()
    assert transport is not None
    assert port.say(transport, V1[:10]) == b""
    assert not port.world.audit.events
    assert port.say(transport, V1[10:] + b"EHLO c\r\n").startswith(
        b"220 mail.example.org ESMTP ready\r\n250-"
    )
    assert [event["ip"] for event in port.world.audit.named("connected")] == ["198.51.100.7"]
    peer = transport.protocol.peer
    assert (peer.ip, peer.port, peer.server_ip, peer.server_port) == ("198.51.100.7", 40000, "192.0.2.1", 25)
    port.say(transport, b"MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n")
    port.say(transport, b"Subject: x\r\n\r\n.\r\n")
    assert b"from c ([198.51.100.7])" in port.world.acceptor.messages[0][1]


def test_E9_the_limit_of_connections_is_the_clients() -> None:
    port = Port(connections_per_ip=2)
    first, second, third, other = (port.connect() for _ in range(4))
    assert first and second and third and other
    assert [port.say(one, V1)[:4] for one in (first, second, third)] == [b"220 ", b"220 ", b"421 "]
    assert port.say(other, V1.replace(b".7 ", b".8 "))[:4] == b"220 "
    assert port.world.audit.named("refused")[0]["ip"] == "198.51.100.7"
    first.protocol.connectionLost(Failure(ConnectionDone()))
    again = port.connect()
    assert again and port.say(again, V1)[:4] == b"220 "


def test_a_health_check_is_the_balancers_own() -> None:
    port = Port()
    for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
        transport = port.connect()
        assert transport is not None
        assert port.say(transport, header)[:4] == b"220 "
        assert port.world.audit.named("connected")[-1]["ip"] == "10.0.0.5"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"EHLO c\r\n", "no PROXY header"),
        (b"PROXY TCP4 x y 1 2\r\n", "not a PROXY line"),
        (version_2(0x21, 0x12, b"x" * 12), "a PROXY header for family and transport 0x12"),
    ],
)
def test_a_balancer_that_sends_none_is_refused(data: bytes, reason: str) -> None:
    port = Port()
    transport = port.connect()
    assert transport is not None
    assert port.say(transport, data) == b""
    assert transport.aborted
    assert port.refused() == [reason]
    assert not port.world.clock.getDelayedCalls()


def test_E1_a_header_has_its_time() -> None:
    port = Port()
    transport = port.connect()
    assert transport is not None
    for octet in V1[:9]:
        port.say(transport, bytes([octet]))
        port.world.clock.advance(1)
    assert not transport.aborted
    port.world.clock.advance(HEADER_SECONDS - 9)
    assert transport.aborted
    assert port.refused() == ["no PROXY header in time"]


def test_a_balancer_that_goes_leaves_nothing() -> None:
    port = Port()
    transport = port.connect()
    assert transport is not None
    transport.protocol.connectionLost(Failure(ConnectionDone()))
    assert not port.world.clock.getDelayedCalls()
    assert port.refused() == []


def test_nobody_else_may_connect() -> None:
    port = Port()
    assert port.connect(IPv4Address("TCP", "198.51.100.7", 5000)) is None
    assert port.refused() == ["not one of proxy.networks"]
    port.world.settings.change(proxy={"networks": ("198.51.100.0/24",)})
    assert port.connect(IPv4Address("TCP", "198.51.100.7", 5000)) is not None


def test_a_unix_socket_is_for_whom_its_mode_lets_in() -> None:
    port = Port()
    transport = port.connect(UNIXAddress(b""))
    assert transport is not None and isinstance(transport.protocol, Gate)
    assert port.say(transport, V1)[:4] == b"220 "


def test_A19_an_ordinary_port_knows_no_header() -> None:
    world = World()
    for header in (V1, version_2(0x21, 0x11, bytes(12))):
        client = world.connect()
        said = client.say(header + b"MAIL FROM:<>\r\n")
        assert said
        assert {line[0] for line in said} <= {"4", "5"}
    assert not world.audit.named("received")


# --- a real server ---------------------------------------------------------------------------------


class Brought(smtplib.SMTP):
    """A client that a balancer brings."""

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:
        return brought(port)


def brought(port: int, header: bytes = V1) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 20)
    connection.sendall(header)
    return connection


class Imap(imaplib.IMAP4):
    def __init__(self, sock: socket.socket) -> None:
        self._made = sock
        super().__init__()

    def _create_socket(self, timeout: Any) -> socket.socket:
        return self._made


class Pop3(poplib.POP3):
    def __init__(self, sock: socket.socket) -> None:
        self._made = sock
        super().__init__("balancer")

    def _create_socket(self, timeout: Any) -> socket.socket:
        return self._made


def in_tls(sock: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_services_of_a_server(tmp_path: Path, workers: int) -> None:
    services = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")
    ports = {service: free_port() for service in services}
    listen = {service: [f"haproxy:tcp:{port}:interface=127.0.0.1"] for service, port in ports.items()}
    more: dict[str, Any] = {"services": ("smtp",), "keys": {"workers": workers}}
    proxy = {"networks": ["127.0.0.1"]}
    with Server(tmp_path, listen=listen, proxy=proxy, **more) as server:
        eventually(lambda: "pop3s on " in server.log(), what="all ports are open")
        for header in (V1, V2):
            sessions: list[Any] = []
            for service in ("imaps", "pop3s"):
                sock = in_tls(brought(ports[service], header))
                sessions.append(Imap(sock) if service == "imaps" else Pop3(sock))
            sessions += [Imap(brought(ports["imap"], header)), Pop3(brought(ports["pop3"], header))]
            for session in sessions:
                if isinstance(session, imaplib.IMAP4):
                    assert session.login("alice", PASSWORD)[0] == "OK"
                    session.logout()
                else:
                    session.user("alice")
                    assert session.pass_(PASSWORD).startswith(b"+OK")
                    session.quit()
            sock = in_tls(brought(ports["submissions"], header))
            assert sock.recv(100).startswith(b"220 ")
            sock.close()
        with Brought("127.0.0.1", ports["submission"]) as client:
            client.starttls(context=ssl._create_unverified_context())
            client.login("alice", PASSWORD)
            client.sendmail("alice@example.org", ["bob@example.org"], "Subject: x\r\n\r\n")
        with Brought("127.0.0.1", ports["smtp"]) as client:
            client.sendmail("x@elsewhere.example", ["bob@example.org"], "Subject: x\r\n\r\n")
        without = socket.create_connection(("127.0.0.1", ports["imaps"]), 20)
        with pytest.raises(OSError):
            in_tls(without)
        without.close()
        refused = 'refused service=imaps ip=127.0.0.1 reason="no PROXY header"'
        eventually(lambda: refused in server.log())
        lines = [line for line in server.log().splitlines() if " login " in line or " received " in line]
        assert len(lines) == 8 + 1 + 2
        assert all(" ip=198.51.100.7 " in line for line in lines)
