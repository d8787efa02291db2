"""`mailserver mailbox import|export` as an administrator meets them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mailserver.cli import progress
from mailserver.cli.progress import Progress
from tests.cli.test_commands import run
from tests.helpers.files import write_site
from tests.transfer.samples import make_maildir, make_mbox


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_site(tmp_path)


def test_import_and_export(site: Path, tmp_path: Path) -> None:
    box = make_mbox(tmp_path / "Old.mbox", range(3))
    result = run("mailbox", "import", "alice", box, "-c", site)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "Old: 3 imported  (Old.mbox)\n3 messages imported, 0.0 MB; 0 were there\n"
    assert result.stderr == ""
    result = run("mailbox", "import", "alice@example.org", box, "-c", site)
    assert result.stdout.startswith("Old: 0 imported, 3 were there")
    result = run("mailbox", "export", "alice", tmp_path / "out", "--folder", "Old", "--json", "-c", site)
    told = json.loads(result.stdout)
    assert (told["user"], told["exported"], told["failed"]) == ("alice@example.org", 3, 0)
    assert len(os.listdir(tmp_path / "out" / ".Old" / "cur")) == 3


def test_a_dry_run(site: Path, tmp_path: Path) -> None:
    result = run(
        "mailbox", "import", "alice", make_maildir(tmp_path / "m", range(2)), "--dry-run", "-c", site
    )
    assert result.stdout.startswith("INBOX: 2 would be imported")


def test_patterns(site: Path, tmp_path: Path) -> None:
    root = make_maildir(tmp_path / "m", range(1))
    for name in (".Work", ".Work.2019", ".Lists"):
        make_maildir(root / name, range(1))
    result = run(
        *("mailbox", "import", "alice", root, "--folder", "Work*", "--folder", "INBOX"),
        *("--exclude", "*/2019", "--json", "-c", site),
    )
    assert [one["folder"] for one in json.loads(result.stdout)["folders"]] == ["INBOX", "Work"]


def test_what_does_not_come_is_told_and_the_status_says_so(site: Path, tmp_path: Path) -> None:
    site.write_text(site.read_text() + '[limits]\nmessage_size = "64 KiB"\n')
    root = make_maildir(tmp_path / "m", range(1))
    (root / "cur" / "1.big.host:2,").write_bytes(b"Subject: x\n\n" + b"y" * 70_000)
    result = run("mailbox", "import", "alice", root, "-c", site)
    assert result.exit_code == 1
    assert result.stderr == "    not 1.big.host: larger than limits.message_size\n"
    assert result.stdout.startswith("INBOX: 1 imported")


def test_as_another_user_than_the_servers(
    site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    result = run("mailbox", "import", "alice", make_maildir(tmp_path / "m"), "-c", site)
    assert result.exit_code == 1
    assert "run this as that user" in result.stderr


def test_nothing_that_is_mail(site: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("mailbox", "import", "alice", tmp_path / "empty", "-c", site)
    assert result.exit_code == 1
    assert result.stderr.endswith("empty holds no mbox file and no Maildir\n")


def test_the_help_teaches() -> None:
    for command in ("import", "export"):
        assert "Examples:" in run("mailbox", command, "--help").stdout


class Terminal:
    """What stderr is to a user who looks."""

    def __init__(self, seen: bool = True) -> None:
        self.text = ""
        self.isatty = lambda: seen

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        """Nothing waits."""


def test_progress_is_for_those_who_look(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    for seen in (False, True):
        terminal: Any = Terminal(seen)
        monkeypatch.setattr(progress.sys, "stderr", terminal)
        bar = Progress(clock=lambda: now[0])
        for number in range(0, 101, 10):
            now[0] += 0.05
            bar.tell("INBOX", number, 100, number)
        bar.end()
        if not seen:
            assert terminal.text == ""
    assert terminal.text.count("\r") == 6 + 2  # not for each message
    assert "100%  100 messages" in terminal.text
    assert terminal.text.endswith("\r")
