"""`mailserver mailbox list|verify|reindex`: what an administrator is told, and what becomes of the index."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mailserver.interfaces import StoreMode
from mailserver.store.index import database
from mailserver.store.store import MailStore
from tests.cli.test_commands import run
from tests.helpers.files import write_site
from tests.helpers.store import ALICE, Listener, account_dir, append, deliver, drop_file, make_store, now


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_site(tmp_path)


@pytest.fixture
def store(tmp_path: Path, site: Path) -> MailStore:
    """Three messages in the inbox, one of them in the archive too, and a keyword without a letter."""
    store = make_store(tmp_path / "data")
    for n in range(3):
        deliver(store, data=b"Subject: %d\n\n%b\n" % (n, b"x" * 100))
    account = now(store.account(ALICE))
    append(account, "Archive", b"Subject: old\n\n\n", ["\\Seen", *(f"k{n}" for n in range(30))])
    opened(store).uids
    return store


def opened(store: MailStore, folder: str = "INBOX", listener: Any = None) -> Any:
    return now(now(store.account(ALICE)).open(folder, listener or Listener()))


def settled(store: MailStore) -> None:
    """The directories were last read some time ago."""
    with sqlite3.connect(account_dir(store) / database.FILE) as db:
        db.execute("UPDATE folders SET new_young = 0, cur_young = 0")
    for row in index_rows(store, "SELECT dir, id FROM folders"):
        folder = account_dir(store) / row[0]
        times = [(folder / sub).stat().st_mtime_ns for sub in ("new", "cur")]
        with sqlite3.connect(account_dir(store) / database.FILE) as db:
            db.execute("UPDATE folders SET new_mtime = ?, cur_mtime = ? WHERE id = ?", (*times, row[1]))


def index_rows(store: MailStore, query: str) -> list[Any]:
    with sqlite3.connect(account_dir(store) / database.FILE) as db:
        return db.execute(query).fetchall()


def change(store: MailStore, statement: str) -> None:
    with sqlite3.connect(account_dir(store) / database.FILE) as db:
        db.execute(statement)


def faults(site: Path, *options: str) -> list[tuple[str, str]]:
    result = run("mailbox", "verify", ALICE, "--json", "-c", site, *options)
    found = json.loads(result.stdout)[0]["faults"]
    assert result.exit_code == (1 if found else 0)
    return [(fault["folder"], fault["kind"]) for fault in found]


# --- list ------------------------------------------------------------------------------------------


def test_list(site: Path, store: MailStore) -> None:
    lines = run("mailbox", "list", "alice", "-c", site).stdout.splitlines()
    assert lines[0].split() == ["folder", "messages", "unseen", "size", "uidvalidity", "use"]
    assert lines[1].split()[:3] == ["INBOX", "3", "3"]
    archive = next(line for line in lines if line.startswith("Archive"))
    assert archive.split()[1:3] == ["1", "0"] and archive.endswith("\\Archive")
    assert lines[-1].startswith("6 folders, 4 messages, ")


def test_list_for_programs(site: Path, store: MailStore) -> None:
    (account_dir(store) / ".New" / "cur").mkdir(parents=True)
    found = json.loads(run("mailbox", "list", ALICE, "--json", "-c", site).stdout)
    by_name = {one["folder"]: one for one in found}
    assert by_name["INBOX"]["uidvalidity"] == opened(store).uidvalidity
    assert by_name["INBOX"]["octets"] == sum(opened(store).sizes)
    assert by_name["New"]["indexed"] is False and by_name["Sent"]["special"] == "\\Sent"


def test_of_nobody(site: Path) -> None:
    for command in ("list", "verify", "reindex"):
        result = run("mailbox", command, "nobody@example.org", "-c", site)
        assert result.exit_code == 1 and "is no user" in result.stderr
        result = run("mailbox", command, "bob", "-c", site)
        assert result.exit_code == 1 and "no mail yet" in result.stderr
    assert run("mailbox", "verify", "-c", site).exit_code == 2


# --- verify ----------------------------------------------------------------------------------------


def test_nothing_is_wrong(site: Path, store: MailStore) -> None:
    result = run("mailbox", "verify", "--all", "-c", site)
    assert result.exit_code == 0
    assert result.stdout == f"{ALICE}: 4 messages, all is well\n"


def test_what_another_program_just_did_is_no_fault(site: Path, store: MailStore) -> None:
    settled(store)
    drop_file(account_dir(store), "1.1.other")
    next((account_dir(store) / "new").glob("*I=*-2")).unlink()
    assert faults(site) == []


def test_missing_and_unknown(site: Path, store: MailStore) -> None:
    drop_file(account_dir(store), "1.1.other")
    next((account_dir(store) / "new").glob("*I=*-2")).unlink()
    settled(store)
    assert faults(site) == [("INBOX", "missing"), ("INBOX", "unknown")]


def test_K5_a_copy_made_while_the_server_runs_is_put_back(
    site: Path, store: MailStore, tmp_path: Path
) -> None:
    """The UIDs are those of then, and none that was given since is given again."""
    inbox, account = opened(store), account_dir(store)
    index = shutil.ignore_patterns("mailserver-index*")
    shutil.copytree(account, tmp_path / "backup", ignore=index)
    deliver(store, data=b"Subject: later\n\n\n")
    given, validity = list(inbox.uids), inbox.uidvalidity
    now(store.stop())
    shutil.rmtree(account)
    shutil.copytree(tmp_path / "backup", account)
    back = make_store(tmp_path / "data")
    restored = opened(back)
    assert (list(restored.uids), restored.uidvalidity) == (given[:3], validity)
    deliver(back)
    assert restored.uids[-1] > given[-1]


def test_sizes(site: Path, store: MailStore) -> None:
    path = next((account_dir(store) / "new").glob("*I=*-2"))
    with path.open("ab") as file:
        file.write(b"more\n")
    assert faults(site) == [("INBOX", "size")]
    assert faults(site, "--quick") == []


def test_counters_and_numbers(site: Path, store: MailStore) -> None:
    change(store, "UPDATE folders SET unseen = 7, size = size + 1, uidnext = 3 WHERE dir = ''")
    assert faults(site) == [("INBOX", "uidnext"), ("INBOX", "counters"), ("INBOX", "counters")]


def test_duplicates(site: Path, store: MailStore) -> None:
    path = next((account_dir(store) / "new").glob("*I=*-2"))
    os.link(path, account_dir(store) / "cur" / (path.name + ":2,S"))
    (account_dir(store) / "cur" / f"9.9.mx{path.name[path.name.index(',') :]}:2,").write_bytes(b"\n")
    assert faults(site) == [("INBOX", "duplicate"), ("INBOX", "duplicate")]


def test_uidvalidity(site: Path, store: MailStore) -> None:
    now(store.stop())
    (account_dir(store) / ".Sent" / "mailserver-uidvalidity").write_bytes(
        (account_dir(store) / "mailserver-uidvalidity").read_bytes()
    )
    (account_dir(store) / ".Junk" / "mailserver-uidvalidity").write_bytes(b"")
    found = faults(site)
    assert found == [("Junk", "uidvalidity"), ("Sent", "uidvalidity"), ("Sent", "uidvalidity")]


def test_a_damaged_index(site: Path, store: MailStore) -> None:
    now(store.stop())
    path = account_dir(store) / database.FILE
    path.write_bytes(b"x" * 10000)
    assert faults(site) == [("", "index")]
    result = run("mailbox", "verify", ALICE, "-c", site)
    assert f"mailserver mailbox reindex {ALICE}" in result.stderr
    assert path.read_bytes() == b"x" * 10000  # left alone
    assert run("mailbox", "list", ALICE, "-c", site).exit_code == 1
    assert run("mailbox", "reindex", ALICE, "-c", site).exit_code == 0
    assert faults(site) == []


# --- reindex ---------------------------------------------------------------------------------------


def state(store: MailStore) -> list[Any]:
    found = []
    for name in ("INBOX", "Archive"):
        box = opened(store, name)
        names = [{box.keywords[k] for k in range(len(box.keywords)) if f >> 5 + k & 1} for f in box.flags]
        low = [f & 31 for f in box.flags]
        found.append((list(box.uids), low, names, list(box.sizes), list(box.saved), box.uidvalidity))
    return found


def test_reindex_while_a_server_runs(site: Path, store: MailStore) -> None:
    listener = Listener()
    mailbox = opened(store, listener=listener)
    now(mailbox.store([2], StoreMode.ADD, 8, None, None))  # no file name shows it yet
    before, highest, uidnext = state(store), mailbox.highestmodseq, mailbox.uidnext
    change(store, "UPDATE folders SET unseen = 7")
    result = run("mailbox", "reindex", ALICE, "-c", site)
    assert result.exit_code == 0 and "6 folders, 4 messages" in result.stdout
    assert state(store) == before
    assert ("gone",) in listener.take()
    fresh = opened(store)
    assert fresh.highestmodseq > highest and fresh.uidnext >= uidnext
    deliver(store)
    assert fresh.uids[-1] >= uidnext
    assert faults(site) == []


def test_K5_new_uids_after_an_older_copy_was_put_back(site: Path, store: MailStore) -> None:
    """Flags, keywords, sizes and special uses stay, and the sessions of a running server are told."""
    listener = Listener()
    opened(store, listener=listener)
    now(opened(store).store([2], StoreMode.ADD, 2, None, None))
    before = state(store)
    assert run("mailbox", "reindex", "--new-uids", ALICE, "-c", site).exit_code == 0
    after = state(store)
    assert ("gone",) in listener.take()
    for old, new in zip(before, after, strict=True):
        flags, keywords, sizes = old[1:4]
        assert (sorted(new[1]), sorted(new[3])) == (sorted(flags), sorted(sizes))
        assert new[2] == keywords
    assert [one[0] for one in after] == [[1, 2, 3], [1]]
    assert all(new[5] > max(old[5] for old in before) for new in after)
    assert len({one[5] for one in after}) == 2
    assert faults(site) == []
    special = {one["folder"]: one["special"] for one in listed(site)}
    assert special["Archive"] == "\\Archive"


def listed(site: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("mailbox", "list", ALICE, "--json", "-c", site).stdout)
    return found


def test_reindex_of_a_lost_index(site: Path, store: MailStore) -> None:
    before = state(store)
    now(store.stop())
    (account_dir(store) / database.FILE).unlink()
    assert faults(site) == [("", "index")]
    result = run("mailbox", "reindex", ALICE, "--json", "-c", site)
    assert json.loads(result.stdout) == [{"user": ALICE, "folders": 6, "messages": 4}]
    again = state(make_store(store.settings.now.data_dir))
    assert [one[0] for one in again] == [one[0] for one in before]
