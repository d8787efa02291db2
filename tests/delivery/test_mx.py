"""Domains to addresses: RFC 5321, 5.1, null MX, and what DNS must not make us do."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailserver.config.schema import Smarthost
from mailserver.delivery.mx import (
    HostFinder,
    Unroutable,
    has_null_mx,
    is_own_address,
    names_of_hosts_file,
)
from mailserver.delivery.next_hop import NextHop, next_hop
from mailserver.dns.message import make_question, read_answer
from mailserver.dns.values import Answer, DnsFailure
from tests.helpers.dns_server import Zone
from tests.helpers.settings import make_settings

FAR = {"far.example MX": ["10 mx1.far.example."], "mx1.far.example A": ["192.0.2.1"]}


def own(ip: str) -> bool:
    """Addresses of this machine in these tests; where they run, 192.0.2.x may be real."""
    if ip.startswith(("192.0.2.", "2001:db8:")):
        return False
    return ip == "198.51.100.1" or is_own_address(ip)


class FinderTestCase(SynchronousTestCase):
    """`find` asks a zone; the machine is 198.51.100.1 and mail.example.org."""

    def query(self, name: str, kind: str) -> Deferred[Answer]:
        self.asked.append((name, kind))
        try:
            question = make_question(name, kind, lambda: 1)
            wire = self.zone.answer(question.wire, "tcp")
            if wire is None:
                raise DnsFailure("timeout")
            answer = read_answer(question, wire)
        except DnsFailure as error:
            return fail(error)
        assert isinstance(answer, Answer)
        return succeed(answer)

    def find(self, hop: NextHop | str, table: dict[str, Any], **relay: Any) -> list[str]:
        """Addresses found, as `name=ip:port`."""
        self.zone, self.asked = Zone(table), []
        settings = make_settings(relay=relay)
        finder = HostFinder(
            self.query,
            lambda: settings.now,
            is_own=own,
            shuffle=lambda equal: equal.sort(key=lambda one: one.name, reverse=True),
            local_names=lambda name: ["10.1.1.1"] if name == "relay.lan" else [],
        )
        hop = NextHop(hop, hop) if isinstance(hop, str) else hop
        hosts = self.successResultOf(Deferred.fromCoroutine(finder.find(hop)))
        return [f"{host.name}={host.ip}:{host.port}" for host in hosts]

    def refused(self, domain: str, table: dict[str, Any]) -> tuple[int, str]:
        """Code and status of the Unroutable."""
        self.zone, self.asked = Zone(table), []
        settings = make_settings()
        finder = HostFinder(self.query, lambda: settings.now, is_own=own)
        found = Deferred.fromCoroutine(finder.find(NextHop(domain, domain)))
        error = self.failureResultOf(found, Unroutable).value
        return error.reply.code, error.reply.status


class ExchangeTests(FinderTestCase):
    def test_preferences_and_equal_ones_shuffled(self) -> None:
        table = {
            "far.example MX": ["20 c.far.example.", "10 a.far.example.", "10 b.far.example."],
            "a.far.example A": ["192.0.2.1"],
            "b.far.example A": ["192.0.2.2"],
            "b.far.example AAAA": ["2001:db8::2"],
            "c.far.example A": ["192.0.2.3"],
        }
        self.assertEqual(
            self.find("far.example", table),
            [
                "b.far.example=192.0.2.2:25",
                "b.far.example=2001:db8::2:25",
                "a.far.example=192.0.2.1:25",
                "c.far.example=192.0.2.3:25",
            ],
        )

    def test_G8_no_mx_means_the_domain_itself(self) -> None:
        self.assertEqual(
            self.find("far.example", {"far.example A": ["192.0.2.7"]}), ["far.example=192.0.2.7:25"]
        )

    def test_G8_nxdomain_bounces_trouble_defers(self) -> None:
        self.assertEqual(self.refused("gone.example", FAR), (550, "5.1.2"))
        for fault in ("SERVFAIL", "REFUSED", "TIMEOUT", "GARBAGE"):
            self.assertEqual(self.refused("far.example", {"far.example": fault}), (451, "4.4.3"))
            hosts = {"far.example MX": ["1 mx.far.example."], "mx.far.example": fault}
            self.assertEqual(self.refused("far.example", hosts), (451, "4.4.3"))

    def test_no_host_with_an_address(self) -> None:
        self.assertEqual(
            self.refused("far.example", {"far.example MX": ["1 mx.gone.example."]}), (550, "5.4.4")
        )
        self.assertEqual(self.refused("far.example", {"far.example TXT": ['"x"']}), (550, "5.4.4"))
        self.assertEqual(self.refused("a..b", FAR), (550, "5.1.2"))

    def test_one_host_in_trouble_does_not_hide_another(self) -> None:
        table = {"far.example MX": ["1 a.far.example.", "2 mx1.far.example."], "a.far.example": "SERVFAIL"}
        self.assertEqual(self.find("far.example", {**FAR, **table}), ["mx1.far.example=192.0.2.1:25"])

    def test_G9_null_mx(self) -> None:
        self.assertEqual(
            self.refused("far.example", {"far.example MX": ["0 ."], "far.example A": ["192.0.2.1"]}),
            (556, "5.1.10"),
        )
        self.assertEqual(self.asked, [("far.example", "MX")], "no address is looked up")

    def test_G9_whether_a_domain_has_a_null_mx(self) -> None:
        """RFC 7505, 3; a domain without MX records, and one that is not there, have none."""
        self.asked = []
        self.zone = Zone({"null.example MX": ["0 ."], "only.example A": ["192.0.2.1"], **FAR})
        for domain, expected in (
            ("null.example", True),
            ("far.example", False),
            ("only.example", False),
            ("nowhere.example", False),
        ):
            self.assertIs(self.successResultOf(has_null_mx(self.query, domain)), expected, domain)
        self.zone = Zone({"sick.example": "SERVFAIL"})
        self.failureResultOf(has_null_mx(self.query, "sick.example"), DnsFailure)

    def test_G11_many_records(self) -> None:
        table: dict[str, Any] = {"far.example MX": [f"{n} mx{n}.far.example." for n in range(1000)]}
        table |= {f"mx{n}.far.example A": [f"192.0.2.{n}"] for n in range(200)}
        self.assertEqual(len(self.find("far.example", table)), 5)
        self.assertLess(len(self.asked), 40)
        many = {"far.example A": [f"192.0.2.{n}" for n in range(100)]}
        self.assertEqual(len(self.find("far.example", many)), 5)

    def test_G11_cname_loop_defers(self) -> None:
        table = {"far.example CNAME": ["b.example."], "b.example CNAME": ["far.example."]}
        self.assertEqual(self.refused("far.example", table), (451, "4.4.3"))

    def test_an_mx_that_is_a_cname_is_followed(self) -> None:
        table = {"far.example MX": ["1 m.far.example."], "m.far.example CNAME": ["mx1.far.example."], **FAR}
        table["far.example MX"] = ["1 m.far.example."]
        self.assertEqual(self.find("far.example", table), ["m.far.example=192.0.2.1:25"])


class LoopTests(FinderTestCase):
    def test_G10_names_and_addresses_of_this_server(self) -> None:
        for records in (
            {"far.example MX": ["1 mail.example.org."], "mail.example.org A": ["192.0.2.1"]},
            {"far.example MX": ["1 Mail.Example.ORG."]},
            {"far.example MX": ["1 localhost."]},
            {"far.example MX": ["1 me.far.example."], "me.far.example A": ["198.51.100.1"]},
            {"far.example MX": ["1 me.far.example."], "me.far.example A": ["127.0.0.1"]},
            {"far.example MX": ["1 me.far.example."], "me.far.example A": ["0.0.0.0"]},
            {"far.example MX": ["1 me.far.example."], "me.far.example AAAA": ["::1"]},
            {"far.example MX": ["1 me.far.example."], "me.far.example AAAA": ["::ffff:127.0.0.1"]},
            {"far.example A": ["127.0.0.2"]},
            {"far.example MX": ["1 me.x."], "me.x CNAME": ["us.x."], "us.x A": ["198.51.100.1"]},
        ):
            self.assertEqual(self.refused("far.example", records), (554, "5.4.6"), records)

    def test_G10_we_and_what_is_not_better_are_discarded(self) -> None:
        table = {
            "far.example MX": ["1 a.x.", "5 b.x.", "5 mail.example.org.", "9 c.x."],
            "a.x A": ["192.0.2.1"],
            "b.x A": ["192.0.2.2"],
            "c.x A": ["192.0.2.3"],
        }
        self.assertEqual(self.find("far.example", table), ["a.x=192.0.2.1:25"])

    def test_laboratories_may_allow_it(self) -> None:
        table = {"far.example MX": ["1 me.x."], "me.x A": ["127.0.0.1"]}
        self.assertEqual(
            self.find("far.example", table, allow_loopback=True, port=2525), ["me.x=127.0.0.1:2525"]
        )

    def test_address_literals(self) -> None:
        self.assertEqual(self.find("[192.0.2.1]", {}), ["[192.0.2.1]=192.0.2.1:25"])
        self.assertEqual(self.find("[IPv6:2001:db8::1]", {}), ["[IPv6:2001:db8::1]=2001:db8::1:25"])
        self.assertEqual(self.refused("[127.0.0.1]", {}), (554, "5.4.6"))
        self.assertEqual(self.refused("[x-net:what]", {}), (550, "5.1.2"))


class ConfiguredHostTests(FinderTestCase):
    def hop(self, host: str, port: int = 25) -> NextHop:
        return NextHop("key", "", Smarthost(host, port))

    def test_names_literals_and_loopback(self) -> None:
        self.assertEqual(self.find(self.hop("127.0.0.1", 2525), {}), ["127.0.0.1=127.0.0.1:2525"])
        self.assertEqual(self.find(self.hop("[::1]"), {}), ["::1=::1:25"])
        self.assertEqual(self.find(self.hop("relay.lan", 587), {}), ["relay.lan=10.1.1.1:587"])
        table = {**FAR, "mx1.far.example MX": ["1 other.x."]}
        self.assertEqual(self.find(self.hop("mx1.far.example"), table), ["mx1.far.example=192.0.2.1:25"])
        self.assertNotIn(("mx1.far.example", "MX"), self.asked)

    def test_a_name_that_is_not_found_makes_mail_wait(self) -> None:
        self.zone, self.asked = Zone({}), []
        finder = HostFinder(self.query, lambda: make_settings().now)
        found = Deferred.fromCoroutine(finder.find(self.hop("typo.example")))
        error = self.failureResultOf(found, Unroutable).value
        self.assertEqual((error.reply.code, error.reply.status), (451, "4.4.4"))


class NextHopTests(SynchronousTestCase):
    def test_routes_before_the_smarthost_before_mx(self) -> None:
        near, below, smart = Smarthost("10.0.0.7", 26), Smarthost("10.0.0.8"), Smarthost("isp", 587, "u", "p")
        relay = make_settings(
            relay={"routes": {"partner.example": near, "*.partner.example": below}, "smarthost": smart}
        ).now.relay
        self.assertIs(next_hop(relay, "partner.example").host, near)
        self.assertIs(next_hop(relay, "a.b.partner.example").host, below)
        self.assertIs(next_hop(relay, "other.example").host, smart)
        self.assertEqual(
            next_hop(make_settings().now.relay, "other.example"), NextHop("other.example", "other.example")
        )

    def test_hosts_file(self) -> None:
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("127.0.0.1 localhost\n10.0.0.1 Relay.lan relay # comment\nbroken relay\n")
        self.assertEqual(names_of_hosts_file("relay", path), ["10.0.0.1"])
        self.assertEqual(names_of_hosts_file("RELAY.LAN", path), ["10.0.0.1"])
        self.assertEqual(names_of_hosts_file("comment", path), [])
