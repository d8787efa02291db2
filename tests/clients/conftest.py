"""One server for all clients; each test has a user of its own on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.clients.support import Account, Programs
from tests.helpers.server import Server

USERS = 300


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, and with cert.pem and key.pem that it signed for localhost."""
    folder = tmp_path_factory.mktemp("authority")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1", common_name="localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[Server]:
    """As it would be configured: nothing in clear."""
    with Server(
        tmp_path_factory.mktemp("server"),
        users=[f"user{number}" for number in range(USERS)],
        tls={"certificate": str(authority / "cert.pem"), "key": str(authority / "key.pem")},
        auth={"allow_cleartext": False},
        limits={"message_size": "5 MiB"},
    ) as made:
        yield made


@pytest.fixture(scope="session")
def unused(server: Server) -> Iterator[str]:
    """Users that no test has had."""
    return iter(server.users)


@pytest.fixture
def account(server: Server, unused: Iterator[str], authority: Path) -> Account:
    """An empty mailbox."""
    return Account(server, next(unused), authority / "ca.pem")


@pytest.fixture
def other(server: Server, unused: Iterator[str], authority: Path) -> Account:
    """Somebody else with an empty mailbox."""
    return Account(server, next(unused), authority / "ca.pem")


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Runs programs with an empty home."""
    return Programs(tmp_path)
