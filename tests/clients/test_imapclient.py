"""IMAPClient: folders, flags, UIDPLUS, MOVE, IDLE, QUOTA as it understands our answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError, LoginError

from tests.clients.support import SECONDS, Account, message


def connect(account: Account) -> IMAPClient:
    return IMAPClient(
        "localhost", account.port("imaps"), ssl=True, ssl_context=account.context(), timeout=SECONDS
    )


@pytest.fixture
def client(account: Account) -> Iterator[IMAPClient]:
    made = connect(account)
    made.login(account.user, account.password)
    yield made
    made.logout()


def test_login_starttls(account: Account) -> None:
    client = IMAPClient("localhost", account.port("imap"), ssl=False, timeout=SECONDS)
    client.starttls(account.context())
    client.plain_login(account.user, account.password)
    client.logout()


def test_a_wrong_password(account: Account) -> None:
    client = connect(account)
    with pytest.raises(LoginError, match="AUTHENTICATIONFAILED"):
        client.login(account.user, "wrong")
    client.shutdown()


def test_capabilities(client: IMAPClient) -> None:
    wanted = {b"IMAP4REV1", b"IDLE", b"UIDPLUS", b"MOVE", b"SPECIAL-USE", b"NAMESPACE", b"QUOTA", b"ENABLE"}
    assert wanted <= set(client.capabilities())


def test_folders(client: IMAPClient) -> None:
    listed = {name: flags for flags, _, name in client.list_folders()}
    for name in ("Drafts", "Sent", "Junk", "Trash", "Archive"):
        assert b"\\" + name.encode() in listed[name]
    assert client.find_special_folder(b"\\Trash") == "Trash"
    client.create_folder("Reisen/Österreich & so")
    client.subscribe_folder("Reisen/Österreich & so")
    names = [name for _, delimiter, name in client.list_folders("Reisen/")]
    assert names == ["Reisen/Österreich & so"]
    client.rename_folder("Reisen", "Archive/Reisen")
    assert client.folder_exists("Archive/Reisen/Österreich & so")
    client.delete_folder("Archive/Reisen/Österreich & so")
    with pytest.raises(IMAPClientError, match="NONEXISTENT"):
        client.select_folder("Archive/Reisen/Österreich & so")


def test_append_fetch_search(client: IMAPClient) -> None:
    when = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
    answer = client.append(
        "INBOX", message("erste Nachricht", "Inhalt\n").as_bytes(), [b"\\Seen", b"$Forwarded"], when
    )
    assert b"APPENDUID" in answer
    client.append("INBOX", message("zweite").as_bytes())
    assert client.select_folder("INBOX")[b"EXISTS"] == 2
    client.normalise_times = False
    (first, second) = client.search()
    items = client.fetch([first], ["ENVELOPE", "FLAGS", "INTERNALDATE", "BODYSTRUCTURE", "BODY.PEEK[TEXT]"])[
        first
    ]
    assert items[b"ENVELOPE"].subject == b"erste Nachricht"
    assert {b"\\Seen", b"$Forwarded"} <= set(items[b"FLAGS"])
    assert items[b"INTERNALDATE"] == when
    assert items[b"BODYSTRUCTURE"][:2] == (b"text", b"plain")
    assert items[b"BODY[TEXT]"] == b"Inhalt\r\n"
    assert client.search(["UNSEEN"]) == [second]
    assert client.search(["TEXT", "Inhalt"]) == [first]
    assert client.search(["KEYWORD", "$Forwarded"]) == [first]
    assert client.search(["OR", "SUBJECT", "zweite", "SUBJECT", "dritte"]) == [second]


def test_flags_copy_move_expunge(client: IMAPClient) -> None:
    for number in range(5):
        client.append("INBOX", message(f"m{number}").as_bytes())
    client.select_folder("INBOX")
    uids = client.search()
    assert b"\\Flagged" in client.add_flags(uids[:2], [b"\\Flagged"])[uids[0]]
    assert b"\\Flagged" not in client.remove_flags(uids[0], [b"\\Flagged"])[uids[0]]
    client.copy(uids[:3], "Archive")
    client.move(uids[3:], "Trash")
    client.delete_messages(uids[:1])
    client.uid_expunge(uids[:1])
    assert client.search() == uids[1:3]
    status = client.folder_status("Archive", ["MESSAGES", "UIDNEXT", "UNSEEN"])
    assert status == {b"MESSAGES": 3, b"UIDNEXT": 4, b"UNSEEN": 3}
    assert client.folder_status("Trash", ["MESSAGES"])[b"MESSAGES"] == 2


def test_idle_hears_of_a_delivery(client: IMAPClient, account: Account) -> None:
    client.select_folder("INBOX")
    client.idle()
    account.deliver(message("news"))
    heard: list[object] = []
    while (1, b"EXISTS") not in heard:
        answers = client.idle_check(timeout=20)
        assert answers, "nothing came"
        heard += answers
    client.idle_done()
    assert client.search() == [1]


def test_two_sessions(client: IMAPClient, account: Account) -> None:
    client.append("INBOX", message("one").as_bytes())
    client.append("INBOX", message("two").as_bytes())
    client.select_folder("INBOX")
    other = connect(account)
    other.login(account.user, account.password)
    other.select_folder("INBOX")
    other.delete_messages(other.search()[:1])
    other.expunge()
    other.logout()
    assert (1, b"EXPUNGE") in client.noop()[1]
    assert client.search() == [2]


def test_namespace_quota_id(client: IMAPClient) -> None:
    assert client.namespace().personal == (("", "/"),)
    client.get_quota_root("INBOX")
    assert client.id_({"name": "test"})
    client.enable("UTF8=ACCEPT" if client.has_capability("UTF8=ACCEPT") else "CONDSTORE")


def test_a_shared_folder(client: IMAPClient, account: Account, other: Account) -> None:
    """ACL (RFC 4314): seen, read and copied by another user, and gone when it is withdrawn."""
    client.create_folder("Work")
    client.append("Work", b"Subject: shared\r\n\r\nbody\r\n")
    client.setacl("Work", other.user, "lrs")
    assert (other.user.encode(), b"lrs") in client.getacl("Work")
    folder = f"Other Users/{account.user}/Work"
    theirs = connect(other)
    theirs.login(other.user, other.password)
    try:
        assert folder in [name for _, _, name in theirs.list_folders("Other Users/", "*")]
        theirs.select_folder(folder)
        theirs.copy([1], "INBOX")
        theirs.add_flags([1], [b"\\Seen"])
        theirs.select_folder("INBOX")
        assert theirs.fetch([1], ["BODY[TEXT]"])[1][b"BODY[TEXT]"] == b"body\r\n"
        client.select_folder("Work")
        assert client.get_flags([1])[1] == (b"\\Seen", b"\\Recent")
        client.setacl("Work", other.user, "-lrs")
        assert theirs.list_folders("Other Users/", "*") == []
    finally:
        theirs.logout()
