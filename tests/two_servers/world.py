"""A small internet on loopback: a DNS server, and mail servers on addresses of their own, all on one port.

Names: a.example is on 127.0.0.2, b.example on 127.0.0.3, other domains as a test writes them into the zone.
MX lookups never lead to this machine but where `relay.allow_loopback` says so, as here.
"""

from __future__ import annotations

import imaplib
import json
import smtplib
import socket
import subprocess
import sys
from collections.abc import Mapping
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import dns.message
import dns.query

from tests.helpers.server import PASSWORD, ROOT, Server, eventually, free_port

A, B = "127.0.0.2", "127.0.0.3"
ZONE: dict[str, Any] = {
    "a.example MX": ["10 mx.a.example."],
    "mx.a.example A": [A],
    "b.example MX": ["10 mx.b.example."],
    "mx.b.example A": [B],
}


class World:
    """dns: "127.0.0.1:PORT"; port: where all mail servers listen for mail from one another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _common_port(*(f"127.0.0.{number}" for number in (2, 3, 4, 5, 6, 12, 13)))
        self._zone = folder / "zone.json"
        self._zone.write_text(json.dumps(ZONE))
        self._zones = 0
        number = free_port()
        self.dns = f"127.0.0.1:{number}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.dns_server", str(number), str(self._zone)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith(b"DNS on"):
            raise AssertionError("the DNS server did not start")

    def zone(self, table: Mapping[str, Any]) -> None:
        """The names there are from now on, besides a.example and b.example."""
        self._zones += 1
        stamp = f"zone-{self._zones}.test"
        fresh = self._zone.with_suffix(".new")
        fresh.write_text(json.dumps(ZONE | dict(table) | {f"{stamp} A": ["192.0.2.1"]}))
        fresh.rename(self._zone)
        eventually(lambda: self._knows(stamp), what="the DNS server reads its zone")

    def _knows(self, name: str) -> bool:
        host, _, port = self.dns.partition(":")
        query = dns.message.make_query(name, "A")
        return bool(dns.query.udp(query, host, port=int(port), timeout=5).answer)

    def server(
        self,
        letter: str,
        address: str,
        users: tuple[str, ...],
        aliases: Mapping[str, list[str]] | None = None,
        **relay: Any,
    ) -> Server:
        """A server of the world, not yet started."""
        domain = f"{letter}.example"
        settings = {"resolver": self.dns, "port": self.port, "allow_loopback": True, "retry": ["1s"]} | relay
        return Server(
            self.folder / f"{letter}-{len(list(self.folder.iterdir()))}",
            domain=domain,
            hostname=f"mx.{domain}",
            users=users,
            aliases=aliases,
            host=address,
            services=("smtp", "submission", "imap"),
            ports={"smtp": self.port},
            relay=settings,
        )

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _common_port(*hosts: str) -> int:
    """A port that is free on all of them."""
    for _ in range(100):
        port = free_port(hosts[0])
        probes = [socket.socket() for _ in hosts]
        try:
            for probe, host in zip(probes, hosts, strict=True):
                probe.bind((host, port))
        except OSError:
            continue
        else:
            return port
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no port is free on all addresses")


def submit(server: Server, user: str, *to: str, subject: str, text: str = "Hello.\n") -> None:
    """A message from a user of the server, by submission with a log-in."""
    message = EmailMessage()
    message["From"] = f"{user}@{server.domain}"
    message["To"] = ", ".join(to)
    message["Subject"] = subject
    message.set_content(text)
    with smtplib.SMTP(server.host, server.ports["submission"], timeout=30) as client:
        client.login(f"{user}@{server.domain}", PASSWORD)
        client.send_message(message)


def inbox(server: Server, user: str) -> list[EmailMessage]:
    """All messages of a user, as IMAP gives them."""
    with imaplib.IMAP4(server.host, server.ports["imap"], timeout=30) as client:
        client.login(f"{user}@{server.domain}", PASSWORD)
        client.select("INBOX", readonly=True)
        answers = client.fetch("1:*", "(BODY.PEEK[])")[1]
        texts = [part[1].replace(b"\r\n", b"\n") for part in answers if isinstance(part, tuple)]
    return [BytesParser(_class=EmailMessage, policy=default).parsebytes(text) for text in texts]


def arrived(server: Server, user: str, subject: str, seconds: float = 20) -> EmailMessage:
    """The message with that subject, once it is there."""

    def look() -> EmailMessage | None:
        found = [message for message in inbox(server, user) if message["Subject"] == subject]
        return found[0] if found else None

    found: EmailMessage = eventually(look, seconds, f"{subject!r} arrives at {user}@{server.domain}")
    return found


def report(server: Server, user: str, recipient: str, action: str, seconds: float = 20) -> EmailMessage:
    """The delivery status notification about a recipient, once it is there (RFC 3464)."""

    def look() -> EmailMessage | None:
        for message in inbox(server, user):
            fields = status_of(message)
            if fields.get("action") == action and recipient in fields.get("final-recipient", ""):
                return message
        return None

    found: EmailMessage = eventually(look, seconds, f"a report about {recipient} ({action})")
    return found


def status_of(message: EmailMessage) -> dict[str, str]:
    """The fields of a report about one recipient, names in lower case; none in another message."""
    if message.get_content_type() != "multipart/report":
        return {}
    for part in message.iter_parts():
        if part.get_content_type() == "message/delivery-status":
            blocks: Any = part.get_payload()
            return {name.lower(): value for block in blocks for name, value in block.items()}
    return {}


def queue_is_empty(server: Server) -> bool:
    """Nothing waits, and nothing is on its way."""
    return not any(path.is_file() for path in (server.data / "queue" / "messages").rglob("*"))
