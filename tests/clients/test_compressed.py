"""An IMAP session under COMPRESS=DEFLATE, as its example has it: above TLS (RFC 4978, 3)."""

from __future__ import annotations

import imaplib
import zlib
from typing import Any

import pytest

from tests.clients.support import SECONDS, Account, message


class Packed:
    """A socket's file that inflates."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._inflate = zlib.decompressobj(-15)
        self._data = b""

    def _more(self) -> None:
        got = self._sock.recv(65536)
        assert got, "closed"
        self._data += self._inflate.decompress(got)

    def read(self, size: int) -> bytes:
        while len(self._data) < size:
            self._more()
        data, self._data = self._data[:size], self._data[size:]
        return data

    def readline(self, limit: int = -1) -> bytes:
        while b"\n" not in self._data:
            self._more()
        return self.read(self._data.index(b"\n") + 1)

    def close(self) -> None:
        """The socket closes itself."""


def compress(client: Any) -> None:
    imaplib.Commands["COMPRESS"] = ("AUTH", "SELECTED")
    assert client._simple_command("COMPRESS", "DEFLATE")[0] == "OK"
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    client._file = client.file = Packed(client.sock)
    client.send = lambda data: client.sock.sendall(packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))


@pytest.mark.parametrize("how", ["imap", "imaps"])
def test_append_and_fetch_large_and_small(account: Account, how: str) -> None:
    client: Any
    if how == "imaps":
        client = imaplib.IMAP4_SSL(
            "localhost", account.port(how), ssl_context=account.context(), timeout=SECONDS
        )
    else:
        client = imaplib.IMAP4("localhost", account.port(how), timeout=SECONDS)
        client.starttls(account.context())
    client.login(account.user, account.password)
    compress(client)
    texts = ["short\n", "long lines\n" * 250_000]
    for text in texts:
        raw = message("packed", text).as_bytes().replace(b"\n", b"\r\n")
        assert client.append("INBOX", None, None, raw)[0] == "OK"
    assert client.select() == ("OK", [b"2"])
    answers = [part for part in client.fetch("1:2", "(BODY.PEEK[TEXT])")[1] if isinstance(part, tuple)]
    assert [answer[1] for answer in answers] == [text.replace("\n", "\r\n").encode() for text in texts]
    assert client.logout()[0] == "BYE"
