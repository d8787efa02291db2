"""Mail that is sent on by LMTP: to another server of ours, and to Dovecot."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.helpers.dovecot import Dovecot
from tests.helpers.server import PASSWORD, Server, eventually

FULL, WELL = "full@peer.example", "well@peer.example"
NOBODY = "nobody@peer.example"
TEXT = b"Subject: over there\r\n\r\n" + b"A line of some length, so that a small mailbox is full.\r\n" * 10


@pytest.fixture
def short() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


def front(folder: Path, route: str, **more: Any) -> Server:
    """A server that passes on what is for peer.example."""
    relay = {"routes": {"peer.example": route}, "retry": ["1s"], **more}
    return Server(folder, services=("submission", "imap"), relay=relay)


def submit(server: Server, *recipients: str, text: bytes = TEXT) -> None:
    with smtplib.SMTP(server.host, server.ports["submission"]) as client:
        client.login("alice@example.org", PASSWORD)
        client.sendmail("alice@example.org", recipients, text)


def events(server: Server, name: str) -> list[dict[str, str]]:
    """Lines of the event log, as words."""
    found = []
    for line in server.log().splitlines():
        _, _, rest = line.partition(" ")
        if rest.startswith(f"{name} "):
            words = [word.partition("=") for word in rest.split(" ")[1:]]
            found.append({key: value for key, _, value in words})
    return found


def inbox(server: Server, user: str) -> list[bytes]:
    folder = server.maildir(user)
    return [path.read_bytes() for part in ("new", "cur") for path in (folder / part).glob("*")]


@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_to_a_server_of_ours(tmp_path: Path, short: Path, over: str) -> None:
    """One is delivered at once, one waits until there is room, one is unknown and reported."""
    listen = {"lmtp": [f"unix:{short}/lmtp"]}
    more: dict[str, Any] = {"services": ("lmtp",), "listen": listen}
    back = Server(tmp_path / "b", domain="peer.example", users=("full", "well"), **more)
    users = back.folder / "users.toml"
    enough = users.read_text()
    users.write_text(enough.replace('[users."well', 'quota = "500"\n[users."well'))
    route = f"lmtp:unix:{short}/lmtp" if over == "unix" else f"lmtp:127.0.0.1:{back.ports['lmtp']}"
    with back, front(tmp_path / "a", route) as server:
        submit(server, FULL, WELL, NOBODY)
        eventually(lambda: len(events(server, "deferred")) >= 1, what=server.log())
        assert [one["to"] for one in events(server, "delivered") if "host" in one] == [WELL]
        assert [one["to"] for one in events(server, "bounced")] == [NOBODY]
        waits = events(server, "deferred")[0]
        assert waits["to"] == FULL
        socket = route.removeprefix("lmtp:")
        assert waits["host"] == (socket if over == "unix" else socket.replace("127.0.0.1", "[127.0.0.1]"))
        (text,) = inbox(back, "well")
        assert (b" with LMTP id " if over == "unix" else b" with LMTPS (") in text
        assert text.startswith(b"Return-Path: <alice@example.org>\n")
        users.write_text(enough)
        eventually(lambda: inbox(back, "full"), what=server.log())
        assert len(inbox(back, "well")) == 1
        eventually(lambda: inbox(server, "alice"))
        (report,) = inbox(server, "alice")
        assert b"Final-Recipient: rfc822; nobody@peer.example\nAction: failed\nStatus: 5.1.1\n" in report


def test_to_dovecot(tmp_path: Path) -> None:
    dovecot = Dovecot({"full": 100, "well": 0, "other": 0})
    with dovecot, front(tmp_path, f"lmtp:unix:{dovecot.socket}") as server:
        submit(server, FULL, WELL, NOBODY, "other@peer.example")
        eventually(lambda: len(events(server, "bounced")) == 2, what="two reports")
        assert {one["to"] for one in events(server, "bounced")} == {FULL, NOBODY}
        delivered = [one["to"] for one in events(server, "delivered") if "host" in one]
        assert sorted(delivered) == ["other@peer.example", WELL]
        for user in ("well", "other"):
            (text,) = dovecot.texts(user)
            assert text.endswith(TEXT.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n"))
        assert dovecot.texts("full") == []
        for _ in range(20):
            submit(server, WELL, "other@peer.example")
        eventually(lambda: len(dovecot.texts("other")) == len(dovecot.texts("well")) == 21)


def test_a_socket_that_is_not_there_makes_mail_wait(tmp_path: Path, short: Path) -> None:
    with front(tmp_path, f"lmtp:unix:{short}/lmtp") as server:
        submit(server, WELL)
        (first, *_) = eventually(lambda: events(server, "deferred"))
        assert first["to"] == WELL
        assert json.dumps(first).count("4.4.1") == 1
