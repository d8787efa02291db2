"""Addresses: what is taken, what is refused, and that nothing hostile passes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailserver.errors import BadAddress
from mailserver.wire.address import Mailbox, domain_to_ascii, normalise, parse_mailbox, parse_path, split

TAKEN = {
    "alice@example.org": Mailbox("alice", "example.org"),
    "Alice@EXAMPLE.org": Mailbox("Alice", "example.org"),
    "u%remote@local": Mailbox("u%remote", "local"),
    "remote!u@local": Mailbox("remote!u", "local"),
    '"u@remote"@local': Mailbox("u@remote", "local"),
    '"a b\\"c"@local': Mailbox('a b"c', "local"),
    "u@local.": Mailbox("u", "local"),
    "u@[127.0.0.1]": Mailbox("u", "[127.0.0.1]"),
    "u@[ipv6:0:0::1]": Mailbox("u", "[IPv6:::1]"),
    "-flag@local": Mailbox("-flag", "local"),
    "u@faß.de": Mailbox("u", "xn--fa-hia.de", utf8=True),
    "élan@exämple.org": Mailbox("élan", "xn--exmple-cua.org", utf8=True),
    "a" * 64 + "@b": Mailbox("a" * 64, "b"),
}
REFUSED = [
    "",
    "@",
    "u",
    "u@",
    "@local",
    '""@local',
    "u@remote@local",
    "u@remote,local",
    ".u@local",
    "u.@local",
    "u..v@local",
    "../../etc@local",
    "..@local",
    "u@.local",
    "u@lo..cal",
    "u@-local",
    "u@local-",
    "u@127.0.0.1",
    "u@[127.0.0.1",
    "u@[300.1.1.1]",
    "u@[IPv6:fe80::1%eth0]",
    "u@[tag:x]",
    "a" * 65 + "@local",
    "u@" + "a" * 64,
    "u@" + ".".join(["a" * 49] * 5) + ".abcd",  # 254
    "u@local\n",
    "u\n@local",
    "u\0@local",
    '"u\nv"@local',
    '"u\\\nv"@local',
    "u v@local",
    "u@lo cal",
    "<u@local>",
    "u@local>",
    "u\x7f@local",
    "u\u202ev@local",
    "u\x85@local",
    "u@loc\u3000al",
]


class MailboxTests(SynchronousTestCase):
    def test_taken(self) -> None:
        for text, expected in TAKEN.items():
            self.assertEqual(parse_mailbox(text), expected, text)

    def test_C9_C10_refused(self) -> None:
        for text in REFUSED:
            with self.assertRaises(BadAddress, msg=repr(text)):
                parse_mailbox(text)

    def test_written_form_parses_back(self) -> None:
        for expected in TAKEN.values():
            self.assertEqual(str(parse_mailbox(str(expected))), str(expected))

    def test_normalise(self) -> None:
        self.assertEqual(normalise('"Alice"@Example.ORG.'), "alice@example.org")
        self.assertEqual(normalise("A b@x".replace(" ", "")), "ab@x")
        self.assertEqual(normalise('"A b"@x'), '"a b"@x')

    def test_C12_spellings_of_one_utf8_address_are_one_key(self) -> None:
        self.assertEqual(normalise("E\u0301lan@x.org"), normalise("\u00e9lan@X.org"))

    def test_split(self) -> None:
        self.assertEqual(split('"a@b"@c.org'), ('"a@b"', "c.org"))

    def test_domains(self) -> None:
        self.assertEqual(domain_to_ascii("BÜCHER.example."), "xn--bcher-kva.example")
        for bad in ("", ".", "a..b", "a b", "a" * 64, "1.2.3.4", "a\n", "\u0660"):
            with self.assertRaises(BadAddress, msg=repr(bad)):
                domain_to_ascii(bad)


class PathTests(SynchronousTestCase):
    def test_null_path(self) -> None:
        self.assertEqual(parse_path(b"<> SIZE=1"), (None, b" SIZE=1"))

    def test_C1_a_source_route_is_dropped(self) -> None:
        for path in (b"<@local:u@remote>", b"<@a,@local:u@remote>"):
            self.assertEqual(parse_path(path), (Mailbox("u", "remote"), b""))

    def test_C11_postmaster_without_a_domain(self) -> None:
        self.assertEqual(parse_path(b"<PostMaster>", postmaster=True), (Mailbox("PostMaster", ""), b""))
        self.assertRaises(BadAddress, parse_path, b"<postmaster>")

    def test_quoted_strings_may_hold_brackets(self) -> None:
        self.assertEqual(parse_path(b'<"a>\\"b"@c> X=<y>'), (Mailbox('a>"b', "c"), b" X=<y>"))

    def test_refused(self) -> None:
        for path in (
            b"",
            b"u@local",
            b"<u@local",
            b'<"u@local>',
            b'<"u\\',
            b"<@:u@local>",
            b"<@local>",
            b"<@a@b:u@c>",
            b"<u@remote,local>",
            b'<"a\nRCPT TO:<v@w>"@b>',
            b"<u\xff@local>",
            b"< u@local>",
            b"<u@local >",
        ):
            with self.assertRaises(BadAddress, msg=repr(path)):
                parse_path(path, postmaster=True)

    @settings(max_examples=500, deadline=None)
    @given(st.one_of(st.binary(max_size=80), st.text('<>@.,:"\\[] aé\r\n\0%!1', max_size=40).map(str.encode)))
    def test_C7_C8_nothing_that_is_taken_holds_a_line_end(self, argument: bytes) -> None:
        try:
            mailbox, _ = parse_path(b"<" + argument, postmaster=True)
        except BadAddress:
            return
        text = str(mailbox)
        assert not any(ord(character) < 32 or ord(character) == 127 for character in text)

    @settings(max_examples=300, deadline=None)
    @given(st.text(max_size=30), st.text(max_size=30))
    def test_normalise_is_idempotent(self, local: str, domain: str) -> None:
        try:
            once = normalise(f"{local}@{domain}")
        except BadAddress:
            return
        assert normalise(once) == once
