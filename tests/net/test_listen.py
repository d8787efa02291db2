"""What the log says about ports."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from mailserver.net.listen import shown


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "127.0.0.1", 25), "127.0.0.1:25"),
        (IPv6Address("TCP", "::", 993), "[::]:993"),
        (UNIXAddress("/run/mailserver/lmtp"), "/run/mailserver/lmtp"),
    ],
)
def test_an_address_is_told_as_an_administrator_writes_it(
    address: IPv4Address | IPv6Address | UNIXAddress, text: str
) -> None:
    assert shown(address) == text
