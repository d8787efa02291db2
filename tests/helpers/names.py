"""What every mailbox name has to bear."""

from __future__ import annotations

import os

from mailserver.errors import CannotName
from mailserver.store.maildir import directory_of, folder_of, normal_name


def check_directory(name: str) -> None:
    """One directory for each name, inside of the account, and one name for each directory."""
    try:
        directory = directory_of(name)
    except CannotName:
        return
    assert "/" not in directory and "\0" not in directory and directory.isascii()
    assert directory == "" or os.path.normpath(f"/mail/{directory}") == f"/mail/{directory}"
    assert folder_of(directory) == normal_name(name)
