"""swaks as a server next door (LMTP), as a load balancer (PROXY), and as a proxy (XCLIENT)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.clients.support import Programs
from tests.helpers.server import Server, eventually, free_port

ALICE = "alice@example.org"


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, int]]:
    """A server, its socket for LMTP, and its port for load balancers."""
    port = free_port()
    with TemporaryDirectory() as short:
        path = Path(short) / "lmtp"
        listen = {"lmtp": [f"unix:{path}"], "smtp": [f"haproxy:tcp:{port}:interface=127.0.0.1"]}
        proxy = {"networks": ["127.0.0.1"], "xclient": ["127.0.0.1"]}
        folder = tmp_path_factory.mktemp("beside")
        services = ("smtp", "submission")
        with Server(folder, services=services, listen=listen, proxy=proxy) as server:
            yield server, path, port


def swaks(programs: Programs, *options: str | Path, status: int | None = 0) -> str:
    return programs.run(
        "swaks",
        "--ehlo",
        "next.example",
        "--from",
        "s@remote.example",
        "--to",
        ALICE,
        *options,
        status=status,
    )


def newest(server: Server) -> str:
    files = [path for part in ("new", "cur") for path in (server.maildir("alice") / part).iterdir()]
    return max(files, key=lambda path: path.stat().st_mtime_ns).read_text()


def test_lmtp(programs: Programs, beside: tuple[Server, Path, int]) -> None:
    server, path, _ = beside
    output = swaks(programs, "--protocol", "LMTP", "--socket", path, "--pipeline")
    assert f"250 2.0.0 <{ALICE}> Ok, id" in output
    assert "with LMTP id" in newest(server)


@pytest.mark.parametrize(
    "version",
    [
        ("1", "--proxy-family", "TCP4"),
        ("2", "--proxy-family", "AF_INET", "--proxy-protocol", "STREAM", "--proxy-command", "PROXY"),
    ],
)
def test_proxy(programs: Programs, beside: tuple[Server, Path, int], version: tuple[str, ...]) -> None:
    server, _, port = beside
    source = ("--proxy-source", "198.51.100.7", "--proxy-source-port", "40000")
    dest = ("--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25")
    where = ("--server", "127.0.0.1", "--port", str(port))
    swaks(programs, *where, "--proxy-version", *version, *source, *dest)
    assert "from next.example ([198.51.100.7])" in newest(server)


def test_xclient(programs: Programs, beside: tuple[Server, Path, int]) -> None:
    server, _, _ = beside
    where = ("--server", "127.0.0.1", "--port", str(server.ports["smtp"]))
    told = (
        "--xclient-addr",
        "198.51.100.8",
        "--xclient-name",
        "real.example",
        "--xclient-helo",
        "hello.example",
    )
    output = swaks(programs, *where, *told)
    assert "220 mail.example.org ESMTP ready" in output
    assert "from hello.example (real.example [198.51.100.8])" in newest(server)


def test_xclient_with_a_log_in(programs: Programs, beside: tuple[Server, Path, int]) -> None:
    server, _, _ = beside
    where = ("--server", "127.0.0.1", "--port", str(server.ports["submission"]), "--from", ALICE)
    swaks(programs, *where, "--xclient-addr", "198.51.100.9", "--xclient-login", ALICE)
    assert "with ESMTPA id" in newest(server)
    told = "login service=submission ip=198.51.100.9 user=alice@example.org mechanism=XCLIENT result=ok"
    eventually(lambda: told in server.log())
