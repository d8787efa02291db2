"""One server for all attacks; each test has users of its own on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.turns import EXTENSION, short_turns
from tests.attacks.wire import Imap
from tests.helpers.server import Server

USERS = 150


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A small message size; errors are counted elsewhere. Nothing may have gone wrong in it in the end."""
    with Server(
        tmp_path_factory.mktemp("attacked"),
        users=[f"user{number}" for number in range(USERS)],
        keys={"extensions": [EXTENSION]},
        limits={"message_size": "2 MiB", "errors": 1_000_000, "junk_commands": 1_000_000},
        auth={"max_failures": 1_000_000},
    ) as made:
        yield made
        assert made.process is not None
        assert made.process.poll() is None, "the server is gone"
        assert "Traceback" not in made.log(), made.log()[-5000:]


@pytest.fixture(autouse=True)
def _no_long_turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does to the server: none of its turns is long."""
    if "server" not in request.fixturenames:
        yield
        return
    with short_turns(request.getfixturevalue("server")):
        yield


@pytest.fixture(scope="session")
def unused(server: Server) -> Iterator[str]:
    """Users that no test has had."""
    return iter(server.users)


@pytest.fixture
def user(unused: Iterator[str]) -> str:
    """With an empty mailbox."""
    return next(unused)


@pytest.fixture
def bystander(unused: Iterator[str]) -> str:
    """Somebody who has nothing to do with it."""
    return next(unused)


@pytest.fixture
def other(server: Server, bystander: str) -> Iterator[Imap]:
    """A session of the bystander's."""
    with Imap(server, bystander) as imap:
        yield imap
