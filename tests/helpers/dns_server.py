"""A DNS server for tests: UDP and TCP, answers from a table, faults on demand.

In a test:  server = DnsServer({"far.example MX": ["10 mx.far.example."], "mx.far.example A": ["192.0.2.1"]})
            await server.start(reactor); server.address -> ("127.0.0.1", port); await server.stop()
Alone:      python -m tests.helpers.dns_server 5353 zone.json     (the table as JSON, read again on change)

Faults are values instead of a list: "SERVFAIL", "REFUSED", "TIMEOUT", "FORMERR", "GARBAGE"; a name alone as
key stands for all its types. "TC:" before a key answers truncated over UDP. Names that are not in the
table are NXDOMAIN, types that are not are NODATA.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import LoopingCall

Table = dict[str, Any]
MAX_CHAIN = 20


class Zone:
    """The table and what was asked of it."""

    def __init__(self, table: Table) -> None:
        self.table = {key.lower(): value for key, value in table.items()}
        self.asked: list[tuple[str, str, str]] = []  # name, type, "udp" or "tcp"
        self.no_edns = False

    def answer(self, wire: bytes, way: str) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, way))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if self.no_edns and query.edns >= 0:
            response.use_edns(False)
            response.set_rcode(dns.rcode.FORMERR)
            return response.to_wire()
        fault = self.fault(name, kind)
        if fault == "TIMEOUT":
            return None
        if fault == "GARBAGE":
            return wire[:2] + b"\x81\x80" + b"\xff" * 20
        if fault is not None:
            response.set_rcode(dns.rcode.from_text(fault))
            return response.to_wire()
        if way == "udp" and f"tc:{name} {kind}".lower() in self.table:
            response.flags |= dns.flags.TC
            return response.to_wire()
        self.fill(response, name, kind)
        return response.to_wire(max_size=65535)

    def fault(self, name: str, kind: str) -> str | None:
        for key in (f"{name} {kind}".lower(), name):
            value = self.table.get(key)
            if isinstance(value, str):
                return value
        return None

    def fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        """Records, with the CNAMEs on the way."""
        for _ in range(MAX_CHAIN):
            found = self.records(name, kind)
            if found:
                response.answer.append(dns.rrset.from_text_list(name + ".", 60, "IN", kind, found))
                return
            alias = self.records(name, "CNAME")
            if not alias:
                break
            response.answer.append(dns.rrset.from_text_list(name + ".", 60, "IN", "CNAME", alias))
            name = alias[0].rstrip(".").lower()
        if not any(key.removeprefix("tc:").split()[0] == name for key in self.table):
            response.set_rcode(dns.rcode.NXDOMAIN)
        soa = "ns.test. host.test. 1 2 3 4 30"
        response.authority.append(dns.rrset.from_text("test.", 30, "IN", "SOA", soa))

    def records(self, name: str, kind: str) -> list[str]:
        for prefix in ("", "tc:"):
            found = self.table.get(f"{prefix}{name} {kind}".lower())
            if isinstance(found, list):
                return found
        return []


class _Udp(DatagramProtocol):
    transport: Any

    def __init__(self, zone: Zone) -> None:
        self.zone = zone

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = self.zone.answer(datagram, "udp")
        if answer is not None:
            self.transport.write(answer, addr)


class _Tcp(Protocol):
    transport: Any
    factory: Any

    def __init__(self) -> None:
        self.data = b""

    def connectionMade(self) -> None:
        self.factory.open.add(self)

    def connectionLost(self, reason: object = None) -> None:
        self.factory.open.discard(self)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        while len(self.data) >= 2 and len(self.data) >= 2 + (length := int.from_bytes(self.data[:2], "big")):
            wire, self.data = self.data[2 : 2 + length], self.data[2 + length :]
            answer = self.factory.zone.answer(wire, "tcp")
            if answer is not None:
                self.transport.write(struct.pack("!H", len(answer)) + answer)


class _TcpFactory(Factory):
    noisy = False
    protocol = _Tcp

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.open: set[Any] = set()


class DnsServer(Zone):
    """A zone on a UDP and a TCP port of loopback, the same number."""

    def start(self, reactor: Any, port: int = 0) -> DnsServer:
        self.factory = _TcpFactory(self)
        for _ in range(20):
            self.tcp = reactor.listenTCP(port, self.factory, interface="127.0.0.1")
            number = self.tcp.getHost().port
            try:
                self.udp = reactor.listenUDP(number, _Udp(self), interface="127.0.0.1")
            except Exception:
                self.tcp.stopListening()
                if port:
                    raise
                continue
            self.address = ("127.0.0.1", number)
            return self
        raise RuntimeError("no port that is free for UDP and TCP")

    def stop(self) -> Deferred[Any]:
        for connection in list(self.factory.open):
            connection.transport.abortConnection()
        return gatherResults([maybeDeferred(port.stopListening) for port in (self.udp, self.tcp)])


def main() -> None:
    """Serve a JSON table until killed."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

    port, path = int(sys.argv[1]), Path(sys.argv[2])
    server = DnsServer(json.loads(path.read_text("utf-8"))).start(reactor, port)
    stamp = [path.stat().st_mtime_ns]

    def look() -> None:
        now = path.stat().st_mtime_ns
        if now != stamp[0]:
            stamp[0] = now
            server.table = Zone(json.loads(path.read_text("utf-8"))).table

    LoopingCall(look).start(0.2)
    print(f"DNS on {server.address[0]}:{server.address[1]}", flush=True)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
