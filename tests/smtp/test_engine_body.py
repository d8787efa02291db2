"""Message text in the engine: ends, smuggling, sizes, and that the cuts of the input do not matter."""

from __future__ import annotations

import random

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailserver.smtp.engine import SmtpEngine
from mailserver.smtp.events import BodyFailed, BodyRefused, Closing

from .talk import OPTIONS, Talk, by_byte

STRAY_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
]
SMUGGLED = b"MAIL FROM:<e@v>\r\nRCPT TO:<f@v>\r\nDATA\r\nevil\r\n.\r\n"
BARE = "550 5.5.2 Bare CR or LF in message text (RFC 5321, 2.3.8)"


class SmugglingTests(SynchronousTestCase):
    def test_A1_a_second_message_after_lf_dot_lf(self) -> None:
        talk = Talk().to_data()
        self.assertEqual(talk.say(b"x\n.\n" + SMUGGLED), [BARE])
        self.assertEqual((talk.senders, talk.messages), (["s@example.com"], []))
        self.assertEqual(talk.line("NOOP")[:4], "250 ")

    def test_A2_every_stray_end_at_every_split(self) -> None:
        """One refusal, after the real end, and no second MAIL, wherever the segment is cut."""
        for stray in STRAY_ENDS:
            data = b"x" + stray + SMUGGLED
            for cut in range(len(data) + 1):
                talk = Talk().to_data()
                before = talk.say(data[:cut])
                made = before + talk.say(data[cut:])
                self.assertEqual(made, [BARE], (stray, cut))
                self.assertEqual(before, [] if cut < len(data) else [BARE])
                self.assertEqual(talk.senders, ["s@example.com"])

    def test_A2_nul_before_the_dot_is_text(self) -> None:
        talk = Talk().to_data()
        self.assertEqual(talk.say(b"x\r\n\0.\r\n" + SMUGGLED), ["250 2.0.0 Ok"])
        self.assertIn(b"MAIL FROM", talk.messages[0])
        self.assertEqual(len(talk.senders), 1)

    def test_A3_over_long_lines(self) -> None:
        for size in (20_000, 1_000_000):
            talk = Talk(evolve(OPTIONS, max_size=10_000_000)).to_data()
            made = talk.say(b"x" * size)
            self.assertEqual(made, [])
            made = talk.say(b"\r\nMAIL FROM:<e@v>\r\n.\r\n")
            self.assertEqual(made, ["554 5.6.0 Line too long in message text"])
            self.assertEqual(talk.senders, ["s@example.com"])

    def test_A3_the_limit_of_a_line_does_not_depend_on_the_cuts(self) -> None:
        for size, reply in ((16_383, "250 "), (16_384, "554 ")):
            for step in (1, 7, 4096, 10**6):
                talk = Talk().to_data()
                data = b"a\r\n" + b"x" * size + b"\r\nb\r\n.\r\n"
                made = talk.cut(data[n : n + step] for n in range(0, len(data), step))
                self.assertEqual([line[:4] for line in made], [reply], (size, step))

    def test_A4_over_size_is_read_to_its_end(self) -> None:
        talk = Talk(evolve(OPTIONS, max_size=100)).to_data()
        self.assertEqual(talk.say(b"x" * 99 + b"\r\nMAIL FROM:<e@v>\r\nRCPT TO:<f@v>\r\nDATA\r\n"), [])
        self.assertIsInstance(talk.events[-1], BodyFailed)
        self.assertEqual(talk.say(b".\r\n"), ["552 5.3.4 Message size exceeds fixed maximum message size"])
        self.assertIsInstance(talk.events[-1], BodyRefused)
        self.assertEqual(talk.senders, ["s@example.com"])
        self.assertEqual(talk.line("RCPT TO:<x@y>")[:4], "503 ")

    def test_A4_a_flood_is_cut_off(self) -> None:
        talk = Talk(evolve(OPTIONS, max_size=1000)).to_data()
        made = talk.cut([b"x" * 500 + b"\r\n"] * 20)
        self.assertEqual([line[:4] for line in made], ["552 "])
        self.assertIsInstance(talk.events[-1], Closing)

    def test_size_is_exact(self) -> None:
        """Stuffing dots and the end do not count (RFC 1870, 5)."""
        for size, reply in ((100, "250 "), (101, "552 ")):
            talk = Talk(evolve(OPTIONS, max_size=100)).to_data()
            self.assertEqual(talk.say(b"..".ljust(size - 1, b"x") + b"\r\n.\r\n")[0][:4], reply)

    def test_A8_an_empty_message(self) -> None:
        talk = Talk().to_data()
        self.assertEqual(talk.say(b".\r\n"), ["250 2.0.0 Ok"])
        self.assertEqual(talk.messages, [b""])
        self.assertEqual(talk.line("MAIL FROM:<>")[:4], "250 ")

    def test_A7_dots(self) -> None:
        talk = Talk().to_data()
        talk.say(b"...a\r\n..b\r\n....\r\n.\r\n")
        self.assertEqual(talk.messages, [b"..a\r\n.b\r\n...\r\n"])

    def test_commands_behind_the_end_wait_for_the_answer(self) -> None:
        talk = Talk().to_data()
        made = talk.say(b"x\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
        self.assertEqual([line[:10] for line in made], ["250 2.0.0 ", "250 2.1.0 ", "250 2.1.5 "])


# Groups that a client may send in one segment (RFC 2920), each cut at will.
DIALOG = [
    b"EHLO client\r\n",
    b"mail from:<a@b> SIZE=10\r\nRCPT TO:<c@d>\r\nRCPT TO:<>\r\nrcpt to:<e@f>\r\nDATA\r\n",
    b"Subject: x\r\n\r\n..dot\r\n.x\r\n" + b"long" * 500 + b"\r\n.\r\nNOOP\r\nEHLO a\nb\r\nBOGUS\r\nRSET\r\n",
    b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
    b"bare\nline\r\n.\r\nVRFY x\r\nQUIT\r\n",
]


def outcome(talk: Talk) -> tuple[object, ...]:
    return (
        talk.messages,
        talk.senders,
        talk.recipients,
        [repr(e) for e in talk.events if not isinstance(e, BodyFailed)],
    )


class MetamorphicTests(SynchronousTestCase):
    def play(self, cut_up: object) -> tuple[list[str], tuple[object, ...]]:
        talk = Talk()
        made: list[str] = []
        for group in DIALOG:
            made += talk.cut(cut_up(group))  # type: ignore[operator]
        return made, outcome(talk)

    def test_K7_whole_groups_single_octets_and_random_cuts(self) -> None:
        """Identical replies, events and message octets, however the same input is cut."""
        whole = self.play(lambda group: [group])
        self.assertEqual(len(whole[1][0]), 1)
        self.assertEqual(self.play(by_byte), whole)
        chance = random.Random(7)
        for _ in range(200):

            def cut_up(group: bytes) -> list[bytes]:
                cuts = sorted(chance.sample(range(len(group) + 1), chance.randint(1, 6)))
                return [group[a:b] for a, b in zip([0, *cuts], [*cuts, len(group)], strict=True)]

            self.assertEqual(self.play(cut_up), whole)


TOKENS = st.sampled_from(
    [
        b"EHLO a",
        b"HELO",
        b"MAIL FROM:",
        b"<a@b>",
        b"RCPT TO:",
        b"<",
        b">",
        b'"',
        b"\\",
        b"DATA",
        b"\r\n",
        b"\r",
        b"\n",
        b".",
        b"\r\n.\r\n",
        b"AUTH PLAIN",
        b" ",
        b"=",
        b"*",
        b"QUIT",
        b"STARTTLS",
        b"RSET",
        b" SIZE=1",
        b"\x00",
        b"\xff",
    ]
)
HOSTILE = st.lists(st.one_of(TOKENS, st.binary(max_size=20)), max_size=60).map(b"".join)


class PropertyTests(SynchronousTestCase):
    @settings(max_examples=400, deadline=None)
    @given(st.lists(HOSTILE, max_size=4))
    def test_no_input_breaks_the_engine(self, segments: list[bytes]) -> None:
        """No exception, only well-formed replies, a bounded buffer."""
        talk = Talk(evolve(OPTIONS, mechanisms=("PLAIN",), errors=1000))
        for segment in segments:
            for line in talk.say(segment):
                assert line[:3].isdigit() and line[3] in " -" and line.isprintable()
            assert talk.engine.buffered <= 20_000

    @settings(max_examples=200, deadline=None)
    @given(HOSTILE)
    def test_K7_any_text_is_read_alike_however_it_is_cut(self, text: bytes) -> None:
        data = text + b"\r\n.\r\n"
        whole, single = Talk().to_data(), Talk().to_data()
        end = data.find(b"\r\n.\r\n") + 5 if not data.startswith(b".\r\n") else 3
        made = whole.say(data[:end])
        assert len(made) == 1
        assert single.cut(by_byte(data[:end])) == made
        assert single.messages == whole.messages


class SpeedTests(SynchronousTestCase):
    def test_the_engine_takes_few_steps_for_a_message(self) -> None:
        """A message of 4 KiB in one segment is three events: no step for each line."""
        talk = Talk().to_data()
        engine: SmtpEngine = talk.engine
        engine.receive(b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 60 + b".\r\n")
        kinds = []
        while (event := engine.next_event()) is not None:
            kinds.append(type(event).__name__)
        self.assertEqual(kinds, ["BodyReceived", "BodyEnded"])
