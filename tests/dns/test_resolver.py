"""The resolver against a real server on loopback."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import dns.flags
import dns.message
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailserver.dns.cache import MOST_NEGATIVE, Cache
from mailserver.dns.message import Alias, NoEdns, NotOurs, Truncated, make_question, read_answer
from mailserver.dns.resolver import Resolver, SystemServers, parse_server, read_resolv_conf
from mailserver.dns.values import Answer, DnsFailure, Status
from tests.helpers.dns_server import DnsServer, Zone

TABLE: dict[str, Any] = {
    "far.example MX": ["10 mx.far.example.", "5 mx2.far.example."],
    "mx.far.example A": ["192.0.2.1"],
    "alias.example CNAME": ["far.example."],
    "loop.example CNAME": ["loop2.example."],
    "loop2.example CNAME": ["loop.example."],
    "broken.example": "SERVFAIL",
    "refused.example": "REFUSED",
    "silent.example": "TIMEOUT",
    "garbage.example": "GARBAGE",
    "tc:big.example MX": [f"{n} mx{n}.big.example." for n in range(1000)],
}
TABLE |= {f"c{n}.example CNAME": [f"c{n + 1}.example."] for n in range(40)} | {"c8.example MX": ["1 mx.x."]}


class ResolverTests(TestCase):
    def setUp(self) -> None:
        self.server = DnsServer(TABLE).start(reactor)
        self.addCleanup(self.server.stop)
        self.now = 0.0
        self.servers = [self.server.address]
        self.resolver = Resolver(reactor, lambda: self.servers, clock=lambda: self.now, tries=(0.15, 0.15))

    async def fails(self, name: str, kind: str = "MX") -> DnsFailure:
        try:
            answer = await self.resolver.query(name, kind)
        except DnsFailure as error:
            return error
        raise AssertionError(answer)

    async def test_records(self) -> None:
        answer = await self.resolver.query("Far.Example.", "MX")
        self.assertEqual(answer.status, Status.FOUND)
        self.assertEqual(sorted(r.preference for r in answer.records), [5, 10])

    async def test_G8_nodata_and_nxdomain(self) -> None:
        self.assertEqual((await self.resolver.query("far.example", "A")).status, Status.NODATA)
        self.assertEqual((await self.resolver.query("nowhere.example", "MX")).status, Status.NXDOMAIN)

    async def test_G8_failures(self) -> None:
        for name in ("broken.example", "refused.example", "silent.example", "garbage.example"):
            error = await self.fails(name)
            self.assertFalse(error.hopeless, name)

    async def test_a_name_that_is_none(self) -> None:
        for name in ("a..b", "x" * 64 + ".example", "a." * 200):
            self.assertTrue((await self.fails(name)).hopeless)

    async def test_G8_truncated_goes_over_tcp(self) -> None:
        answer = await self.resolver.query("big.example", "MX")
        self.assertEqual([way for _, _, way in self.server.asked], ["udp", "tcp"])
        self.assertEqual(len(answer.records), 512, "G11: no more are looked at")

    async def test_G11_cname_chains(self) -> None:
        answer = await self.resolver.query("alias.example", "MX")
        self.assertEqual(answer.name, "far.example")
        self.assertEqual((await self.resolver.query("c0.example", "MX")).name, "c8.example")
        await self.fails("c10.example")
        await self.fails("loop.example")

    async def test_one_question_for_many_askers_and_the_cache(self) -> None:
        answers = await gatherResults([self.resolver.query("far.example", "MX") for _ in range(50)])
        self.assertEqual(len(self.server.asked), 1)
        self.assertEqual(len(set(map(id, answers))), 1)
        await self.resolver.query("far.example", "MX")
        self.assertEqual(len(self.server.asked), 1)
        self.now += 61
        await self.resolver.query("far.example", "MX")
        self.assertEqual(len(self.server.asked), 2)

    async def test_failures_reach_every_asker_and_are_not_kept(self) -> None:
        waiting = [self.resolver.query("broken.example", "MX") for _ in range(3)]
        for one in waiting:
            with self.assertRaises(DnsFailure):
                await one
        asked = len(self.server.asked)
        await self.fails("broken.example")
        self.assertGreater(len(self.server.asked), asked)

    async def test_the_next_server_is_asked(self) -> None:
        self.servers = [("127.0.0.1", 1), self.server.address]
        self.assertEqual((await self.resolver.query("far.example", "MX")).status, Status.FOUND)

    async def test_a_server_without_edns(self) -> None:
        self.server.no_edns = True
        self.assertEqual((await self.resolver.query("far.example", "MX")).status, Status.FOUND)


def reply(name: str = "far.example", kind: str = "MX", **table: Any) -> tuple[Any, bytes]:
    question = make_question(name, kind, lambda: 4711)
    wire = Zone({**TABLE, **table}).answer(question.wire, "udp")
    assert wire is not None
    return question, wire


class MessageTests(SynchronousTestCase):
    def test_answers_to_other_questions_are_not_ours(self) -> None:
        question, wire = reply()
        other = make_question("other.example", "MX", lambda: 4711)
        wrong_type = make_question("far.example", "A", lambda: 4711)
        for ask, data in (
            (question, b"\0\1" + wire[2:]),
            (question, question.wire),
            (other, wire),
            (wrong_type, wire),
            (question, b""),
            (question, wire[:11]),
        ):
            self.assertRaises(NotOurs, read_answer, ask, data)

    def test_flags(self) -> None:
        question, wire = reply()
        self.assertRaises(Truncated, read_answer, question, wire[:2] + bytes([wire[2] | 2]) + wire[3:])
        message = dns.message.from_wire(wire)
        message.flags |= dns.flags.AD
        answer = read_answer(question, message.to_wire())
        assert isinstance(answer, Answer)
        self.assertTrue(answer.secure)

    def test_a_chain_that_leaves_the_answer(self) -> None:
        question = make_question("a.example", "MX", lambda: 1)
        message = dns.message.make_response(dns.message.from_wire(question.wire))
        message.answer.append(dns.rrset.from_text("a.example.", 5, "IN", "CNAME", "b.example."))
        self.assertEqual(read_answer(question, message.to_wire()), Alias("b.example", 5))


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_an_answer_or_a_known_failure(noise: bytes, cut: int) -> None:
    """CASES G11: no exception of dnspython escapes, whatever comes."""
    question, wire = reply()
    for data in (noise, wire[:4] + noise, wire[:12] + noise, wire[:cut] + noise, wire + noise):
        with contextlib.suppress(NotOurs, Truncated, NoEdns, DnsFailure):
            read_answer(question, data)


class CacheTests(SynchronousTestCase):
    def test_bounds(self) -> None:
        cache = Cache(entries=3)
        cache.put("a", "MX", Answer(Status.FOUND, "a", ttl=10**9), 0)
        cache.put("b", "MX", Answer(Status.NXDOMAIN, "b", ttl=10**9), 0)
        cache.put("c", "MX", Answer(Status.FOUND, "c", ttl=0), 0)
        self.assertIsNotNone(cache.get("c", "MX", 4))
        self.assertIsNone(cache.get("c", "MX", 6))
        self.assertIsNone(cache.get("b", "MX", MOST_NEGATIVE + 1))
        self.assertIsNotNone(cache.get("a", "MX", 3599))
        self.assertIsNone(cache.get("a", "MX", 3601))
        for name in "vwxyz":
            cache.put(name, "A", Answer(Status.FOUND, name, ttl=99), 0)
        self.assertEqual(len(cache), 3)


class ServersTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        self.assertEqual(parse_server("192.0.2.1"), ("192.0.2.1", 53))
        self.assertEqual(parse_server("192.0.2.1:5353"), ("192.0.2.1", 5353))
        self.assertEqual(parse_server("::1"), ("::1", 53))
        self.assertEqual(parse_server("[::1]:5353"), ("::1", 5353))

    def test_resolv_conf(self) -> None:
        text = "# x\nnameserver 192.0.2.1\noptions edns0\nnameserver fe80::1%eth0\nnameserver\n"
        self.assertEqual(read_resolv_conf(text), [("192.0.2.1", 53), ("fe80::1", 53)])
        self.assertEqual(read_resolv_conf(""), [("127.0.0.1", 53)])

    def test_a_changed_file_is_read_again(self) -> None:
        path = self.mktemp()
        servers = SystemServers(path)
        self.assertEqual(servers(), [("127.0.0.1", 53)])
        with open(path, "w") as file:
            file.write("nameserver 192.0.2.1\n")
        self.assertEqual(servers(), [("192.0.2.1", 53)])
        with open(path, "w") as file:
            file.write("nameserver 192.0.2.22\n")
        os.utime(path, ns=(1, 1))
        self.assertEqual(servers(), [("192.0.2.22", 53)])
