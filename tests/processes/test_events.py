"""What sessions of one worker are told of what sessions of the other do: NOTIFY, ACL, METADATA."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.helpers.server import Server, eventually
from tests.processes.test_workers import TEXT, Client, deliver, elsewhere, pair, settings

BOB = "bob@example.org"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    users = ("alice", "bob", "carol", "dave", "erin", "frank", "gina")
    with Server(tmp_path_factory.mktemp("events"), **settings(users=users)) as running:
        eventually(lambda: running.log().count(" is process ") == 2, 20, "two workers are ready")
        yield running


def say(client: Client, line: str) -> list[bytes]:
    """A command as it is written; all that is told until it is answered."""
    client.send(f"z {line}\r\n".encode())
    return _until(client, rb"z ")


def heard(client: Client, pattern: str) -> list[bytes]:
    """What comes unasked, up to a line that fits."""
    return _until(client, pattern.encode())


def _until(client: Client, pattern: bytes) -> list[bytes]:
    lines: list[bytes] = []
    while not lines or not re.match(pattern, lines[-1]):
        line = client.readline()
        assert line, lines
        lines.append(line.rstrip())
    return lines


def ok(client: Client, line: str) -> list[bytes]:
    lines = say(client, line)
    assert lines[-1].startswith(b"z OK"), lines
    return lines


def others(server: Server, user: str, other: str) -> tuple[Client, Client]:
    """Sessions of two users on different workers."""
    first = Client(server, user)
    return first, elsewhere(server, other, first)


# --- NOTIFY ---------------------------------------------------------------------------------------


def test_mailboxes_that_nobody_has_open(server: Server) -> None:
    """Messages that come, change and go by the other worker, and by delivery, in a mailbox that is in no
    memory here."""
    one, other = pair(server)
    ok(one, "CREATE Lists")
    ok(one, "NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))")
    ok(other, "APPEND Lists {1+}\r\nx")
    assert heard(one, r"\* STATUS")[-1].startswith(b"* STATUS Lists (MESSAGES 1 UIDNEXT 2")
    ok(other, "SELECT Lists")
    ok(other, "STORE 1 +FLAGS (\\Seen \\Deleted)")
    assert b"UNSEEN 0" in heard(one, r"\* STATUS")[-1]
    ok(other, "EXPUNGE")
    assert heard(one, r"\* STATUS")[-1].startswith(b"* STATUS Lists (MESSAGES 0")
    ok(one, "SELECT Lists")
    for _ in range(4):  # by both workers, whoever takes the connection
        deliver(server, "alice@example.org")
    assert b"MESSAGES 4" in heard(one, r"\* STATUS INBOX .*MESSAGES 4")[-1]
    for client in (one, other):
        client.logout()


def test_the_selected_mailbox(server: Server) -> None:
    one, other = pair(server, "carol")
    ok(one, "NOTIFY SET (selected (MessageNew (UID BODY.PEEK[TEXT]) MessageExpunge FlagChange))")
    ok(other, f"APPEND INBOX {{{len(TEXT)}+}}\r\n{TEXT.decode()}")
    lines = heard(one, r"\)")
    assert lines[0] == b"* 1 EXISTS" and any(
        line.startswith(b"* 1 FETCH (UID 1 BODY[TEXT]") for line in lines
    )
    ok(other, "STORE 1 +FLAGS (\\Deleted $Work)")
    assert b"\\Deleted" in heard(one, r"\* 1 FETCH")[-1]
    ok(other, "EXPUNGE")
    assert heard(one, r"\* 1 EXPUNGE")
    for client in (one, other):
        client.logout()


def test_names_subscriptions_and_annotations(server: Server) -> None:
    one, other = pair(server, "dave")
    ok(
        one,
        "NOTIFY SET (personal (MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange))",
    )
    ok(other, "CREATE Plans")
    assert heard(one, r"\* LIST")[-1] == b'* LIST (\\HasNoChildren) "/" Plans'
    ok(other, "SUBSCRIBE Plans")
    assert heard(one, r"\* LIST")[-1] == b'* LIST (\\HasNoChildren \\Subscribed) "/" Plans'
    ok(other, "RENAME Plans Ideas")
    assert heard(one, r"\* LIST")[-1] == b'* LIST (\\HasNoChildren) "/" Ideas ("OLDNAME" (Plans))'
    ok(other, 'SETMETADATA Ideas (/private/comment "new")')
    assert heard(one, r"\* METADATA")[-1] == b"* METADATA Ideas /private/comment"
    ok(other, 'SETMETADATA "" (/private/comment "all")')
    assert heard(one, r"\* METADATA")[-1] == b'* METADATA "" /private/comment'
    ok(other, "DELETE Ideas")
    assert heard(one, r"\* LIST")[-1].startswith(b"* LIST (\\NonExistent")
    for client in (one, other):
        client.logout()


def test_another_program_delivers_where_nobody_looks(server: Server) -> None:
    """Both workers notice, and each session is told once."""
    one, other = pair(server, "gina")
    ok(one, "CREATE Lists")
    for client in (one, other):
        ok(client, "NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))")
    for number in range(1, 4):
        (server.maildir("gina") / ".Lists" / "new" / f"{number}.foreign").write_bytes(b"Subject: x\n\nx\n")
        for client in (one, other):
            assert heard(client, r"\* STATUS")[-1].startswith(b"* STATUS Lists (MESSAGES %d " % number)
    for client in (one, other):
        assert ok(client, "NOOP") == [b"z OK NOOP completed"]
        client.logout()


# --- METADATA -------------------------------------------------------------------------------------


def test_annotations_are_told_to_who_enabled_them_and_read_afresh(server: Server) -> None:
    one, other = pair(server, "erin")
    ok(one, "ENABLE METADATA")
    ok(other, 'SETMETADATA INBOX (/shared/comment "one")')
    assert b"* METADATA INBOX /shared/comment" in ok(one, "NOOP")
    for number in range(5):
        ok(other, f'SETMETADATA INBOX (/private/comment "{number}")')
        assert ok(one, "GETMETADATA INBOX /private/comment")[0].endswith(b'"%d")' % number)
    for client in (one, other):
        client.logout()


# --- ACL ------------------------------------------------------------------------------------------


def test_rights_that_are_granted_and_taken_away(server: Server) -> None:
    """At once, in sessions of the other worker: in LIST and SELECT, in a mailbox that is open, and told to
    who watches."""
    alice, bob = others(server, "frank", "bob")
    root = "Other Users/frank@example.org/Work"
    ok(alice, "CREATE Work")
    ok(
        bob,
        "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange)) (subtree "
        '"Other Users" (MessageNew MessageExpunge MailboxName))',
    )
    assert say(bob, f'SELECT "{root}"')[-1].startswith(b"z NO")
    ok(alice, f"SETACL Work {BOB} lrs")
    assert any(root.encode() in line for line in heard(bob, r"\* LIST"))
    assert f'"{root}"'.encode() in b"".join(ok(bob, 'LIST "" "Other Users/*"'))
    ok(alice, "APPEND Work {1+}\r\nx")
    assert b"MESSAGES 1" in heard(bob, r"\* STATUS")[-1]
    lines = ok(bob, f'SELECT "{root}"')
    assert b"* 1 EXISTS" in lines and any(b"PERMANENTFLAGS (\\Seen)" in line for line in lines)
    assert say(bob, "STORE 1 +FLAGS (\\Flagged)")[-1].startswith(b"z NO")
    ok(alice, f"SETACL Work {BOB} lrsw")
    ok(bob, "STORE 1 +FLAGS (\\Flagged)")
    ok(alice, f"DELETEACL Work {BOB}")
    lines = _until(bob, rb"\* BYE")
    assert lines[-1].startswith(b"* BYE")
    bob.shutdown()
    alice.logout()
