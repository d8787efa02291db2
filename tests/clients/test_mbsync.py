"""mbsync: two-way synchronisation with a Maildir, flag changes and deletions on both sides."""

from __future__ import annotations

import mailbox
from pathlib import Path

import pytest

from tests.clients.support import Account, Programs, lines, message


class Synchronised:
    """An account, and its copy in `home`/Mail."""

    def __init__(self, programs: Programs, account: Account, tls: str = "IMAPS", auth: str = "*") -> None:
        self.programs = programs
        self.account = account
        service = "imaps" if tls == "IMAPS" else "imap"
        (programs.home / "Mail").mkdir()
        programs.write(
            ".mbsyncrc",
            lines(
                "IMAPAccount here", "Host localhost", f"Port {account.port(service)}", f"User {account.user}",
                f"Pass {account.password}", f"SSLType {tls}", f"CertificateFile {account.authority}",
                f"AuthMechs {auth}", "PipelineDepth 50", "",
                "IMAPStore far", "Account here", "",
                "MaildirStore near", f"Path {programs.home}/Mail/", f"Inbox {programs.home}/Mail/INBOX",
                "SubFolders Verbatim", "",
                "Channel all", "Far :far:", "Near :near:", "Patterns *", "Create Both", "Remove Both",
                "Expunge Both", "SyncState *",
            ),
        )  # fmt: skip

    def sync(self) -> str:
        return self.programs.run("mbsync", "--verbose", "all")

    def folder(self, name: str = "INBOX") -> mailbox.Maildir:
        return mailbox.Maildir(self.programs.home / "Mail" / name, create=False)

    def local(self, name: str = "INBOX") -> dict[str, str]:
        """Subject to Maildir flags."""
        return {made["Subject"]: made.get_flags() for made in self.folder(name)}

    def flag(self, subject: str, flags: str) -> None:
        folder = self.folder()
        for key, made in folder.items():
            if made["Subject"] == subject:
                made.set_subdir("cur")
                made.set_flags(flags)
                folder[key] = made

    def add(self, subject: str, name: str = "INBOX") -> None:
        """A message that is here only."""
        path = self.programs.home / "Mail" / name
        mailbox.Maildir(path).add(mailbox.MaildirMessage(message(subject)))


@pytest.fixture
def synchronised(programs: Programs, account: Account) -> Synchronised:
    account.deliver(*(message(f"m{number}", f"body {number}\n" * 50) for number in range(6)))
    made = Synchronised(programs, account)
    made.sync()
    return made


def test_the_first_copy(synchronised: Synchronised) -> None:
    assert set(synchronised.local()) == {f"m{number}" for number in range(6)}
    folders = {path.name for path in (synchronised.programs.home / "Mail").iterdir()}
    assert {"INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"} <= folders
    bodies = {made["Subject"]: made.get_payload() for made in synchronised.folder()}
    assert bodies["m3"] == "body 3\n" * 50
    before = files(synchronised)
    synchronised.sync()
    assert files(synchronised) == before


def files(synchronised: Synchronised) -> set[Path]:
    return {
        path for path in (synchronised.programs.home / "Mail").rglob("*") if ".mbsyncstate" not in path.name
    }


def test_flags_both_ways(synchronised: Synchronised) -> None:
    account = synchronised.account
    synchronised.flag("m0", "FS")
    synchronised.flag("m1", "R")
    client = account.imap()
    client.select()
    client.store("3", "+FLAGS", "(\\Seen \\Answered)")
    client.store("4", "+FLAGS", "(\\Flagged)")
    client.logout()
    synchronised.sync()
    flags = account.flags()
    assert flags["m0"] == {"\\Flagged", "\\Seen"}
    assert flags["m1"] == {"\\Answered"}
    local = synchronised.local()
    assert (local["m2"], local["m3"]) == ("RS", "F")
    synchronised.flag("m0", "")
    synchronised.sync()
    assert account.flags()["m0"] == set()


def test_deletions_both_ways(synchronised: Synchronised) -> None:
    account = synchronised.account
    synchronised.flag("m0", "T")
    client = account.imap()
    client.select()
    client.store("2:3", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.logout()
    synchronised.sync()
    assert account.subjects() == ["m3", "m4", "m5"]
    assert set(synchronised.local()) == {"m3", "m4", "m5"}


def test_new_messages_both_ways(synchronised: Synchronised) -> None:
    account = synchronised.account
    account.deliver(message("from far"))
    synchronised.add("from near")
    synchronised.add("a draft", "Drafts")
    synchronised.sync()
    assert set(account.subjects()) >= {"from far", "from near"}
    assert account.subjects("Drafts") == ["a draft"]
    assert set(synchronised.local()) >= {"from far", "from near"}
    before = files(synchronised)
    synchronised.sync()  # nothing twice
    assert files(synchronised) == before
    assert len(account.subjects()) == 8


def test_folders_both_ways(synchronised: Synchronised) -> None:
    account = synchronised.account
    client = account.imap()
    client.create("Far/Below")
    client.append("Far/Below", "", None, message("in far").as_bytes().replace(b"\n", b"\r\n"))
    client.logout()
    synchronised.add("in near", "Near")
    synchronised.sync()
    assert set(synchronised.local("Far/Below")) == {"in far"}
    assert account.subjects("Near") == ["in near"]


def test_a_large_message_and_many(programs: Programs, account: Account) -> None:
    account.deliver(message("large", "0123456789abcdef" * 4 + "\n"), *(message(f"n{n}") for n in range(150)))
    account.deliver(message("huge", ("x" * 70 + "\n") * 40_000))
    made = Synchronised(programs, account)
    made.sync()
    assert len(made.local()) == 152
    sizes = {each["Subject"]: len(each.get_payload()) for each in made.folder()}
    assert sizes["huge"] == 71 * 40_000


@pytest.mark.parametrize("auth", ["LOGIN", "PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("tls", ["STARTTLS", "IMAPS"])
def test_log_in(programs: Programs, account: Account, tls: str, auth: str) -> None:
    account.deliver(message("one"))
    made = Synchronised(programs, account, tls, auth)
    made.sync()
    assert set(made.local()) == {"one"}


def test_a_wrong_password(programs: Programs, account: Account) -> None:
    Synchronised(programs, account)
    text = (programs.home / ".mbsyncrc").read_text().replace(f"Pass {account.password}", "Pass wrong")
    programs.write(".mbsyncrc", text)
    programs.run("mbsync", "all", status=1)
