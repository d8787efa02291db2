"""What dialogs begin with: `client`, logged in on `server`, which has the real `store`. A module that begins
with something else says so with a fixture of its own under the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, make_store, now


@pytest.fixture
def store(tmp_path: Path) -> Any:
    return make_store(tmp_path)


@pytest.fixture
def server(store: Any) -> ImapServer:
    return ImapServer(now(store.account(ALICE)))


@pytest.fixture
def client(server: ImapServer) -> ImapClient:
    return ImapClient(server, login=True)


@pytest.fixture(params=["at once", "in a later turn"])
def fake_server(request: pytest.FixtureRequest) -> ImapServer:
    """On a store in memory, which answers at once, or as from a thread: the dialog must be the same."""
    made = ImapServer()
    if request.param == "in a later turn":
        made.slow()
    return made
