"""ImapFlow, which uses what a server announces: IMAP4rev2, QRESYNC, COMPRESS, OBJECTID, LIST-STATUS, MOVE."""

from __future__ import annotations

import json
import os
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.clients.support import Account, Programs, message
from tests.helpers.server import ROOT

MODULES = Path(os.environ.get("MAILSERVER_TESTS_NODE", ROOT / ".venv-node")) / "node_modules"
SCRIPT = Path(__file__).parent / "scripts" / "imapflow.cjs"


class Flow:
    def __init__(self, programs: Programs, account: Account) -> None:
        programs.file(MODULES / "imapflow", "imapflow (make node)")
        self._programs = programs
        self._environment = {
            "NODE_PATH": str(MODULES),
            "PORT": str(account.port("imaps")),
            "MAIL_USER": account.user,
            "PASSWORD": account.password,
            "CA": str(account.authority),
        }

    def __call__(self, step: str, *words: str) -> dict[str, Any]:
        output = self._programs.run("node", SCRIPT, step, *words, environment=self._environment)
        told: dict[str, Any] = json.loads(output)
        return told


def with_attachment() -> EmailMessage:
    made = message("first", "text\n")
    made.add_attachment("some,values\n", subtype="csv", filename="values.csv")
    return made


@pytest.fixture
def flow(programs: Programs, account: Account) -> Flow:
    account.deliver(
        with_attachment(),
        message("über alles", "a needle in it\n"),
        message("third"),
        message("fourth"),
        message("fifth"),
    )
    return Flow(programs, account)


def test_a_day(flow: Flow, account: Account) -> None:
    told = flow("day")
    assert told["folders"]["Sent"] == "\\Sent"
    assert told["inbox"] == 5
    assert told["subjects"] == ["first", "über alles", "third", "fourth", "fifth"]
    assert told["ids"] == 5
    assert told["parts"] == ["text/plain", "text/csv"]
    assert told["attachment"].replace("\r\n", "\n") == "some,values\n"
    assert told["bySubject"] == [2]
    assert told["byBody"] == [2]
    assert told["unseen"] == 4
    assert (told["moved"], told["left"]) == (1, 3)
    assert account.flags()["über alles"] == {"\\Seen", "$Work"}
    assert account.subjects("Archive") == ["third"]

    assert told["appended"]
    assert (told["drafts"], told["status"], told["gone"]) == (0, 1, True)
    assert told["more"] == 1
    assert {"IMAP4REV2", "QRESYNC"} <= {name.upper() for name in told["enabled"]}
    assert told["compressed"]


def test_what_changed_while_it_was_away(flow: Flow, account: Account) -> None:
    """RFC 7162, 3.2.5: flags that changed and UIDs that vanished, nothing else."""
    known = flow("day")["known"]
    client = account.imap()
    client.select("INBOX")
    client.uid("STORE", "1", "+FLAGS", "(\\Flagged)")
    client.uid("STORE", "5", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.logout()
    told = flow("again", *known)
    assert told["flags"] == [["\\Flagged"]]
    assert told["vanished"] == [5]
