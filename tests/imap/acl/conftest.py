"""Alice, who has a mailbox to share, and others to share it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailserver.config.schema import User, Users
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, BOB, make_store, now
from tests.imap.acl.sharing import CAROL


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = make_store(tmp_path)
    users = {name: User(name, "{PLAIN}secret") for name in (ALICE, BOB, CAROL)}
    made.settings.users = Users(users, {})
    return made


@pytest.fixture
def client(store: Any) -> Callable[[str], ImapClient]:
    return lambda user: ImapClient(ImapServer(now(store.account(user))), login=True)


@pytest.fixture
def alice(client: Callable[[str], ImapClient]) -> ImapClient:
    """The owner of Work."""
    made = client(ALICE)
    made.say("c CREATE Work")
    return made


@pytest.fixture
def bob(alice: ImapClient, client: Callable[[str], ImapClient]) -> ImapClient:
    return client(BOB)
