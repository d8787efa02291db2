"""The client engine against a scripted server: each test reads as the dialog."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.smtp.client.answers import Reply, local_reply
from mailserver.smtp.client.engine import ClientEngine
from mailserver.smtp.client.values import (
    TIMEOUTS,
    ClientOptions,
    Event,
    Failed,
    Finished,
    Mail,
    Ready,
    SendBody,
    StartTls,
    State,
    TlsUse,
    TransactionDone,
)

OPTIONS = ClientOptions("relay.example.org")
EHLO = b"250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"
PLAIN_EHLO = b"250 mx.example.net\r\n"
MAIL = Mail("a@example.org", ("b@example.net", "c@example.net"), size=100)

pytestmark = pytest.mark.parametrize("step", [0, 1], ids=["whole", "bytewise"])


class Dialog:
    """Drives an engine; `server` feeds what the server says, in segments of `step` octets."""

    def __init__(self, step: int, options: ClientOptions = OPTIONS) -> None:
        self.engine = ClientEngine(options)
        self.step = step

    def server(self, data: bytes) -> None:
        step = self.step or len(data) or 1
        for start in range(0, len(data), step):
            self.engine.receive(data[start : start + step])

    def client(self) -> bytes:
        return self.engine.data_to_send()

    def events(self) -> list[Event]:
        found = []
        while (event := self.engine.next_event()) is not None:
            found.append(event)
        return found

    def ready(self, ehlo: bytes = EHLO) -> None:
        """Through greeting and EHLO."""
        self.server(b"220 mx.example.net ESMTP\r\n")
        assert self.client() == b"EHLO relay.example.org\r\n"
        self.server(ehlo)
        (event,) = self.events()
        assert isinstance(event, Ready)

    def codes(self) -> list[int]:
        """Reply codes of the one transaction that has ended."""
        (done,) = (event for event in self.events() if isinstance(event, TransactionDone))
        return [reply.code for reply in done.replies]


def test_pipelined_transaction(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(MAIL)
    assert dialog.client() == (
        b"MAIL FROM:<a@example.org> SIZE=100\r\n"
        b"RCPT TO:<b@example.net>\r\n"
        b"RCPT TO:<c@example.net>\r\n"
        b"DATA\r\n"
    )
    dialog.server(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n354 go\r\n")
    assert dialog.events() == [SendBody()]
    dialog.engine.body_sent()
    assert dialog.engine.state is State.END
    dialog.server(b"250 2.0.0 queued as 17\r\n")
    (done,) = dialog.events()
    assert isinstance(done, TransactionDone)
    assert [str(reply) for reply in done.replies] == ["250 2.0.0 queued as 17"] * 2
    dialog.engine.transact(MAIL)
    assert dialog.client().startswith(b"MAIL FROM"), "no RSET after a whole transaction"


def test_lock_step_without_pipelining(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready(PLAIN_EHLO)
    dialog.engine.transact(MAIL)
    assert dialog.client() == b"MAIL FROM:<a@example.org>\r\n"
    dialog.server(b"250 ok\r\n")
    assert dialog.client() == b"RCPT TO:<b@example.net>\r\n"
    dialog.server(b"550 5.1.1 no\r\n")
    assert dialog.client() == b"RCPT TO:<c@example.net>\r\n"
    dialog.server(b"250 ok\r\n")
    assert dialog.client() == b"DATA\r\n"
    assert dialog.engine.timeout == 120
    dialog.server(b"354 go\r\n")
    assert dialog.events() == [SendBody()]
    dialog.engine.body_sent()
    dialog.server(b"250 ok\r\n")
    assert dialog.codes() == [550, 250]


def test_lock_step_stops_when_mail_is_refused(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready(PLAIN_EHLO)
    dialog.engine.transact(MAIL)
    dialog.client()
    dialog.server(b"550 5.7.1 not you\r\n")
    assert dialog.codes() == [550, 550]
    dialog.engine.transact(MAIL)
    assert dialog.client() == b"RSET\r\n"
    dialog.server(b"250 ok\r\n")
    assert dialog.client() == b"MAIL FROM:<a@example.org>\r\n"


def test_lock_step_without_accepted_recipient_sends_no_data(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready(PLAIN_EHLO)
    dialog.engine.transact(MAIL)
    dialog.server(b"250 ok\r\n")
    dialog.server(b"550 no\r\n")
    dialog.server(b"450 later\r\n")
    assert b"DATA" not in dialog.client()
    assert dialog.codes() == [550, 450]


def test_pipelined_data_accepted_without_recipients_is_ended_empty(step: int) -> None:
    """RFC 2920, 3.1."""
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(MAIL)
    dialog.client()
    dialog.server(b"250 ok\r\n550 no\r\n450 later\r\n354 go\r\n")
    assert dialog.events() == []
    assert dialog.client() == b".\r\n"
    dialog.server(b"554 no recipients\r\n")
    assert dialog.codes() == [550, 450]


def test_pipelined_mail_refused(step: int) -> None:
    """The refusal of MAIL counts, not the 503s that follow from it."""
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(MAIL)
    dialog.client()
    dialog.server(b"451 4.7.1 greylisted\r\n503 no\r\n503 no\r\n503 no\r\n")
    assert dialog.codes() == [451, 451]


def test_G5_mixed_answers_per_recipient(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(Mail("", tuple(f"{n}@example.net" for n in range(5))))
    assert dialog.client().startswith(b"MAIL FROM:<>\r\n")
    dialog.server(b"250 ok\r\n250 ok\r\n450 4.2.1 busy\r\n550 5.1.1 no\r\n452 too many\r\n552 too many\r\n")
    dialog.server(b"354 go\r\n")
    assert dialog.events() == [SendBody()]
    dialog.engine.body_sent()
    dialog.server(b"250 done\r\n")
    assert dialog.codes() == [250, 450, 550, 452, 452]


def test_G5_552_for_a_full_mailbox_stays_permanent(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(MAIL)
    dialog.server(b"250 ok\r\n250 ok\r\n552 5.2.2 mailbox full\r\n354 go\r\n")
    dialog.engine.body_sent()
    dialog.server(b"250 done\r\n")
    assert dialog.codes() == [250, 552]


@pytest.mark.parametrize(
    ("answer", "codes"),
    [
        (b"250 2.0.0 ok\r\n", [250, 250]),
        (b"251 odd but positive\r\n", [251, 251]),
        (b"451 4.3.0 later\r\n", [451, 451]),
        (b"554 5.6.0 spam\r\n", [554, 554]),
        (b"354 what\r\n", [451, 451]),
        (b"421 4.3.2 closing\r\n", [421, 421]),
        (b"garbage\r\n", [451, 451]),
        (b"250-" + b"x" * 20_000, [451, 451]),
    ],
)
def test_G6_answers_to_the_end_of_data(step: int, answer: bytes, codes: list[int]) -> None:
    """Unclear is "try again": a duplicate may be, a loss never."""
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(MAIL)
    dialog.server(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    dialog.engine.body_sent()
    assert dialog.engine.timeout == 600
    dialog.events()
    dialog.server(answer)
    assert dialog.codes() == codes


def test_G6_connection_lost_after_the_dot(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(MAIL)
    dialog.server(b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n")
    dialog.engine.body_sent()
    dialog.events()
    lost = local_reply(451, "4.4.2", "connection lost")
    dialog.engine.failed(lost)
    done, failed = dialog.events()
    assert isinstance(done, TransactionDone) and [r.code for r in done.replies] == [451, 550]
    assert failed == Failed(lost, State.END)
    assert dialog.engine.body_started


def test_G7_ehlo_refused_then_helo(step: int) -> None:
    dialog = Dialog(step)
    dialog.server(b"220 old\r\n")
    dialog.client()
    dialog.server(b"502 what\r\n")
    assert dialog.client() == b"HELO relay.example.org\r\n"
    dialog.server(b"250 old\r\n")
    assert dialog.events() == [Ready({})]


@pytest.mark.parametrize("greeting", [b"554 no service\r\n", b"521 no mail here\r\n", b"421 later\r\n"])
def test_G7_refusing_greetings(step: int, greeting: bytes) -> None:
    dialog = Dialog(step)
    dialog.server(greeting)
    (failed,) = dialog.events()
    assert isinstance(failed, Failed) and failed.stage is State.GREETING
    assert failed.reply.code == int(greeting[:3])
    assert dialog.client() == b""


def test_B4_what_comes_in_clear_with_the_starttls_answer_is_dropped(step: int) -> None:
    dialog = Dialog(step)
    dialog.server(b"220 mx\r\n")
    dialog.server(b"250-mx\r\n250-SIZE 5\r\n250 STARTTLS\r\n")
    assert dialog.client() == b"EHLO relay.example.org\r\nSTARTTLS\r\n"
    dialog.server(b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n")
    assert dialog.events() == [StartTls()]
    dialog.engine.tls_established()
    assert dialog.client() == b"EHLO relay.example.org\r\n"
    assert dialog.events() == [] and dialog.engine.extensions == {}
    dialog.server(b"250-mx\r\n250 8BITMIME\r\n")
    assert dialog.events() == [Ready({"8BITMIME": ""})]


def test_starttls_refused_goes_on_in_clear(step: int) -> None:
    dialog = Dialog(step)
    dialog.server(b"220 mx\r\n")
    dialog.server(b"250-mx\r\n250 STARTTLS\r\n")
    dialog.server(b"454 4.7.0 not now\r\n")
    assert dialog.events() == [Ready({})]


@pytest.mark.parametrize("extensions", [b"250 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n"])
def test_tls_that_must_be_is_never_left_out(step: int, extensions: bytes) -> None:
    dialog = Dialog(step, ClientOptions("relay.example.org", tls=TlsUse.MUST))
    dialog.server(b"220 mx\r\n")
    dialog.server(extensions)
    if not dialog.events():
        dialog.server(b"502 no\r\n")
    assert dialog.engine.state is State.CLOSED


def login(mechanisms: bytes, step: int, secure: bool = True) -> Dialog:
    options = ClientOptions("relay.example.org", username="u", password="p", secure=secure)
    dialog = Dialog(step, options)
    dialog.server(b"220 mx\r\n")
    dialog.client()
    dialog.server(b"250-mx\r\n250 " + mechanisms + b"\r\n")
    return dialog


def test_auth_plain(step: int) -> None:
    dialog = login(b"AUTH LOGIN PLAIN", step)
    assert dialog.client() == b"AUTH PLAIN " + base64.b64encode(b"\0u\0p") + b"\r\n"
    dialog.server(b"235 2.7.0 welcome\r\n")
    assert isinstance(dialog.events()[0], Ready)


def test_auth_login(step: int) -> None:
    dialog = login(b"AUTH=LOGIN", step)
    assert dialog.client() == b"AUTH LOGIN\r\n"
    dialog.server(b"334 VXNlcm5hbWU6\r\n")
    assert dialog.client() == b"dQ==\r\n"
    dialog.server(b"334 UGFzc3dvcmQ6\r\n")
    assert dialog.client() == b"cA==\r\n"
    dialog.server(b"235 ok\r\n")
    assert isinstance(dialog.events()[0], Ready)


@pytest.mark.parametrize(
    ("mechanisms", "secure"), [(b"AUTH PLAIN", False), (b"AUTH CRAM-MD5", True), (b"SIZE", True)]
)
def test_password_stays_home(step: int, mechanisms: bytes, secure: bool) -> None:
    dialog = login(mechanisms, step, secure)
    assert dialog.client() == b""
    (failed,) = dialog.events()
    assert isinstance(failed, Failed) and failed.reply.temporary


def test_refused_log_in_is_temporary(step: int) -> None:
    """The administrator's mistake must not bounce the users' mail."""
    dialog = login(b"AUTH PLAIN", step)
    dialog.server(b"535 5.7.8 no\r\n")
    (failed,) = dialog.events()
    assert isinstance(failed, Failed) and failed.reply.code == 454
    assert "p" not in repr(dialog.engine.options).partition("username")[2].split("'")


@pytest.mark.parametrize(
    ("mail", "status"),
    [
        (Mail("a@b", ("c@d",), size=1001), "5.3.4"),
        (Mail("a@b", ("ü@d",)), "5.6.7"),
        (Mail("a@b", ("c@d",), utf8=True), "5.6.7"),
        (Mail("a\r\nRCPT TO:<x@y>", ("c@d",)), "5.1.7"),
        (Mail("a@b", ("c\n@d",)), "5.1.3"),
    ],
)
def test_messages_that_this_server_can_not_take(step: int, mail: Mail, status: str) -> None:
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(mail)
    assert dialog.client() == b""
    (done,) = dialog.events()
    assert isinstance(done, TransactionDone) and done.replies[0].status == status
    assert dialog.engine.usable


def test_C7_a_bad_address_among_good_ones_is_left_out(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(Mail("a@b", ("x\r\nDATA@d", "good@d")))
    assert dialog.client() == b"MAIL FROM:<a@b>\r\nRCPT TO:<good@d>\r\nDATA\r\n"
    dialog.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
    dialog.engine.body_sent()
    dialog.server(b"250 ok\r\n")
    assert dialog.codes() == [501, 250]


def test_eight_bit_content(step: int) -> None:
    """RFC 6152, 3: said where it is offered, refused where it is not."""
    mail = Mail("a@b", ("c@d",), eight_bit=True)
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(mail)
    assert dialog.client().startswith(b"MAIL FROM:<a@b> BODY=8BITMIME\r\n")
    dialog = Dialog(step)
    dialog.ready(PLAIN_EHLO)
    dialog.engine.transact(mail)
    (done,) = dialog.events()
    assert isinstance(done, TransactionDone) and done.replies[0].status == "5.6.3"


def test_quit(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.quit()
    assert dialog.client() == b"QUIT\r\n"
    dialog.server(b"221 bye\r\n")
    assert dialog.events() == [Finished()]


def test_refusal_in_the_middle_of_the_body(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready()
    dialog.engine.transact(MAIL)
    dialog.server(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    dialog.events()
    dialog.server(b"552 5.3.4 too big\r\n")
    done, failed = dialog.events()
    assert isinstance(done, TransactionDone) and [r.code for r in done.replies] == [552, 552]
    assert isinstance(failed, Failed)


def test_an_idle_server_that_closes(step: int) -> None:
    dialog = Dialog(step)
    dialog.ready()
    dialog.server(b"421 4.4.2 idle\r\n")
    assert dialog.events() == [Failed(Reply(421, ("idle",), "4.4.2"), State.READY)]


def test_E3_timers(step: int) -> None:
    """RFC 5321, 4.5.3.2: at least these."""
    least = {State.GREETING: 300, State.ENVELOPE: 300, State.BODY: 180, State.END: 600}
    for state, seconds in least.items():
        timeout = TIMEOUTS[state]
        assert timeout is not None and timeout >= seconds


REPLIES = st.sampled_from(
    [
        b"220 x\r\n",
        b"250 ok\r\n",
        b"250-a\r\n",
        b"354 go\r\n",
        b"421 x\r\n",
        b"450 x\r\n",
        b"550 5.1.1 x\r\n",
        b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
        b"334 eA==\r\n",
        b"235 ok\r\n",
        b"\x00\xff\r\n",
    ]
)


@settings(max_examples=150)
@given(st.lists(REPLIES | st.binary(max_size=20), max_size=30), st.booleans())
def test_any_server_gives_one_outcome_per_recipient(step: int, said: list[bytes], log_in: bool) -> None:
    """Whatever the server says: no exception, and each transaction ends once, with a reply for each."""
    options = ClientOptions("h", username="u" if log_in else "", password="p", clear_auth=True)
    dialog = Dialog(step, options)
    started = ended = 0
    for data in (*said, None):
        if data is None:
            dialog.engine.failed(local_reply(451, "4.4.2", "lost"))
        else:
            dialog.server(data)
        for event in dialog.events():
            if isinstance(event, StartTls):
                dialog.engine.tls_established()
            elif isinstance(event, SendBody):
                dialog.engine.body_sent()
            elif isinstance(event, TransactionDone):
                ended += 1
                assert len(event.replies) == 2
                assert all(200 <= reply.code < 600 for reply in event.replies)
        dialog.client()
        if dialog.engine.usable:
            dialog.engine.transact(MAIL)
            started += 1
    assert ended == started
    assert dialog.engine.state is State.CLOSED
