"""One server for all tests of a run; each test finds its mailboxes empty."""

import pytest

from mailserver.testing import Server


@pytest.fixture(scope="session")
def running_server():
    with Server(services=("smtp", "submission", "imap")) as server:
        yield server


@pytest.fixture
def mail(running_server):
    running_server.clear()
    return running_server
