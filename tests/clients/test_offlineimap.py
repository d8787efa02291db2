"""OfflineIMAP: two-way synchronisation with a Maildir."""

from __future__ import annotations

import mailbox

import pytest

from tests.clients.support import Account, Programs, lines, message


class Offline:
    """An account, and its copy in `home`/Mail."""

    def __init__(self, programs: Programs, account: Account) -> None:
        self._programs = programs
        self._mail = programs.home / "Mail"
        programs.write(
            ".offlineimaprc",
            lines(
                "[general]", "accounts = all", "ui = basic", "",
                "[Account all]", "localrepository = near", "remoterepository = far", "",
                "[Repository near]", "type = Maildir", f"localfolders = {self._mail}", "",
                "[Repository far]", "type = IMAP", "remotehost = localhost",
                f"remoteport = {account.port('imaps')}", f"remoteuser = {account.user}",
                f"remotepass = {account.password}", "ssl = yes", f"sslcacertfile = {account.authority}",
            ),
        )  # fmt: skip

    def sync(self) -> None:
        self._programs.run("offlineimap", "-o", "-1")

    def folder(self, name: str = "INBOX") -> mailbox.Maildir:
        return mailbox.Maildir(self._mail / name, create=False)

    def flags(self) -> dict[str, str]:
        return {made["Subject"]: made.get_flags() for made in self.folder()}


@pytest.fixture
def offline(programs: Programs, account: Account) -> Offline:
    account.deliver(*(message(f"m{number}") for number in range(4)))
    made = Offline(programs, account)
    made.sync()
    return made


def test_both_ways(offline: Offline, account: Account) -> None:
    assert set(offline.flags()) == {"m0", "m1", "m2", "m3"}

    folder = offline.folder()
    for key, made in folder.items():
        if made["Subject"] == "m0":
            made.set_subdir("cur")
            made.set_flags("FS")
            folder[key] = made
        elif made["Subject"] == "m1":
            folder.remove(key)
    folder.add(mailbox.MaildirMessage(message("from here")))
    client = account.imap()
    client.select("INBOX")
    client.store("3", "+FLAGS", "(\\Answered)")
    client.store("4", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.logout()
    offline.sync()

    assert account.flags() == {"m0": {"\\Flagged", "\\Seen"}, "m2": {"\\Answered"}, "from here": set()}
    assert offline.flags() == {"m0": "FS", "m2": "R", "from here": ""}


def test_nothing_is_copied_twice(offline: Offline, account: Account) -> None:
    offline.sync()
    offline.sync()
    assert sorted(account.subjects()) == ["m0", "m1", "m2", "m3"]
    assert len(offline.folder()) == 4
