"""The stub resolver: several servers, retries, TCP after truncation, a cache, one question for many askers.

RFC 1034, 5.3.1; RFC 7766; RFC 6891; RFC 2308. Servers come from the configuration (`relay.resolver`) or
/etc/resolv.conf, which is read again when it has changed.
"""

from __future__ import annotations

import ipaddress
import os
import random
import time
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, ensureDeferred

from mailserver.dns.cache import Cache
from mailserver.dns.message import Alias, NoEdns, Question, Truncated, make_question
from mailserver.dns.transport import Server, ask_tcp, ask_udp
from mailserver.dns.values import MAX_CHAIN, Answer, DnsFailure

TRY_SECONDS = (2.0, 3.0, 5.0)  # one round over all servers each
TCP_SECONDS = 5.0
RESOLV_CONF = "/etc/resolv.conf"


def parse_server(text: str, port: int = 53) -> Server:
    """`127.0.0.1`, `127.0.0.1:5353`, `::1`, `[::1]:5353`. Raises ValueError."""
    text = text.strip()
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest[1:]) if rest.startswith(":") else port
    if text.count(":") == 1:
        host, _, number = text.partition(":")
        return host, int(number)
    return text.partition("%")[0], port


def read_resolv_conf(text: str) -> list[Server]:
    """`nameserver` lines, at most three as resolv.conf(5) says; 127.0.0.1 where there is none."""
    servers = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                servers.append(parse_server(words[1]))
            except ValueError:
                continue
    return servers[:3] or [("127.0.0.1", 53)]


class SystemServers:
    """The servers of /etc/resolv.conf, read again when the file has changed. Called for each question:
    one `stat` of a file that is always in memory."""

    def __init__(self, path: str = RESOLV_CONF) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._servers: list[Server] = [("127.0.0.1", 53)]

    def __call__(self) -> list[Server]:
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                with open(self._path, encoding="utf-8", errors="replace") as file:
                    self._servers = read_resolv_conf(file.read(65536))
                self._stamp = stamp
        except OSError:
            self._stamp = None
        return self._servers


class Resolver:
    """Asks. `servers` is called for each question, so that a reload of the configuration counts at once.

    `clock` gives seconds for the cache; any clock that does not go back.
    """

    def __init__(
        self,
        reactor: Any,
        servers: Callable[[], list[Server]],
        *,
        clock: Callable[[], float] = time.monotonic,
        tries: tuple[float, ...] = TRY_SECONDS,
    ) -> None:
        self._reactor = reactor
        self._servers = servers
        self._clock = clock
        self._tries = tries
        self._random = random.SystemRandom()
        self._cache = Cache()
        self._asking: dict[tuple[str, str], list[Deferred[Answer]]] = {}

    def query(self, name: str, rdtype: str) -> Deferred[Answer]:
        """Records of `rdtype` for `name`, CNAMEs followed. Fails with DnsFailure."""
        key = (name.rstrip(".").lower(), rdtype)
        result: Deferred[Answer] = Deferred()
        known = self._cache.get(*key, self._clock())
        if known is not None:
            result.callback(known)
            return result
        waiting = self._asking.get(key)
        if waiting is not None:
            waiting.append(result)
            return result
        self._asking[key] = [result]
        ensureDeferred(self._resolve(*key)).addBoth(self._answered, key)
        return result

    def forget(self) -> None:
        """Empty the cache."""
        self._cache.clear()

    def _answered(self, result: Any, key: tuple[str, str]) -> None:
        if isinstance(result, Answer):
            self._cache.put(*key, result, self._clock())
        for waiting in self._asking.pop(key):
            waiting.callback(result)

    async def _resolve(self, name: str, rdtype: str) -> Answer:
        """Follow CNAMEs that the server did not follow itself."""
        seen = set()
        secure = True
        for _ in range(MAX_CHAIN + 1):
            if name in seen:
                break
            seen.add(name)
            answer = await self._ask(name, rdtype)
            secure = secure and answer.secure
            if isinstance(answer, Answer):
                return evolve(answer, secure=secure)
            name = answer.target
        raise DnsFailure(f"a CNAME loop at {name}")

    async def _ask(self, name: str, rdtype: str) -> Answer | Alias:
        """Round by round over the servers, each with a fresh id and port."""
        failure = DnsFailure("no DNS server is configured")
        edns = True
        for seconds in self._tries:
            for server in self._servers():
                try:
                    question = make_question(name, rdtype, self._random_id, edns)
                    answer = await self._ask_one(question, server, seconds)
                    near = ipaddress.ip_address(server[0]).is_loopback
                    return answer if near else evolve(answer, secure=False)
                except NoEdns:
                    edns = False
                    failure = DnsFailure(f"{server[0]} does not understand the question")
                except DnsFailure as error:
                    if error.hopeless:
                        raise
                    failure = error
        raise failure

    async def _ask_one(self, question: Question, server: Server, seconds: float) -> Answer | Alias:
        try:
            return await ask_udp(self._reactor, question, server, seconds)
        except Truncated:
            try:
                return await ask_tcp(self._reactor, question, server, TCP_SECONDS)
            except Truncated:
                raise DnsFailure("a truncated answer over TCP") from None

    def _random_id(self) -> int:
        return self._random.randrange(65536)
