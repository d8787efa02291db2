"""Addresses to targets: users, aliases, subaddresses, catch-all, postmaster, loops."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailserver.delivery.routes import Router
from mailserver.errors import BadAddress, NoSuchUser, RoutingLoop
from mailserver.interfaces import IRouter
from tests.helpers.settings import make_settings

USERS = {
    "alice@example.org": {"aliases": ["al@example.org"]},
    "bob@example.org": "{PLAIN}x",
    "carol@second.example": "{PLAIN}x",
}
ALIASES = {
    "team@example.org": ["alice@example.org", "bob@example.org", "friend@elsewhere.example"],
    "all@example.org": ["team@example.org", "alice@example.org", "al@example.org"],
    "a@example.org": ["b@example.org"],
    "b@example.org": ["a@example.org"],
    "self@example.org": ["self@example.org"],
    "selfish@example.org": ["selfish@example.org", "bob@example.org"],
    "stale@example.org": ["gone@example.org", "bob@example.org"],
    "dead@example.org": ["gone@example.org"],
}


class RouterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.settings = make_settings(
            USERS, ALIASES, domains={"example.org": {}, "second.example": {"subaddress": ""}}
        )
        self.router = Router(self.settings)

    def users(self, address: str) -> list[str]:
        return [target.user or target.address for target in self.router.resolve(address)]

    def test_interface(self) -> None:
        verifyObject(IRouter, self.router)

    def test_users(self) -> None:
        self.assertEqual(self.users("alice@example.org"), ["alice@example.org"])
        self.assertEqual(self.users('"Alice"@Example.ORG.'), ["alice@example.org"])
        self.assertRaises(NoSuchUser, self.router.resolve, "nobody@example.org")
        self.assertRaises(BadAddress, self.router.resolve, "nobody")

    def test_remote(self) -> None:
        (target,) = self.router.resolve("X@Elsewhere.Example")
        self.assertEqual(
            (target.user, target.domain, target.address), ("", "elsewhere.example", "X@elsewhere.example")
        )

    def test_subaddresses(self) -> None:
        (target,) = self.router.resolve("alice+lists+x@example.org")
        self.assertEqual((target.user, target.address), ("alice@example.org", "alice+lists+x@example.org"))
        self.assertEqual(self.users("al+x@example.org"), ["alice@example.org"])
        self.assertRaises(NoSuchUser, self.router.resolve, "+x@example.org")
        self.assertRaises(NoSuchUser, self.router.resolve, "carol+x@second.example")

    def test_C15_aliases_give_one_copy_for_each_mailbox(self) -> None:
        everyone = ["alice@example.org", "bob@example.org", "friend@elsewhere.example"]
        self.assertEqual(self.users("team@example.org"), everyone)
        self.assertEqual(self.users("ALL@example.org"), everyone)
        self.assertEqual(self.users("al@example.org"), ["alice@example.org"])

    def test_C13_loops(self) -> None:
        for address in ("a@example.org", "b@example.org", "self@example.org"):
            self.assertRaises(RoutingLoop, self.router.resolve, address)
        self.assertEqual(self.users("selfish@example.org"), ["bob@example.org"])

    def test_C13_depth(self) -> None:
        chain = {f"n{n}@example.org": [f"n{n + 1}@example.org"] for n in range(100)}
        chain["n100@example.org"] = ["bob@example.org"]
        router = Router(make_settings(USERS, chain))
        self.assertRaises(RoutingLoop, router.resolve, "n0@example.org")
        self.assertEqual(router.resolve("n82@example.org")[0].user, "bob@example.org")

    def test_C13_every_address_is_looked_at_once(self) -> None:
        """Aliases that fan out again at each level do not multiply."""
        wide = {f"n{n}@example.org": [f"n{n + 1}@example.org", f"m{n + 1}@example.org"] for n in range(18)}
        wide |= {f"m{n}@example.org": wide[f"n{n}@example.org"] for n in range(1, 18)}
        wide |= {"n18@example.org": ["bob@example.org"], "m18@example.org": ["bob@example.org"]}
        router = Router(make_settings(USERS, wide))
        steps: list[str] = []
        step = router.step
        self.patch(router, "step", lambda mailbox: (steps.append(str(mailbox)), step(mailbox))[1])

        self.assertEqual(router.resolve("n0@example.org")[0].user, "bob@example.org")
        self.assertEqual(len(steps), len(set(steps)))

    def test_a_member_that_is_gone_does_not_stop_the_others(self) -> None:
        self.assertEqual(self.users("stale@example.org"), ["bob@example.org"])
        self.assertRaises(NoSuchUser, self.router.resolve, "dead@example.org")

    def test_C11_postmaster_always(self) -> None:
        for address in ("postmaster", "POSTMASTER", "Postmaster@example.org", "abuse@example.org"):
            self.assertEqual(self.users(address), ["alice@example.org"], address)
        self.assertEqual(self.users("postmaster@second.example"), ["carol@second.example"])
        self.settings.change(domains={"example.org": {"postmaster": "bob@example.org"}})
        self.assertEqual(self.users("postmaster"), ["bob@example.org"])

    def test_C11_postmaster_of_a_domain_without_users(self) -> None:
        self.settings.change(domains={"empty.example": {}})
        self.assertEqual(self.users("postmaster@empty.example"), ["alice@example.org"])

    def test_catch_all(self) -> None:
        self.settings.change(domains={"example.org": {"catch_all": "bob@example.org"}})
        self.assertEqual(self.users("nobody@example.org"), ["bob@example.org"])
        self.assertEqual(self.users("alice@example.org"), ["alice@example.org"])

    def test_C2_C10_odd_local_parts_are_plain_names(self) -> None:
        for local in ("u%remote", "remote!u", '"u@remote"', '"../../etc"', "a/b", "-flag", '";cmd"', "`id`"):
            self.assertRaises(NoSuchUser, self.router.resolve, f"{local}@example.org")

    def test_local_domains(self) -> None:
        for domain in ("example.org", "EXAMPLE.org", "example.org.", "Second.Example"):
            self.assertTrue(self.router.is_local_domain(domain), domain)
        for domain in ("", "example.com", "sub.example.org", "[127.0.0.1]", "example.org..", "a b"):
            self.assertFalse(self.router.is_local_domain(domain), domain)

    def test_C4_ownership(self) -> None:
        owns = self.router.owns
        for address in ("alice@example.org", "Alice@Example.org", "al@example.org", "alice+x@example.org"):
            self.assertTrue(owns("alice@example.org", address), address)
        for address in (
            "bob@example.org",
            "team@example.org",
            "alice@second.example",
            "alice",
            "",
            "postmaster",
        ):
            self.assertFalse(owns("alice@example.org", address), address)
        self.assertFalse(owns("nobody@example.org", "nobody@example.org"))
