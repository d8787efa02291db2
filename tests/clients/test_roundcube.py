"""The IMAP library of Roundcube: threads, sorted lists, structures, folders."""

from __future__ import annotations

import json
from pathlib import Path

from tests.clients.support import Account, Programs, message

LIBRARY = Path("/usr/share/roundcube/program/lib/Roundcube/rcube_imap_generic.php")
SCRIPT = Path(__file__).parent / "scripts" / "roundcube.php"


def test_a_day(programs: Programs, account: Account) -> None:
    programs.file(LIBRARY, "roundcube-core")
    first, reply = message("bananas", "a needle in it\n"), message("Re: bananas")
    first["Message-ID"] = "<1@remote.example>"
    reply["References"] = "<1@remote.example>"
    account.deliver(first, message("äpfel"), message("cherries"), reply)
    environment = {
        "PORT": str(account.port("imaps")),
        "MAIL_USER": account.user,
        "PASSWORD": account.password,
        "CA": str(account.authority),
    }
    output = programs.run("php", "-d", "display_errors=0", SCRIPT, environment=environment)
    told = json.loads(output.splitlines()[-1])  # behind what PHP says of an empty configuration

    assert {"INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"} <= set(told["folders"])
    assert (told["status"]["MESSAGES"], told["status"]["UNSEEN"]) == ("4", "4")
    assert told["threads"] == {"1": {"4": []}, "2": [], "3": []}
    assert told["by_subject"] == ["2", "1", "4", "3"]  # by i;unicode-casemap
    assert told["search"] == ["1"]
    assert told["subjects"] == ["bananas", "äpfel", "cherries", "Re: bananas"]
    assert told["part"] == "a needle in it"
    for step in ("flagged", "moved", "draft", "created", "copied", "renamed", "deleted", "quota"):
        assert told[step], step
    assert told["left"] == 2
    assert account.flags() == {"bananas": {"\\Flagged"}, "Re: bananas": set()}
    assert account.subjects("Archive") == ["äpfel"]
    assert account.subjects("Done") == ["bananas"]
