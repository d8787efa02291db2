"""The commands beside a server that runs: its sessions see what came, and it goes on with the numbers."""

from __future__ import annotations

import imaplib
import json
import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.server import PASSWORD, ROOT, Server, eventually
from tests.transfer.samples import FROM, mail, make_maildir, make_mbox

ALICE = "alice@example.org"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "server", services=("imap", "smtp")) as made:
        yield made


def command(server: Server, *arguments: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "mailserver", *map(str, arguments), "-c", str(server.config)]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False, **how)


def log_in(server: Server) -> imaplib.IMAP4:
    imap = imaplib.IMAP4(server.host, server.ports["imap"])
    imap.login(ALICE, PASSWORD)
    return imap


def uids(server: Server, folder: str = "INBOX") -> list[int]:
    imap = log_in(server)
    imap.select(folder)
    found = [int(uid) for uid in imap.uid("SEARCH", "ALL")[1][0].split()]
    imap.logout()
    return found


def test_an_idle_session_is_told_and_uids_go_on(server: Server, tmp_path: Path) -> None:
    def deliver() -> None:
        with smtplib.SMTP(server.host, server.ports["smtp"]) as smtp:
            smtp.sendmail("x@elsewhere.example", ALICE, "Subject: x\r\n\r\nx\r\n")

    deliver()
    idle = log_in(server)
    idle.select("INBOX")
    idle.send(b"i IDLE\r\n")
    while not idle.readline().startswith(b"+"):
        pass
    done = command(server, "mailbox", "import", ALICE, make_maildir(tmp_path / "m", range(5), "S"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["imported"] == 5
    line = b""
    while line != b"* 6 EXISTS\r\n":
        line = idle.readline()
        assert line, "the session was never told"
    deliver()
    while line != b"* 7 EXISTS\r\n":
        line = idle.readline()
        assert line
    found = uids(server)
    assert len(found) == len(set(found)) == 7
    assert found == sorted(found)
    idle.send(b"DONE\r\n")
    while not line.startswith(b"i OK"):
        line = idle.readline()
        assert line
    fetched = idle.uid("FETCH", f"{found[1]}:{found[5]}", "(FLAGS)")[1]
    assert all(b"\\Seen" in line for line in fetched)


def test_a_new_folder_is_there_and_an_old_session_can_use_it(server: Server, tmp_path: Path) -> None:
    imap = log_in(server)
    assert not any(b"Old" in line for line in imap.list()[1])
    command(server, "mailbox", "import", ALICE, make_mbox(tmp_path / "Old", range(3)))
    assert any(b'"Old"' in line or b" Old" in line for line in imap.list()[1])
    assert imap.select("Old")[1] == [b"3"]
    imap.store("1", "+FLAGS", "\\Deleted")
    imap.expunge()
    assert len(uids(server, "Old")) == 2


def test_killed_in_the_middle_and_run_again(server: Server, tmp_path: Path) -> None:
    """As often as it takes; at the end each message is there once."""
    file = tmp_path / "Big"
    file.write_text("".join(FROM + mail(number) + "x" * 2000 + "\n\n" for number in range(6000)))
    line = [
        sys.executable,
        "-m",
        "mailserver",
        "mailbox",
        "import",
        ALICE,
        str(file),
        "-c",
        str(server.config),
    ]
    log_in(server).logout()
    folder = server.maildir(ALICE) / ".Big" / "new"
    for least in (1, 1500):
        with subprocess.Popen(
            line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            eventually(lambda least=least: folder.exists() and len(os.listdir(folder)) > least, 60)
            process.send_signal(signal.SIGKILL)
    done = command(server, "mailbox", "import", ALICE, file, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["before"] > 0
    assert json.loads(done.stdout)["imported"] < 6000
    imap = log_in(server)
    assert imap.select("Big")[1] == [b"6000"]
    subjects = [
        part[1]
        for part in imap.fetch("1:*", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]")[1]
        if isinstance(part, tuple)
    ]
    assert len(set(subjects)) == 6000


def test_export_beside_a_server(server: Server, tmp_path: Path) -> None:
    command(server, "mailbox", "import", ALICE, make_maildir(tmp_path / "m", range(3), "F"))
    done = command(server, "mailbox", "export", "alice", tmp_path / "out", "--format", "mbox")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "INBOX.mbox").read_text().count("\nX-Status: F\n") == 3
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["import", "nobody", "."], "nobody@example.org is no user (mailserver user add nobody@example.org)"),
        (["import", "a b@example.org", "."], "'a b@example.org' is no address of a user"),
    ],
)
def test_what_cannot_be_is_one_line(server: Server, arguments: list[str], told: str) -> None:
    done = command(server, "mailbox", *arguments)
    assert (done.returncode, done.stderr) == (1, f"mailserver: {told}\n")
