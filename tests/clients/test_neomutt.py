"""NeoMutt on a terminal: read, flag, move, delete, write, with its own IMAP and SMTP."""

from __future__ import annotations

import os
import pty
import subprocess
import time

import pytest

from tests.clients.support import SECONDS, Account, Programs, lines, message
from tests.helpers.waiting import readable


class Mutt:
    """Runs with keys pushed at the start, the last of which quit."""

    def __init__(self, programs: Programs, account: Account) -> None:
        self._programs = programs
        address = account.user.replace("@", "%40")
        programs.write(
            ".neomuttrc",
            lines(
                f'set folder = "imaps://{address}@localhost:{account.port("imaps")}/"',
                'set spoolfile = "+INBOX" record = "+Sent" postponed = "+Drafts" trash = "+Trash"',
                f'set imap_user = "{account.user}" imap_pass = "{account.password}"',
                f'set smtp_url = "smtps://{address}@localhost:{account.port("submissions")}/"',
                # With GNU SASL it takes SCRAM-SHA-256-PLUS where that is offered, and cannot do it.
                f'set smtp_authenticators = "plain" smtp_pass = "{account.password}"',
                f'set certificate_file = "{account.authority}"',
                'set ssl_verify_host = no ssl_force_tls = yes',
                f'set from = "{account.user}" realname = "Mutt" editor = "true"',
                "set quit = yes delete = yes wait_key = no confirmappend = no confirmcreate = no",
                "set mark_old = no sleep_time = 0 imap_qresync = yes imap_idle = no header_cache = ~/cache",
                "set abort_unmodified = no abort_nosubject = no edit_headers = no askcc = no include = yes",
            ),
        )  # fmt: skip

    def press(self, keys: str) -> None:
        """It must end by itself."""
        words = [self._programs.path("neomutt"), "-F", str(self._programs.home / ".neomuttrc")]
        words += ["-e", f'push "{keys}"']
        ours, its = pty.openpty()
        environment = self._programs.environment | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        process = subprocess.Popen(
            words, stdin=its, stdout=its, stderr=its, cwd=self._programs.home, env=environment
        )
        os.close(its)
        shown = b""
        deadline = time.monotonic() + SECONDS
        try:
            while time.monotonic() < deadline:
                if readable([ours], 0.2):
                    try:
                        shown += os.read(ours, 65536)
                    except OSError:  # the terminal is closed
                        break
                elif process.poll() is not None:
                    break
            assert process.wait(10) == 0, shown[-2000:]
        finally:
            process.kill()
            process.wait()
            os.close(ours)


@pytest.fixture
def mutt(programs: Programs, account: Account) -> Mutt:
    account.deliver(*(message(f"m{number}") for number in range(4)))
    return Mutt(programs, account)


def test_flags_moves_and_deletions(mutt: Mutt, account: Account) -> None:
    """The second message read, the first flagged, the third saved to another folder, the fourth deleted;
    and the same account again, by QRESYNC from its cache."""
    mutt.press("<first-entry><flag-message>2<enter><display-message><exit><sync-mailbox><quit>")
    mutt.press("3<enter><save-message><kill-line>+Archive<enter>4<enter><delete-message><sync-mailbox><quit>")
    assert account.flags() == {"m0": {"\\Flagged"}, "m1": {"\\Seen"}}
    assert account.subjects("Archive") == ["m2"]
    assert account.subjects("Trash") == ["m3"]


def test_a_message_that_is_written(programs: Programs, mutt: Mutt, other: Account) -> None:
    """Without a terminal, by SMTP with a log-in."""
    words = ("-F", programs.home / ".neomuttrc", "-s", "hello from mutt", "--", other.user)
    programs.run("neomutt", *words, data=b"the text\n")
    assert other.subjects() == ["hello from mutt"]
