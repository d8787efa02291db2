"""Imports into a real account: what arrives, what a cut leaves, what a second run does; and exports back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mailserver.config.load import Loaded, load, read
from mailserver.store import files
from mailserver.transfer import importing
from mailserver.transfer.account import LocalAccount
from mailserver.transfer.exporting import MaildirTree, MboxFiles, export_all
from mailserver.transfer.importing import dry_run, nothing
from mailserver.transfer.journal import Journal
from mailserver.transfer.trees import Tree, folder_name
from mailserver.transfer.values import SourceError
from tests.helpers.files import CONFIG, write_site
from tests.transfer.samples import ALICE, FROM, bring, everything, held, mail, make_maildir, make_mbox

# --- mbox ------------------------------------------------------------------------------------------


def test_an_mbox_file(account: LocalAccount, tmp_path: Path) -> None:
    text = FROM + "Status: RO\nX-Status: F\nX-Keywords: Work\nSubject: a\n\n>From me\n\n"
    file = tmp_path / "Old Mail.mbox"
    file.write_text(text + FROM + mail(2) + "\n")
    report = bring(account, Tree(file))
    assert (report.total("imported"), report.failed, report.stopped) == (2, 0, "")
    found = held(account, "Old Mail")
    one = found[b"Subject: a\n\nFrom me\n"]
    assert one.flags == {"\\Seen", "\\Flagged", "Work"}
    assert one.date == 1795489654
    assert os.stat(account.ledger.path + "/.Old Mail/" + one.name).st_mtime == one.date
    assert "Old Mail" in account.subscriptions()


def test_again_brings_only_what_is_new(account: LocalAccount, tmp_path: Path) -> None:
    file = make_mbox(tmp_path / "a.mbox", range(5))
    bring(account, Tree(file))
    make_mbox(file, range(2, 8))  # its program has removed some and got others
    report = bring(account, Tree(file))
    assert (report.total("imported"), report.total("before")) == (3, 3)
    assert len(held(account, "a")) == 8
    assert bring(account, Tree(file), again=True).total("imported") == 6
    assert len(account.stored("a")) == 14


def test_from_another_directory_it_is_the_same(
    account: LocalAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_mbox(tmp_path / "a.mbox", range(3))
    make_maildir(tmp_path / "m", range(2))
    for name in ("a.mbox", "m"):
        bring(account, Tree(tmp_path / name))
        monkeypatch.chdir(tmp_path)
        assert bring(account, Tree(Path(name))).total("imported") == 0
    monkeypatch.chdir(tmp_path / "m")
    assert bring(account, Tree(Path("."))).total("imported") == 0


def test_equal_messages_of_a_file_all_come(account: LocalAccount, tmp_path: Path) -> None:
    file = tmp_path / "a.mbox"
    file.write_text((FROM + mail(1) + "\n") * 3)
    assert bring(account, Tree(file)).total("imported") == 3
    assert bring(account, Tree(file)).total("imported") == 0


def test_a_tree_of_thunderbird(account: LocalAccount, tmp_path: Path) -> None:
    make_mbox(tmp_path / "tb" / "Inbox", range(1))
    make_mbox(tmp_path / "tb" / "Work", range(2))
    make_mbox(tmp_path / "tb" / "Work.sbd" / "v1.0", range(3))
    (tmp_path / "tb" / "Inbox.msf").write_text("// <!-- <mdb:mork:z -->")
    (tmp_path / "tb" / "Drafts").write_text("")
    report = bring(account, Tree(tmp_path / "tb"))
    assert {one.name: one.imported for one in report.folders} == {"INBOX": 1, "Work": 2, "Work/v1_0": 3}


def test_into_a_folder_and_some_folders_only(account: LocalAccount, tmp_path: Path) -> None:
    make_mbox(tmp_path / "m" / "one", range(1))
    make_mbox(tmp_path / "m" / "two", range(1))
    report = bring(account, Tree(tmp_path / "m", into="Old/2019"), lambda name: name.endswith("two"))
    assert [one.name for one in report.folders] == ["Old/2019/two"]
    assert bring(account, Tree(tmp_path / "m" / "one", into="INBOX")).folders[0].name == "INBOX"
    assert len(account.stored("INBOX")) == 1


@pytest.mark.parametrize("text", ["no mbox\n", "\0\0\0"])
def test_a_file_that_is_none(account: LocalAccount, tmp_path: Path, text: str) -> None:
    file = tmp_path / "x"
    file.write_text(text)
    with pytest.raises(SourceError, match="no mbox file"):
        bring(account, Tree(file))


# --- Maildir ---------------------------------------------------------------------------------------


def test_a_maildir_tree(account: LocalAccount, tmp_path: Path) -> None:
    root = make_maildir(tmp_path / "Maildir", range(3), "RS")
    make_maildir(root / ".Work.Caf&AOk-", range(2), "PSa")
    (root / ".Work.Caf&AOk-" / "dovecot-keywords").write_text("0 Urgent\n")
    (root / "new" / "1700000009.M9.host").write_text("Subject: new\r\n\r\nx\r\n")
    make_maildir(root / ".Sent", range(1))
    report = bring(account, Tree(root))
    assert {one.name: one.imported for one in report.folders} == {"INBOX": 4, "Sent": 1, "Work/Café": 2}
    inbox = held(account, "INBOX")
    assert inbox[mail(1).encode()].flags == {"\\Seen", "\\Answered"}
    assert inbox[mail(1).encode()].date == 1_600_000_001
    assert inbox[b"Subject: new\n\nx\n"].flags == frozenset()
    assert held(account, "Work/Café")[mail(0).encode()].flags == {"\\Seen", "$Forwarded", "Urgent"}
    assert (root / "new" / "1700000009.M9.host").exists()  # nothing is changed there


def test_a_tree_of_maildirs(account: LocalAccount, tmp_path: Path) -> None:
    """As isync keeps them."""
    make_maildir(tmp_path / "mail" / "INBOX", range(1))
    make_maildir(tmp_path / "mail" / "Lists" / "twisted", range(2))
    make_maildir(tmp_path / "mail" / "Archive", range(1))
    make_maildir(tmp_path / "mail" / "Archive" / "2019", range(1))
    report = bring(account, Tree(tmp_path / "mail"))
    assert {one.name: one.imported for one in report.folders} == {
        "Archive": 1,
        "Archive/2019": 1,
        "INBOX": 1,
        "Lists/twisted": 2,
    }


def test_a_flag_that_changes_there_makes_no_second_message(account: LocalAccount, tmp_path: Path) -> None:
    root = make_maildir(tmp_path / "m", range(3))
    bring(account, Tree(root))
    for file in (root / "cur").iterdir():
        file.rename(f"{file}S")
    assert bring(account, Tree(root)).total("imported") == 0


def test_names_that_no_folder_can_have() -> None:
    assert folder_name(["a.b", "~c", "cur", "x\ny", ""]) == "a_b/_c/_cur/x_y/_"
    assert folder_name([]) == "INBOX"
    assert folder_name(["inbox", "x"]) == "INBOX/x"


# --- cut off ---------------------------------------------------------------------------------------


class Cut(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_import_that_was_cut_off_goes_on(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Between the note of what is to be filed and the filing, and between that and the note of what was."""
    monkeypatch.setattr(importing, "BATCH_MESSAGES", 4)
    root = make_maildir(tmp_path / "m", range(20))
    account = LocalAccount(loaded, ALICE)
    account.open()
    file, calls = LocalAccount.file, 0

    def cut(self: LocalAccount, name: str, messages: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3 and moment == "before":
            raise Cut
        outcomes = file(self, name, messages)
        if calls == 3:
            raise Cut
        return outcomes

    monkeypatch.setattr(LocalAccount, "file", cut)
    with pytest.raises(Cut):
        bring(account, Tree(root))
    account.close()
    monkeypatch.setattr(LocalAccount, "file", file)
    account = LocalAccount(loaded, ALICE)
    account.open()
    there = len(account.stored("INBOX"))
    assert there == (8 if moment == "before" else 12)
    report = bring(account, Tree(root))
    assert (report.total("before"), report.total("imported")) == (there, 20 - there)
    assert len(held(account, "INBOX")) == len(account.stored("INBOX")) == 20
    account.close()


def test_two_imports_at_once(account: LocalAccount, tmp_path: Path) -> None:
    journal = Journal(account.settings.now.data_dir, account.user)
    journal.open()
    with pytest.raises(SourceError, match="another import"):
        bring(account, Tree(make_maildir(tmp_path / "m", range(1))))
    journal.close()


def test_a_dry_run_does_nothing(account: LocalAccount, tmp_path: Path) -> None:
    journal = Journal(account.settings.now.data_dir, account.user)
    journal.open()
    tree = Tree(make_maildir(tmp_path / "m", range(3)), into="X")
    journal.begin(tree)
    assert dry_run(tree, journal, wanted=everything, told=nothing).total("imported") == 3
    journal.close()
    assert "X" not in [folder.name for folder in account.folders()]
    assert bring(account, tree).total("imported") == 3


# --- what cannot be --------------------------------------------------------------------------------


def test_a_message_that_is_too_large_is_told_and_the_others_come(tmp_path: Path) -> None:
    loaded = read(write_site(tmp_path, CONFIG + '[limits]\nmessage_size = "64 KiB"\n'))
    account = LocalAccount(loaded, ALICE)
    account.open()
    root = make_maildir(tmp_path / "m", range(2))
    (root / "cur" / "1.big.host:2,").write_bytes(b"Subject: x\n\n" + b"y" * 70_000)
    report = bring(account, Tree(root))
    assert report.total("imported") == 2
    assert report.folders[0].failed == {"1.big.host": "larger than limits.message_size"}
    account.close()


def test_a_full_quota_stops_and_more_quota_goes_on(tmp_path: Path) -> None:
    site = write_site(tmp_path, CONFIG + "[limits]\nquota = 100\n")
    root = make_maildir(tmp_path / "m", range(10))
    account = LocalAccount(read(site), ALICE)
    account.open()
    report = bring(account, Tree(root))
    assert "quota" in report.stopped.lower() or "full" in report.stopped.lower(), report.stopped
    assert 0 < report.total("imported") < 10
    account.close()
    site.write_text(CONFIG)
    account = LocalAccount(read(site), ALICE)
    account.open()
    assert bring(account, Tree(root)).stopped == ""
    assert len(held(account, "INBOX")) == len(account.stored("INBOX")) == 10
    account.close()


def test_more_keywords_than_a_folder_may_have(tmp_path: Path) -> None:
    loaded = read(write_site(tmp_path, CONFIG + "[limits]\nkeywords = 2\n"))
    account = LocalAccount(loaded, ALICE)
    account.open()
    file = tmp_path / "a"
    file.write_text("".join(f"{FROM}Status: R\nX-Keywords: k{n}\n{mail(n)}\n" for n in range(5)))
    assert bring(account, Tree(file)).total("imported") == 5
    assert all("\\Seen" in one.flags for one in account.stored("a"))
    assert len({flag for one in account.stored("a") for flag in one.flags}) == 3
    account.close()


# --- out again -------------------------------------------------------------------------------------


@pytest.fixture
def filled(account: LocalAccount, tmp_path: Path) -> LocalAccount:
    root = make_maildir(tmp_path / "filled", range(3), "RS")
    make_maildir(root / ".Archive.2026", range(2), "Fa")
    (root / ".Archive.2026" / "dovecot-keywords").write_text("0 Urgent\n")
    (root / "cur" / "9.from.host:2,").write_text("Subject: x\n\nFrom me\n>From you\nno line end")
    bring(account, Tree(root))
    return account


def contents(account: LocalAccount, name: str) -> set[tuple[bytes, frozenset[str], float]]:
    return {(data.rstrip(b"\n"), one.flags, one.date) for data, one in held(account, name).items()}


@pytest.mark.parametrize("form", ["maildir", "mbox"])
def test_an_export_is_what_an_import_reads(
    filled: LocalAccount, loaded: Loaded, tmp_path: Path, form: str
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    written: Any = MaildirTree(target) if form == "maildir" else MboxFiles(target)
    report = export_all(filled, written, everything, lambda one, whole: None)
    assert report.total("imported") == 6
    bob = LocalAccount(loaded, "bob@example.org")
    bob.open()
    bring(bob, Tree(target))
    for name in ("INBOX", "Archive/2026"):
        assert contents(bob, name) == contents(filled, name)
        assert contents(bob, name)
    bob.close()


def test_an_export_again_writes_what_is_missing(filled: LocalAccount, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export_all(filled, MaildirTree(target), everything, lambda one, whole: None)
    bring(filled, Tree(make_mbox(tmp_path / "more", range(7, 9)), into="INBOX"))
    report = export_all(filled, MaildirTree(target), everything, lambda one, whole: None)
    assert (report.total("imported"), report.total("before")) == (2, 6)
    assert b"Archive" in (target / files.SUBSCRIPTIONS).read_bytes()


def test_an_mbox_that_is_there_is_not_touched(filled: LocalAccount, tmp_path: Path) -> None:
    (tmp_path / "INBOX.mbox").write_text("mine")
    report = export_all(filled, MboxFiles(tmp_path), lambda name: name == "INBOX", lambda one, whole: None)
    assert report.failed == 1
    assert (tmp_path / "INBOX.mbox").read_text() == "mine"
    assert (tmp_path / "INBOX.mbox").exists()


def test_nothing_is_left_beside_the_mail(filled: LocalAccount, loaded: Loaded, tmp_path: Path) -> None:
    """Nor of a command that was killed, once another one has run; one that runs is left alone."""
    beside = load(filled.settings.now.path).mail_dir / ".importing"
    running = {one.name for one in beside.iterdir()}
    assert len(running) == 1
    killed = beside / "0123" / "incoming" / "1"
    killed.mkdir(parents=True)
    (killed / "a message").write_text("x")
    bob = LocalAccount(loaded, "bob@example.org")
    bob.open()
    bring(bob, Tree(make_mbox(tmp_path / "more", range(1))))
    bob.close()
    assert {one.name for one in beside.iterdir()} == running
    filled.close()
    assert list(beside.iterdir()) == []
