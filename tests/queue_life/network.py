"""Other servers as a queue meets them, in simulated time: connections in memory, names, what they have taken.

A `Network` stands for the reactor: `connectTCP` leads to the `Site` of an address. Each site has a temper,
which says what it does at a moment; all of them write into one `Record`.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import dns.rdata
from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailserver.dns.values import Answer, DnsFailure, Status

DROP = "DROP"
MINUTE, HOUR = 60.0, 3600.0


@define
class Record:
    """What became of each recipient, by the other servers' books.

    told: stored, and the client heard the reply; untold: stored, and it did not. put_off: times at which a
    client heard that it has to wait.
    """

    told: Counter[str] = field(factory=Counter)
    untold: Counter[str] = field(factory=Counter)
    refused: set[str] = field(factory=set)
    stored_at: dict[str, float] = field(factory=dict)
    put_off: dict[str, list[float]] = field(factory=lambda: defaultdict(list))
    excused: set[str] = field(factory=set)  # may be tried again at once
    faults: list[str] = field(factory=list)


class Temper:
    """Of a site: how long it takes to answer, and what it says. The default is a server in good health.

    `stage` is connect, MAIL, RCPT, DATA, the end of the text ("."), or whatever else a client says.
    """

    seconds = (0.01, 0.05)
    extensions = ("PIPELINING", "SIZE 50000000", "8BITMIME")
    connections = 100  # that it takes at once

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def reachable(self, now: float) -> str:
        """ "", "refused" or "silent"."""
        return ""

    def resolves(self, now: float) -> bool:
        return True

    def say(self, stage: str, to: str, now: float) -> str:
        """A reply other than the good one, or DROP."""
        return ""

    def drops_after_text(self) -> bool:
        """Does it store a message and hang up before it has answered?"""
        return False


@define(eq=False)
class Site:
    """The one mail host of a domain."""

    domain: str
    ip: str
    temper: Temper
    null_mx: bool = False
    open: int = 0
    most: int = 0  # connections at once, ever
    connects: list[float] = field(factory=list)


class Network(Clock):
    """Also the reactor, and DNS."""

    def __init__(self, start: float, dice: random.Random) -> None:
        super().__init__()
        self.advance(start)
        self.dice = dice
        self.record = Record()
        self.sites: dict[str, Site] = {}
        self.links: dict[Link, None] = {}  # in the order of their making, so that a seed tells all

    def add(self, domain: str, temper: Temper, null_mx: bool = False) -> Site:
        ip = f"192.0.2.{len(self.sites) + 1}"
        site = self.sites[ip] = Site(domain, ip, temper, null_mx)
        return site

    def site_of(self, domain: str) -> Site:
        return next(site for site in self.sites.values() if domain in (site.domain, f"mx.{site.domain}"))

    def query(self, name: str, kind: str) -> Deferred[Answer]:
        """As Resolver.query."""
        site = self.site_of(name)
        if not site.temper.resolves(self.seconds()):
            return fail(DnsFailure("SERVFAIL"))
        if kind == "MX":
            text = "0 ." if site.null_mx else f"10 mx.{site.domain}."
        elif kind == "A":
            text = site.ip
        else:
            return succeed(Answer(Status.NODATA, name))
        return succeed(Answer(Status.FOUND, name, (dns.rdata.from_text("IN", kind, text),)))

    def connectTCP(
        self, ip: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Any:
        site, now = self.sites[ip], self.seconds()
        site.connects.append(now)
        trouble = site.temper.reachable(now)
        connector = _Connector()
        if trouble:
            error: Exception = TimeoutError() if trouble == "silent" else ConnectionRefusedError()
            wait = timeout if trouble == "silent" else 0.02

            def failed(why: Exception) -> None:
                factory.clientConnectionFailed(connector, Failure(why))

            def stopped() -> None:
                waiting.cancel()
                failed(UserError())

            waiting = self.callLater(wait, failed, error)
            connector.stopConnecting = stopped
        else:
            Link(self, site, factory.buildProtocol(None))
        return connector

    def cut(self) -> None:
        """The process on this side is gone, with all that it waited for."""
        for link in list(self.links):
            link.end(None)
        for call in list(self.getDelayedCalls()):
            call.cancel()


class _Connector:
    stopConnecting: Callable[[], None] = staticmethod(lambda: None)


class Link:
    """One connection: the client's transport and the server's side of it."""

    def __init__(self, network: Network, site: Site, client: Any) -> None:
        self.network, self.site, self.client = network, site, client
        self.alive = True
        self.disconnecting = False
        self._input = b""
        self._text: bytes | None = None
        self._busy = False
        self._recipients: list[str] = []
        self._transactions = 0
        self._begun = False
        network.links[self] = None
        site.open += 1
        site.most = max(site.most, site.open)
        client.makeConnection(self)
        self._answer("connect", "", "421 4.7.0 too many" if site.open > site.temper.connections else "")

    # --- the client's transport -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self.alive:
            self.network.callLater(0.005, self._received, data)

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.network.callLater(0.005, self.end, ConnectionDone())

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.network.callLater(0, self.end, ConnectionAborted())

    def setTcpNoDelay(self, on: bool) -> None:
        """Nothing waits here."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing is too much here."""

    def unregisterProducer(self) -> None:
        """As registerProducer."""

    def end(self, error: Exception | None) -> None:
        """None: the client's process has died, nobody is told."""
        if self.alive:
            self.alive = False
            self.network.links.pop(self, None)
            self.site.open -= 1
            if error is None:
                self.network.record.excused.update(self._recipients)
            else:
                self.client.connectionLost(Failure(error))

    # --- the server -------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        self._input += data
        self._go_on()

    def _go_on(self) -> None:
        while self.alive and not self._busy:
            if self._text is not None:
                end = self._input.find(b"\r\n.\r\n")
                if end < 0:
                    return
                self._text, self._input = None, self._input[end + 5 :]
                self._stored()
                continue
            line, found, rest = self._input.partition(b"\r\n")
            if not found:
                return
            self._input = rest
            self._command(line.decode())

    def _command(self, line: str) -> None:
        verb = line[:4].upper()
        if verb == "MAIL":
            self._recipients = []
            self._transactions += 1
            self._begun = self._answer("MAIL", "", "")
        elif verb == "RCPT":
            to = re.findall("<(.*?)>", line)[0]
            self._look_early(to)
            if self._begun:
                self._recipients.append(to)
                self._answer("RCPT", to, "")
            else:  # what the client was told of MAIL counts
                self._reply("503 5.5.1 no transaction", lambda: self._put_off([to], "4"))
        elif verb == "EHLO":
            lines = ["peer.example", *self.site.temper.extensions]
            last = len(lines) - 1
            said = [f"250{' ' if number == last else '-'}{one}" for number, one in enumerate(lines)]
            self._answer(verb, "", "\r\n".join(said))
        elif verb == "RSET":
            self._recipients = []
            self._answer(verb, "", "")
        else:
            nobody = "503 5.5.1 no recipient" if verb == "DATA" and not self._recipients else ""
            self._answer(verb, "", "221 2.0.0 bye" if verb == "QUIT" else nobody)

    def _look_early(self, to: str) -> None:
        """Is this try too early after the last one?"""
        record, now = self.network.record, self.network.seconds()
        if to in record.excused:
            record.excused.discard(to)
            return
        before = record.put_off[to]
        if before and now - before[-1] < 57 * (1, 5, 15, 60)[min(len(before), 4) - 1]:
            waits = [round(moment - before[0]) for moment in [*before, now]]
            record.faults.append(f"{to} was tried too early: {waits}")
        if record.told[to] or to in record.refused:
            record.faults.append(f"{to} was tried after it was done")

    def _stored(self) -> None:
        """A whole text is here."""
        said = self.site.temper.say(".", "", self.network.seconds())
        if said:
            self._answer(".", "", said)
            return
        taken, self._recipients = self._recipients, []
        record = self.network.record
        for to in taken:
            record.stored_at.setdefault(to, self.network.seconds())
            record.untold[to] += 1

        def heard() -> None:
            for to in taken:
                record.untold[to] -= 1
                record.told[to] += 1

        if self.site.temper.drops_after_text():
            record.excused.difference_update(taken)
            self._hang_up(taken)
        else:
            self._reply("250 2.0.0 taken", heard)

    def _answer(self, stage: str, to: str, reply: str) -> bool:
        """What the temper says, or `reply`, or what is good here; is it that?"""
        good = {"connect": "220 peer.example ESMTP", "DATA": "354 go on"}.get(stage, "250 2.0.0 ok")
        said = reply or self.site.temper.say(stage, to, self.network.seconds()) or good
        if said == DROP:
            self._hang_up(self._recipients)
            return False
        concerned = [to] if to else list(self._recipients) if stage in ("DATA", ".") else []
        if stage == "DATA" and said == "354 go on":
            self._text = b""

        def heard() -> None:
            if said[:3] == "421" and stage != "." and self._transactions > 1:
                self.network.record.excused.update(concerned)
            elif said[0] in "45":
                self._put_off(concerned, said)

        if stage == "RCPT" and said[0] != "2":
            self._recipients.remove(to)
        self._reply(said, heard)
        return said[0] in "23"

    def _put_off(self, concerned: list[str], said: str) -> None:
        record = self.network.record
        for to in concerned:
            if said[0] == "5":
                record.refused.add(to)
            else:
                record.put_off[to].append(self.network.seconds())

    def _hang_up(self, concerned: list[str]) -> None:
        """Before the text, on a connection that was used before, the client may try again at once."""
        if self._text is None and self._transactions > 1:
            self.network.record.excused.update(concerned)
        else:
            self._put_off(concerned, "4")
        self._busy = True
        self.network.callLater(0.01, self.end, ConnectionDone())

    def _reply(self, said: str, heard: Callable[[], None]) -> None:
        self._busy = True

        def speak() -> None:
            if not self.alive or self.disconnecting:
                return
            self._busy = False
            heard()
            self.client.dataReceived(said.encode() + b"\r\n")
            if said[:3] in ("221", "421"):
                self.end(ConnectionDone())
            self._go_on()

        self.network.callLater(self.network.dice.uniform(*self.site.temper.seconds), speak)
