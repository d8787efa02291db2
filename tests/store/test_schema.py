"""I9: an index of every version becomes one of the latest, or stays what it was."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailserver.errors import TemporaryFailure
from mailserver.store.files import Uids, write_uids
from mailserver.store.index import database, schema
from mailserver.store.index.database import Index
from mailserver.store.store import MailStore
from tests.helpers.store import ALICE, Listener, account_dir, make_store, now

FIRST = (Path(__file__).parent / "versions" / "1.sql").read_text("utf-8")
VERSIONS = range(1, len(schema.STEPS) + 1)


def account_with_index(path: Path, version: int) -> MailStore:
    """An account of three messages whose index has this version; the store is not open."""
    store = make_store(path)
    folder = account_dir(store)
    for sub in ("cur", "new", "tmp"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(folder / database.FILE, isolation_level=None) as db:
        db.executescript(FIRST)
        for (name,) in db.execute("SELECT name FROM messages").fetchall():
            (folder / name).write_bytes(b"Subject: 1\n\nbody.\n"[:18])
        migrate_to(db, version)
    write_uids(str(folder), Uids(1700000000, 5, 9))
    (folder / "mailserver-keywords").write_text("".join(f"{n} k{n}\n" for n in range(27)))
    return store


def migrate_to(db: sqlite3.Connection, version: int) -> None:
    steps = schema.STEPS[:]
    del schema.STEPS[version:]
    try:
        schema.migrate(db, 1)
    finally:
        schema.STEPS[:] = steps


def version_of(store: MailStore) -> int:
    with sqlite3.connect(account_dir(store) / database.FILE) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def check(store: MailStore) -> None:
    """All that only the index knew is still known: it was not made anew."""
    mailbox = now(now(store.account(ALICE)).open("INBOX", Listener()))
    assert list(mailbox.uids) == [1, 3, 4] and mailbox.uidvalidity == 1700000000
    assert mailbox.flags == [8, 1 << 31, 0]
    assert list(mailbox.modseqs) == [5, 7, 4]
    assert list(mailbox.saved) == [1700000001, 1700000003, 1700000004]
    assert now(mailbox.expunged_since(8)) == [2]
    assert now(mailbox.rendered("ENVELOPE", [1])) == [b"KEPT"]
    assert not (account_dir(store) / database.DAMAGED).exists()
    assert version_of(store) == len(schema.STEPS)


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A version to come, of two statements."""
    step = ["ALTER TABLE messages ADD COLUMN colour TEXT", "UPDATE messages SET colour = 'red'"]
    monkeypatch.setattr(schema, "STEPS", [*schema.STEPS, step])
    return step


@pytest.mark.parametrize("version", VERSIONS)
def test_I9_an_index_of_any_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    check(account_with_index(tmp_path, version))


def test_a_new_index_has_the_tables_of_one_that_was_migrated(tmp_path: Path) -> None:
    def tables(store: MailStore) -> set[Any]:
        with sqlite3.connect(account_dir(store) / database.FILE) as db:
            rows = db.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
        return {(kind, name, " ".join((sql or "").split())) for kind, name, sql in rows}

    fresh = make_store(tmp_path / "fresh")
    now(fresh.account(ALICE))
    old = account_with_index(tmp_path / "old", 1)
    check(old)
    assert tables(fresh) == tables(old)


@pytest.mark.usefixtures("one_more")
@pytest.mark.parametrize("version", VERSIONS)
def test_I9_a_step_that_is_added_reaches_every_index(tmp_path: Path, version: int) -> None:
    store = account_with_index(tmp_path, version)
    Index.open(str(account_dir(store)), True).close()
    with sqlite3.connect(account_dir(store) / database.FILE) as db:
        assert db.execute("SELECT colour FROM messages").fetchall() == [("red",)] * 3


def test_I9_a_failure_in_the_middle_leaves_the_old_index(tmp_path: Path, one_more: list[str]) -> None:
    store = account_with_index(tmp_path, 1)
    before = version_of(store)
    db = sqlite3.connect(account_dir(store) / database.FILE, isolation_level=None)
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    one_more.append("CREATE TABLE more AS SELECT randomblob(100000)")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        schema.migrate(db, before)
    db.close()
    assert version_of(store) == before
    one_more.pop()
    Index.open(str(account_dir(store)), True).close()
    assert version_of(store) == len(schema.STEPS)


KILLED = """
import os, signal, sqlite3, sys
from mailserver.store.index import schema
from mailserver.store.index.database import Index
connect = sqlite3.connect
def deadly(*args, **kwargs):
    db = connect(*args, **kwargs)
    db.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    return db
sqlite3.connect = deadly
schema.STEPS.append(("ALTER TABLE folders ADD COLUMN more TEXT", "DELETE FROM expunged", "SELECT die()"))
Index.open(sys.argv[1], True)
"""


def test_I9_killed_in_the_middle(tmp_path: Path) -> None:
    store = account_with_index(tmp_path, 1)
    environment = {**os.environ, "PYTHONPATH": str(Path(database.__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(account_dir(store))], env=environment, check=False, timeout=60
    )
    assert done.returncode == -9
    assert version_of(store) == 1
    check(store)


def test_I9_a_later_index_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = account_with_index(tmp_path, 1)
    path = account_dir(store) / database.FILE
    later = len(schema.STEPS) + 1
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {later}")
    before = path.read_bytes()
    with pytest.raises(TemporaryFailure) as caught:
        now(store.account(ALICE))
    assert f"has version {later}" in str(caught.value.cause)
    assert path.read_bytes() == before
    assert sorted(p.name for p in account_dir(store).glob("mailserver-index*")) == [database.FILE]
