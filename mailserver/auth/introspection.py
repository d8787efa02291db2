"""Asking the provider about a token: one POST (RFC 7662, 2.1), with a deadline, a bound, and no redirects.

`twisted.web.client.Agent` rather than treq: there is nothing here that treq would do, and no package more.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlencode

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.config.schema import OAuth
from mailserver.errors import Busy, CannotAuthenticate

if TYPE_CHECKING:
    from twisted.web.client import Agent

Verified = Callable[[str, tuple[Path, ...]], IOpenSSLClientConnectionCreator]

MAX_ANSWER = 64 * 1024
MAX_WAITING = 100  # questions at once, all tokens together


class Introspector:
    """`await introspector(oauth, token)` is the provider's answer. Raises CannotAuthenticate, Busy.

    verified: makes the client side of TLS for a host name and a tuple of files with authorities, empty for
    the system's; the certificate has to be right for the host (`tls.client.verified_context`).
    """

    log = Logger()

    def __init__(self, reactor: Any, verified: Verified) -> None:
        self._reactor = reactor
        self._verified = verified
        self._waiting = 0
        self._agent: Agent | None = None
        self._agent_for: OAuth | None = None

    async def __call__(self, oauth: OAuth, token: str) -> Mapping[str, Any]:
        if self._waiting >= MAX_WAITING:
            raise Busy
        self._waiting += 1
        try:
            answer = Deferred.fromCoroutine(self._ask(oauth, token))
            answer.addTimeout(oauth.timeout, self._reactor)
            return await answer
        except Exception as error:
            self.log.warn("{url} did not say whether a token is good: {error!r}", url=oauth.url, error=error)
            raise CannotAuthenticate(cause=error) from None
        finally:
            self._waiting -= 1

    async def _ask(self, oauth: OAuth, token: str) -> Mapping[str, Any]:
        from twisted.web.client import FileBodyProducer  # noqa: PLC0415  (6 MiB that few need)
        from twisted.web.http_headers import Headers  # noqa: PLC0415

        headers = {
            "Accept": ["application/json"],
            "Content-Type": ["application/x-www-form-urlencoded"],
            "User-Agent": ["mailserver"],
        }
        if oauth.client_id:  # RFC 6749, 2.3.1
            pair = f"{quote_plus(oauth.client_id)}:{quote_plus(oauth.client_secret)}"
            headers["Authorization"] = ["Basic " + base64.b64encode(pair.encode()).decode("ascii")]
        form = urlencode({"token": token, "token_type_hint": "access_token"}).encode("ascii")
        response: Any = await self._agent_of(oauth).request(
            b"POST",
            oauth.url.encode("ascii"),
            Headers(headers),
            FileBodyProducer(BytesIO(form)),  # type: ignore[no-untyped-call]
        )
        body = _Body()
        response.deliverBody(body)
        data = await body.complete
        if response.code != 200:
            raise ValueError(f"status {response.code}")
        answer = json.loads(data)
        if not isinstance(answer, dict):
            raise ValueError("an answer that is no object")
        return answer

    def _agent_of(self, oauth: OAuth) -> Agent:
        """One with the authorities of the configuration in force. Connections are not kept: a POST on one
        that the provider has just closed would fail, and is not repeated by itself."""
        from twisted.web.client import Agent, HTTPConnectionPool  # noqa: PLC0415
        from twisted.web.iweb import IPolicyForHTTPS  # noqa: PLC0415

        if self._agent is None or oauth != self._agent_for:
            verified = self._verified
            authorities = (oauth.authority,) if oauth.authority is not None else ()

            @implementer(IPolicyForHTTPS)
            class Policy:
                """See `verified`."""

                def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
                    return verified(hostname.decode("ascii"), authorities)

            pool = HTTPConnectionPool(self._reactor, persistent=False)  # type: ignore[no-untyped-call]
            self._agent = Agent(  # type: ignore[no-untyped-call]
                self._reactor, Policy(), oauth.timeout, pool=pool
            )
            self._agent_for = oauth
        return self._agent


class _Body(Protocol):
    """Collects at most MAX_ANSWER octets: `complete`."""

    transport: Any

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self.complete: Deferred[bytes] = Deferred(lambda _: self._cut_off())

    def dataReceived(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_ANSWER:
            self._finish(lambda waiting: waiting.errback(ValueError("an answer without end")))
            self._cut_off()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        from twisted.web.client import ResponseDone  # noqa: PLC0415
        from twisted.web.http import PotentialDataLoss  # noqa: PLC0415

        if isinstance(reason.value, ResponseDone | PotentialDataLoss):
            self._finish(lambda waiting: waiting.callback(b"".join(self._parts)))
        else:
            self._finish(lambda waiting: waiting.errback(reason))

    def _finish(self, how: Callable[[Deferred[bytes]], None]) -> None:
        if not self.complete.called:
            how(self.complete)

    def _cut_off(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
