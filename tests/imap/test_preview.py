"""PREVIEW (RFC 8970) over the real store."""

from __future__ import annotations

from typing import Any

import pytest

from mailserver.store import rendering
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, account_dir, deliver, make_store, now


@pytest.fixture
def client(store: Any, server: ImapServer) -> ImapClient:
    client = ImapClient(server, login=True)
    for text in (b"Preview text!", b"", "Grüße".encode(), b"Message 4 preview"):
        deliver(store, data=b"Subject: x\n\n%b\n" % text)
    client.say("s SELECT INBOX")
    return client


def test_example_1_of_the_rfc(client: ImapClient) -> None:
    client.dialog(
        """
        C: A1 FETCH 1 (PREVIEW)
        S: * 1 FETCH (PREVIEW "Preview text!")
        S: A1 OK FETCH completed
        C: A2 UID FETCH 1 (RFC822.SIZE PREVIEW FLAGS)
        S: * 1 FETCH (UID 1 FLAGS (\\Recent) RFC822.SIZE … PREVIEW "Preview text!")
        S: A2 OK FETCH completed
        """
    )
    assert client.send(b"b FETCH 3 PREVIEW\r\n").startswith(
        b"* 3 FETCH (PREVIEW {7}\r\nGr\xc3\xbc\xc3\x9fe)\r\n"
    )


def test_example_2_of_the_rfc(client: ImapClient) -> None:
    client.dialog(
        """
        C: A1 FETCH 1:2 PREVIEW
        S: * 1 FETCH (PREVIEW "Preview text!")
        S: * 2 FETCH (PREVIEW "")
        S: A1 OK FETCH completed
        C: B1 FETCH 1:4 (PREVIEW (LAZY) RFC822.SIZE)
        S: * 1 FETCH (RFC822.SIZE … PREVIEW "Preview text!")
        S: * 2 FETCH (RFC822.SIZE … PREVIEW "")
        S: * 3 FETCH (RFC822.SIZE … PREVIEW NIL)
        S: * 4 FETCH (RFC822.SIZE … PREVIEW NIL)
        S: B1 OK FETCH completed
        C: B2 FETCH 4 (PREVIEW)
        S: * 4 FETCH (PREVIEW "Message 4 preview")
        S: B2 OK FETCH completed
        """
    )


def test_it_is_made_once(store: Any, client: ImapClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.say("a FETCH 1:* PREVIEW")
    now(store.stop())
    monkeypatch.setattr(rendering, "preview", None)
    again = ImapClient(
        ImapServer(now(make_store(store.settings.now.data_dir).account(ALICE))), select="INBOX"
    )
    assert again.say("a FETCH 1 PREVIEW")[0] == '* 1 FETCH (PREVIEW "Preview text!")'


def test_a_message_that_is_gone(store: Any, client: ImapClient) -> None:
    for path in (account_dir(store) / "new").iterdir():
        if "Q2." in path.name:
            path.unlink()
    lines = client.say("a FETCH 1:2 PREVIEW")
    assert len([line for line in lines if "PREVIEW" in line]) in (1, 2)
    assert lines[-1].startswith(("a OK", "a NO [EXPUNGEISSUED]"))


def test_bad_modifiers(client: ImapClient) -> None:
    for item in ("PREVIEW (EAGER)", "(PREVIEW ())", "PREVIEW LAZY", "(PREVIEW (LAZY)", "PREVIEW[1]"):
        assert client.say(f"a FETCH 1 {item}")[-1].startswith("a BAD"), item
    assert client.say("a FETCH 4 preview (lazy LAZY)")[0] == "* 4 FETCH (PREVIEW NIL)"
