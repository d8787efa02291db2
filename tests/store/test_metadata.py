"""Annotations on the disk: they follow the mailbox and do not depend on the index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mailserver.errors import MailError, NoSuchMailbox
from mailserver.store import metadata
from mailserver.store.index import database
from mailserver.store.store import MailStore
from tests.helpers.store import ALICE, account_dir, deliver, make_store, now

COMMENT = "/shared/comment"


@pytest.fixture
def store(tmp_path: Path) -> MailStore:
    return make_store(tmp_path)


def put(store: MailStore, name: str, **values: bytes | None) -> None:
    entries = {key.replace("_", "/"): value for key, value in values.items()}
    now(now(store.account(ALICE)).set_metadata(name, entries))


def get(store: MailStore, name: str) -> Mapping[str, bytes]:
    found: Mapping[str, bytes] = now(now(store.account(ALICE)).metadata(name))
    return {entry: value for entry, value in found.items() if "/specialuse" not in entry}


def refused(store: MailStore, name: str, entries: dict[str, Any]) -> str:
    with pytest.raises(MailError) as caught:
        now(now(store.account(ALICE)).set_metadata(name, entries))
    return caught.value.imap or ""


def test_it_follows_the_mailbox(store: MailStore) -> None:
    account = now(store.account(ALICE))
    now(account.create("a/b"))
    put(store, "a/b", _shared_comment=b"mine", _private_comment=b"\xff\0binary")
    now(account.rename("a", "c"))
    assert get(store, "c/b") == {COMMENT: b"mine", "/private/comment": b"\xff\0binary"}
    now(account.delete("c/b"))
    now(account.create("c/b"))
    assert get(store, "c/b") == {}
    with pytest.raises(NoSuchMailbox):
        get(store, "a/b")


def test_renaming_the_inbox_copies_it(store: MailStore) -> None:
    deliver(store)
    put(store, "INBOX", _shared_comment=b"mine")
    now(now(store.account(ALICE)).rename("INBOX", "old"))
    assert get(store, "inbox") == get(store, "old") == {COMMENT: b"mine"}


def test_it_survives_the_index(store: MailStore) -> None:
    put(store, "Sent", _shared_comment="ü\r\nzwei".encode())
    put(store, "", _private_vendor_x_y=b"of the server")
    now(store.stop())
    (account_dir(store) / database.FILE).unlink()
    again = make_store(store.settings.now.data_dir)
    assert get(again, "Sent") == {COMMENT: "ü\r\nzwei".encode()}
    assert get(again, "")["/private/vendor/x/y"] == b"of the server"


def test_bounds(store: MailStore) -> None:
    assert refused(store, "INBOX", {COMMENT: b"x" * 16385}) == "METADATA MAXSIZE 16384"
    put(store, "INBOX", **{f"_private_{n}": b"x" * 16384 for n in range(50)})
    assert (
        refused(store, "INBOX", {COMMENT: b"x", "/private/1": None, "/private/51": b"x"})
        == "METADATA TOOMANY"
    )
    assert len(get(store, "INBOX")) == 50 and COMMENT not in get(store, "INBOX")
    put(store, "INBOX", _private_1=None, _shared_comment=b"x")
    put(store, "INBOX", _private_2=b"changed")
    assert get(store, "INBOX")["/private/2"] == b"changed"


def test_all_or_none(store: MailStore) -> None:
    refused(store, "INBOX", {COMMENT: b"x", "/other/comment": b"x"})
    refused(store, "INBOX", {COMMENT: b"x", "/private/specialuse": b"\\Nonsense"})
    assert get(store, "INBOX") == {}


def test_of_the_server(store: MailStore) -> None:
    assert get(store, "") == {"/shared/admin": b"mailto:postmaster@example.org"}
    assert refused(store, "", {"/shared/admin": b"x"}) == "NOPERM"
    assert refused(store, "", {COMMENT: b"x"}) == "NOPERM"


def test_private_entries_are_each_users_own(store: MailStore) -> None:
    """Of a mailbox that several users may see."""
    put(store, "INBOX", _private_comment=b"alice's", _shared_comment=b"for all")
    path = account_dir(store) / metadata.FILE
    assert json.loads(path.read_text())["private"] == {ALICE: {"/private/comment": "alice's"}}
    assert path.stat().st_mode & 0o777 == 0o600
    others = now(now(store.account(ALICE)).run(metadata.get, "INBOX", "bob@example.org"))
    assert others == {COMMENT: b"for all"}


def test_special_use(store: MailStore) -> None:
    account = now(store.account(ALICE))
    now(account.create("x"))
    use = "/private/specialuse"
    assert now(account.metadata("Sent"))[use] == b"\\Sent"
    assert refused(store, "x", {use: b"\\Sent"}) == "USEATTR"
    assert refused(store, "INBOX", {use: b"\\Junk"}) == "USEATTR"
    now(account.set_metadata("Sent", {use: None}))
    now(account.set_metadata("x", {use: b"\\sent"}))
    assert {f.name: f.special_use for f in now(account.folders())}["x"] == "\\Sent"
    assert use not in now(account.metadata("Sent"))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"shared": {"/shared/a": 5}}', b'{"private": {"a": "b"}}']
)
def test_a_damaged_file_is_put_aside(store: MailStore, content: bytes) -> None:
    put(store, "INBOX", _shared_comment=b"x")
    path = account_dir(store) / metadata.FILE
    path.write_bytes(content)
    assert get(store, "INBOX") == {}
    put(store, "INBOX", _shared_comment=b"new")
    assert get(store, "INBOX") == {COMMENT: b"new"}
    assert path.with_name(path.name + "-damaged").read_bytes() == content


def test_a_change_raises_modseq(store: MailStore) -> None:
    """RFC 7162, 3.2: a client that comes back sees that there is something new."""

    def modseq() -> int:
        return int(now(now(store.account(ALICE)).status("INBOX")).highestmodseq)

    deliver(store)
    seen = [modseq()]
    for value in (b"mine", b"mine", b"yours", None, None):
        put(store, "INBOX", _shared_comment=value)
        seen.append(modseq())
    assert [after - before for before, after in pairwise(seen)] == [1, 0, 1, 1, 0]
    put(store, "", _private_comment=b"of the server")
    assert modseq() == seen[-1]
