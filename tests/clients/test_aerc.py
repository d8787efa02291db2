"""aerc on a terminal: a day's work with its own IMAP (Go's) and SMTP."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self
from urllib.parse import quote

import pytest

from tests.clients.support import SECONDS, Account, Programs, lines, message
from tests.helpers.waiting import readable

HEIGHT, WIDTH = 40, 120


class Screen:
    """What stands on a terminal whose program puts everything where it belongs (CUP), as tcell does."""

    _PIECE = re.compile(
        rb"\x1b\[(\d+);(\d+)H|\x1b\[[?\d; ]*[A-Za-z]|\x1b\][^\x1b]*\x1b\\|\x1b[()].|([^\x1b])", re.S
    )

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], str] = {}
        self._row = self._column = 1
        self._rest = b""

    def feed(self, data: bytes) -> None:
        whole = self._rest + data
        unfinished = re.search(rb"\x1b(\[[?\d; ]*|\][^\x1b]*\x1b?|[()])?$", whole)
        end = unfinished.start() if unfinished else len(whole)
        data, self._rest = whole[:end], whole[end:]
        for row, column, character in self._PIECE.findall(data):
            if row:
                self._row, self._column = int(row), int(column)
            elif character:
                self._cells[self._row, self._column] = character.decode("latin-1")
                self._column += 1

    def __str__(self) -> str:
        rows = range(1, HEIGHT + 1)
        return "\n".join(
            "".join(self._cells.get((row, at), " ") for at in range(1, WIDTH + 1)) for row in rows
        )

    def __contains__(self, text: str) -> bool:
        return text in str(self)


class Aerc:
    """A running aerc that is told commands, and seen by what it prints and what it does on the server."""

    def __init__(self, programs: Programs, account: Account) -> None:
        self._programs = programs
        self._authority = account.authority
        log_in = f"{quote(account.user, safe='')}:{quote(account.password, safe='')}@localhost"
        (programs.home / ".config/aerc").mkdir(parents=True)
        programs.write(".config/aerc/aerc.conf", lines("[compose]", "editor=true", "[viewer]", "pager=cat"))
        programs.write(
            ".config/aerc/accounts.conf",
            lines(
                "[work]",
                f"source = imaps://{log_in}:{account.port('imaps')}",
                f"outgoing = smtps+plain://{log_in}:{account.port('submissions')}",
                f"from = Aerc <{account.user}>",
                "default = INBOX",
                "copy-to = Sent",
                "postpone = Drafts",
                "cache-headers = true",
            ),
        )

    def __enter__(self) -> Self:
        self._terminal, its = pty.openpty()
        termios.tcsetwinsize(its, (HEIGHT, WIDTH))
        environment = {
            "TERM": "xterm",
            "COLUMNS": "120",
            "LINES": "40",
            "SSL_CERT_FILE": str(self._authority),
        }
        self._process = subprocess.Popen(
            [self._programs.path("aerc")],
            stdin=its, stdout=its, stderr=its, cwd=self._programs.home,
            env=self._programs.environment | environment, start_new_session=True, preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(its)
        self._screen = Screen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def shows(self, text: str) -> None:
        self.until(lambda: text in self._screen)

    def hides(self, text: str) -> None:
        self.until(lambda: text not in self._screen)

    def do(self, command: str) -> None:
        """Keys that come while it draws may be lost: it is waited for until the prompt has gone."""
        self._type(command)
        self.hides(f":{command}"[:30])

    def _type(self, command: str) -> None:
        os.write(self._terminal, b":" + command.encode())
        self.shows(f":{command}"[:30])
        os.write(self._terminal, b"\r")

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < deadline and self._process.poll() is None, str(self._screen)
            if readable([self._terminal], 0.1):
                self._screen.feed(os.read(self._terminal, 65536))

    def quit(self) -> None:
        self._type("quit -f")
        deadline = time.monotonic() + SECONDS
        while self._process.poll() is None:
            assert time.monotonic() < deadline, str(self._screen)
            if readable([self._terminal], 0.1):
                try:
                    os.read(self._terminal, 65536)
                except OSError:  # the terminal is closed
                    break
        assert self._process.wait(10) == 0


def _take_terminal() -> None:
    """In the child: standard input is its /dev/tty, which it opens."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def aerc(programs: Programs, account: Account) -> Iterator[Aerc]:
    account.deliver(*(message(f"note {name}") for name in ("one", "two", "three", "four")))
    yield Aerc(programs, account)


def test_a_days_work(aerc: Aerc, account: Account, other: Account) -> None:
    """List, flag, search, read, move, delete, write, keep a draft; and what others do is shown."""
    with aerc:
        aerc.shows("note one")
        aerc.do("filter three")
        aerc.hides("note four")
        aerc.do("clear")
        aerc.shows("note four")
        aerc.do("select 1")
        aerc.do("flag")
        aerc.until(lambda: account.flags()["note three"] == {"\\Flagged"})
        aerc.do("select 2")
        aerc.do("read")
        aerc.until(lambda: account.flags()["note two"] == {"\\Seen"})
        aerc.do("mv Archive")
        aerc.until(lambda: account.subjects("Archive") == ["note two"])
        account.deliver(message("note five"))
        aerc.shows("note five")
        aerc.do("select 0")
        aerc.do("delete")
        aerc.until(lambda: account.subjects() == ["note one", "note three", "note four"])
        aerc.do("mkdir Work/2026")
        aerc.do("cp Work/2026")
        aerc.until(lambda: account.subjects("Work/2026") == ["note four"])
        aerc.do(f"compose -H 'To: {other.user}' -H 'Subject: from aerc'")
        aerc.shows("Send this email?")
        aerc.do("send")
        aerc.until(lambda: other.subjects() == account.subjects("Sent") == ["from aerc"])
        aerc.do(f"compose -H 'To: {other.user}' -H 'Subject: not ready'")
        aerc.shows("Send this email?")
        aerc.do("postpone")
        aerc.until(lambda: account.subjects("Drafts") == ["not ready"])
        aerc.quit()


def test_what_happened_while_it_was_away(aerc: Aerc, account: Account) -> None:
    """With its cache of headers, against other flags, and without what is gone."""
    with aerc:
        aerc.shows("note one")
        aerc.quit()
    with account.imap() as client:
        client.select("INBOX")
        client.store("1", "+FLAGS", "(\\Deleted)")
        client.expunge()
    account.deliver(message("note five"))
    with aerc:
        aerc.shows("note five")
        aerc.do("select 3")
        aerc.do("flag")
        aerc.until(lambda: account.flags()["note two"] == {"\\Flagged"})
        aerc.quit()
    assert account.subjects() == ["note two", "note three", "note four", "note five"]
