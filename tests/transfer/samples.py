"""Mail to bring in, how it is brought in, and what is there then."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mailserver.transfer.account import LocalAccount, Stored
from mailserver.transfer.importing import import_all, nothing
from mailserver.transfer.journal import Journal
from mailserver.transfer.values import Report, Source

ALICE = "alice@example.org"
FROM = "From alice@example.org Tue Nov 24 03:07:34 2026\n"


def everything(name: str) -> bool:
    return True


def bring(
    account: LocalAccount, source: Source, wanted: Callable[[str], bool] = everything, **how: Any
) -> Report:
    journal = Journal(account.settings.now.data_dir, account.user)
    journal.open()
    try:
        journal.begin(source, **how)
        return import_all(source, account, journal, wanted=wanted, told=nothing)
    finally:
        journal.close()


def held(account: LocalAccount, name: str) -> dict[bytes, Stored]:
    return {account.read(name, one) or b"": one for one in account.stored(name)}


def mail(number: int) -> str:
    return f"Subject: {number}\n\ntext {number}\n"


def make_mbox(path: Path, numbers: range) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(FROM + mail(number) + "\n" for number in numbers))
    return path


def make_maildir(path: Path, numbers: range = range(0), letters: str = "") -> Path:
    for sub in ("cur", "new", "tmp"):
        (path / sub).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        file = path / "cur" / f"{1_700_000_000 + number}.M{number}.host:2,{letters}"
        file.write_text(mail(number))
        os.utime(file, (1_600_000_000 + number,) * 2)
    return path
