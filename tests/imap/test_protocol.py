"""IMAP dialogs outside the selected state, on a connection in memory (RFC 3501, 6.1 to 6.3)."""

from __future__ import annotations

import base64

import pytest
from twisted.internet.defer import Deferred

from mailserver.errors import DiskStuck, NoSpace, TemporaryFailure
from mailserver.imap.capabilities import ROWS
from mailserver.imap.commands import Noop
from mailserver.imap.handlers import HANDLERS
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer

CAPABILITIES = " ".join(  # tests/test_rfcs.py holds the list to what the documents say
    "APPENDLIMIT=52428800" if row.name == "APPENDLIMIT" else row.name for row in ROWS if row.announced
)


@pytest.fixture
def server(fake_server: ImapServer) -> ImapServer:
    return fake_server


# --- any state -------------------------------------------------------------------------------------


def test_greeting_tells_capabilities() -> None:
    assert ImapClient().greeting == (
        f"* OK [CAPABILITY {CAPABILITIES} AUTH=PLAIN AUTH=X-STEPS] mail.example.org ready\r\n".encode()
    )


def test_capabilities_before_and_after_log_in(server: ImapServer) -> None:
    ImapClient(server).dialog(
        f"""
        C: a CAPABILITY
        S: * CAPABILITY {CAPABILITIES} AUTH=PLAIN AUTH=X-STEPS
        S: a OK CAPABILITY completed
        C: b LOGIN alice@example.org secret
        S: b OK [CAPABILITY {CAPABILITIES} COMPRESS=DEFLATE UNAUTHENTICATE] Logged in
        C: c CAPABILITY
        S: * CAPABILITY {CAPABILITIES} COMPRESS=DEFLATE UNAUTHENTICATE
        S: c OK CAPABILITY completed
        """
    )


def test_small_commands(client: ImapClient) -> None:
    client.dialog(
        """
        C: a noop
        S: a OK NOOP completed
        C: b ID ("name" "sodr" "version" "19.34" "vendor" NIL)
        S: * ID ("name" "mailserver")
        S: b OK ID completed
        C: c ID NIL
        S: * ID ("name" "mailserver")
        S: c OK ID completed
        C: d ENABLE CONDSTORE X-GOOD-IDEA
        S: * ENABLED CONDSTORE
        S: d OK ENABLE completed
        C: e NAMESPACE
        S: * NAMESPACE (("" "/")) (("Other Users/" "/")) NIL
        S: e OK NAMESPACE completed
        C: f SETQUOTA "" (STORAGE 512)
        S: f NO [NOPERM] Not permitted
        C: g GETQUOTA ""
        S: * QUOTA "" ()
        S: g OK GETQUOTA completed
        C: h GETQUOTA other
        S: h NO [NONEXISTENT] No such quota root
        """
    )


def test_quota_is_told_in_units_of_1024_octets(client: ImapClient) -> None:
    client.account.limit = 10 * 1024
    client.account.inbox.add(b"x" * 1100)
    client.dialog(
        """
        C: a GETQUOTAROOT inbox
        S: * QUOTAROOT INBOX ""
        S: * QUOTA "" (STORAGE 2 10)
        S: a OK GETQUOTAROOT completed
        """
    )


def test_H21_logout_says_bye_before_ok(client: ImapClient) -> None:
    client.dialog(
        """
        C: A023 LOGOUT
        S: * BYE Logging out
        S: A023 OK LOGOUT completed
        C: A024 NOOP
        """
    )
    assert client.closed


def test_commands_in_the_wrong_state_are_bad() -> None:
    client = ImapClient()
    client.dialog(
        """
        C: a SELECT INBOX
        S: a BAD Not allowed in the not authenticated state
        C: b LOGIN alice@example.org secret
        S: b OK …
        C: c FETCH 1 FLAGS
        S: c BAD Not allowed in the authenticated state
        C: d LOGIN alice@example.org secret
        S: d BAD Not allowed in the authenticated state
        C: e STARTTLS
        S: e BAD Not allowed in the authenticated state
        """
    )


def test_pipelined_commands_are_answered_in_order(server: ImapServer) -> None:
    client = ImapClient(server)
    answer = client.send(
        b"a LOGIN alice@example.org secret\r\nb CREATE x\r\n"
        b"c SELECT x\r\nd DELETE x\r\ne SELECT x\r\nf NOOP\r\n"
    )
    tagged = [line for line in answer.decode().splitlines() if not line.startswith("*")]
    assert [line.split(" ", 2)[:2] for line in tagged] == [
        ["a", "OK"],
        ["b", "OK"],
        ["c", "OK"],
        ["d", "OK"],
        ["e", "NO"],
        ["f", "OK"],
    ]


# --- log-in ----------------------------------------------------------------------------------------


def test_login_by_literals(server: ImapServer) -> None:
    """RFC 7888, 3"""
    client = ImapClient(server)
    assert client.send(b"A001 LOGIN {17}\r\n") == b"+ OK\r\n"
    assert client.send(b"alice@example.org {6+}\r\nsecret\r\n").startswith(b"A001 OK ")


def test_failed_logins_end_the_connection() -> None:
    client = ImapClient()
    client.dialog(
        """
        C: a LOGIN alice@example.org wrong
        S: a NO [AUTHENTICATIONFAILED] Authentication credentials invalid
        C: b LOGIN nobody@example.org wrong
        S: b NO [AUTHENTICATIONFAILED] Authentication credentials invalid
        C: c LOGIN alice@example.org wrong
        S: c NO [AUTHENTICATIONFAILED] Authentication credentials invalid
        S: * BYE Too many failed log-ins
        """
    )
    assert client.closed


def test_no_pipelined_login_is_tried_after_the_last_failure() -> None:
    client = ImapClient()
    client.send(b"".join(b"%d LOGIN alice@example.org wrong\r\n" % n for n in range(10)))
    assert client.closed
    assert len(client.server.authenticator.passwords) == 3


def test_B9_login_in_clear_is_refused_before_the_password_is_looked_at() -> None:
    server = ImapServer(tls=object())
    server.authenticator.cleartext = False
    client = ImapClient(server)
    assert b" STARTTLS LOGINDISABLED]" in client.greeting
    client.dialog(
        """
        C: a LOGIN alice@example.org secret
        S: a NO [PRIVACYREQUIRED] Encryption required for requested authentication mechanism
        """
    )
    assert server.authenticator.passwords == []


def test_authenticate_with_initial_response(server: ImapServer) -> None:
    """RFC 4959"""
    response = base64.b64encode(b"\0alice@example.org\0secret").decode()
    ImapClient(server).dialog(
        f"""
        C: a AUTHENTICATE PLAIN {response}
        S: a OK [CAPABILITY {CAPABILITIES} COMPRESS=DEFLATE UNAUTHENTICATE] Logged in
        C: b NOOP
        S: b OK NOOP completed
        """
    )


def test_authenticate_by_challenge(server: ImapServer) -> None:
    response = base64.b64encode(b"\0alice@example.org\0secret").decode()
    ImapClient(server).dialog(
        f"""
        C: a AUTHENTICATE PLAIN
        S: +…
        C: {response}
        S: a OK […] Logged in
        """
    )


def test_last_word_of_a_mechanism_is_a_challenge_that_wants_an_empty_response() -> None:
    client = ImapClient()
    client.dialog(
        """
        C: a AUTHENTICATE X-STEPS =
        S: + d2hvPw==
        C: bWU=
        S: + dj1wcm9vZg==
        """
    )
    assert client.send(b"\r\n").startswith(b"a OK ")


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("*", "a BAD Authentication cancelled"),
        ("!!!", "a BAD Invalid base64"),
        ("YQ", "a BAD Invalid base64"),
        (" YWJj", "a BAD Invalid base64"),
        ("YW Jj", "a BAD Invalid base64"),
        ("YWJj", "a BAD Cannot decode response"),
    ],
)
def test_D6_sasl_responses_that_are_none(response: str, answer: str) -> None:
    client = ImapClient()
    client.dialog(
        f"""
        C: a AUTHENTICATE PLAIN
        S: +…
        C: {response}
        S: {answer}
        C: b LOGIN alice@example.org secret
        S: b OK …
        """
    )


def test_D6_overlong_sasl_response_ends_the_connection() -> None:
    client = ImapClient()
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    assert client.send(b"A" * 12_289).endswith(b"* BYE Line too long\r\n")
    assert client.closed


@pytest.mark.parametrize("response", [b"b\0a\0secret", b"\0a\0", b"a\0secret", b"\0a\0secret\0", b"\0\0\0\0"])
def test_D5_plain_responses_that_do_not_log_in(response: bytes) -> None:
    client = ImapClient()
    answer = client.send(b"a AUTHENTICATE PLAIN " + base64.b64encode(response) + b"\r\n")
    assert answer.startswith((b"a NO [AUTHENTICATIONFAILED]", b"a BAD "))
    assert client.say("b SELECT INBOX") == ["b BAD Not allowed in the not authenticated state"]


def test_unknown_mechanism() -> None:
    ImapClient().dialog(
        """
        C: a AUTHENTICATE KERBEROS_V4
        S: a NO Unrecognized authentication mechanism
        """
    )


def test_D7_client_that_goes_in_an_exchange() -> None:
    client = ImapClient()
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    client.lose()
    assert client.server.authenticator.exchanges[0].abandoned
    assert client.connection.session.account is None


def test_D7_late_answer_after_the_client_has_gone() -> None:
    server = ImapServer()
    server.authenticator.hold = Deferred()
    client = ImapClient(server)
    client.send(b"a LOGIN alice@example.org secret\r\n")
    client.lose()
    assert server.authenticator.hold.called  # cancelled
    server.authenticator.hold.callback(server.account)
    assert server.reactor.getDelayedCalls() == []


# --- STARTTLS --------------------------------------------------------------------------------------


def test_B2_nothing_sent_in_clear_after_starttls_is_executed() -> None:
    server = ImapServer(tls="context")
    client = ImapClient(server)
    answer = client.send(b"a STARTTLS\r\nb LOGIN alice@example.org secret\r\nc NOO")
    assert answer == b"a OK Begin TLS negotiation now\r\n"
    assert client.transport.tls == "context"
    assert client.send(b"P\r\n") == b"P BAD Unknown command\r\n"
    assert server.authenticator.passwords == []


def test_B2_the_fragment_of_a_literal_is_forgotten_too() -> None:
    client = ImapClient(ImapServer(tls="context"))
    client.send(b"a STARTTLS\r\nb LOGIN {5+}\r\nab")
    assert client.send(b"d NOOP\r\n") == b"d OK NOOP completed\r\n"


def test_B7_starttls_where_it_is_not_possible() -> None:
    ImapClient().dialog(
        """
        C: a STARTTLS
        S: a BAD TLS is not available
        """
    )
    client = ImapClient(ImapServer(tls="context"), login=True)
    client.dialog(
        """
        C: b STARTTLS
        S: b BAD Not allowed in the authenticated state
        """
    )
    assert client.transport.tls is None


def test_B7_starttls_in_an_exchange_is_a_response() -> None:
    client = ImapClient(ImapServer(tls="context"))
    client.dialog(
        """
        C: a AUTHENTICATE PLAIN
        S: +…
        C: b STARTTLS
        S: a BAD Invalid base64
        """
    )
    assert client.transport.tls is None


# --- mailboxes -------------------------------------------------------------------------------------


def test_select(client: ImapClient) -> None:
    client.account.inbox.add(b"Subject: 1\n\n", ["\\Seen", "$Forwarded"])
    client.account.inbox.add(b"Subject: 2\n\n")
    client.dialog(
        """
        C: a SELECT inbox
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \\*)] …
        S: * 2 EXISTS
        S: * 2 RECENT
        S: * OK [UNSEEN 2] First unseen
        S: * OK [UIDVALIDITY 1600000001] UIDs valid
        S: * OK [UIDNEXT 3] Predicted next UID
        S: * OK [MAILBOXID (…)] …
        S: * OK [HIGHESTMODSEQ 3] Highest mod-sequence
        S: a OK [READ-WRITE] SELECT completed
        """
    )


def test_examine_changes_nothing(client: ImapClient) -> None:
    client.account.inbox.add(b"Subject: 1\n\n")
    client.dialog(
        """
        C: a EXAMINE INBOX
        S: * FLAGS (…)
        S: * OK [PERMANENTFLAGS ()] No permanent flags permitted
        S: * 1 EXISTS
        S: * 1 RECENT
        S: * OK [UNSEEN 1] First unseen
        S: * OK [UIDVALIDITY 1600000001] UIDs valid
        S: * OK [UIDNEXT 2] Predicted next UID
        S: * OK [MAILBOXID (…)] …
        S: * OK [HIGHESTMODSEQ 2] Highest mod-sequence
        S: a OK [READ-ONLY] EXAMINE completed
        """
    )
    assert client.account.inbox.unclaimed == {1}


def test_H23_a_select_that_fails_leaves_no_mailbox_selected(client: ImapClient) -> None:
    client.say("a SELECT INBOX")
    client.dialog(
        """
        C: b SELECT nowhere
        S: * OK [CLOSED] Previous mailbox closed
        S: b NO [NONEXISTENT] No such mailbox
        C: c FETCH 1 FLAGS
        S: c BAD Not allowed in the authenticated state
        """
    )
    assert client.account.inbox.listeners == []


def test_create_delete_rename(client: ImapClient) -> None:
    client.dialog(
        """
        C: a CREATE owatagusiam/
        S: a OK …CREATE completed
        C: b CREATE owatagusiam/blurdybloop
        S: b OK …CREATE completed
        C: c CREATE owatagusiam
        S: c NO [ALREADYEXISTS] Mailbox already exists
        C: d RENAME owatagusiam sarasoon
        S: d OK RENAME completed
        C: e LIST "" s*
        S: * LIST (\\HasChildren) "/" sarasoon
        S: * LIST (\\HasNoChildren) "/" sarasoon/blurdybloop
        S: e OK LIST completed
        C: f DELETE sarasoon/blurdybloop
        S: f OK DELETE completed
        C: g DELETE sarasoon/blurdybloop
        S: g NO [NONEXISTENT] No such mailbox
        """
    )


def test_I2_inbox_in_any_case(client: ImapClient) -> None:
    client.dialog(
        """
        C: a STATUS InBoX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 0)
        S: a OK STATUS completed
        C: b CREATE inbox
        S: b NO [ALREADYEXISTS] Mailbox already exists
        C: c DELETE INBOX
        S: c NO [CANNOT] That mailbox name is not possible here
        C: d CREATE inbox/work
        S: d OK …CREATE completed
        C: e LIST "" "iNbOx/%"
        S: * LIST (\\HasNoChildren) "/" INBOX/work
        S: e OK LIST completed
        C: f RENAME inbox old
        S: f OK RENAME completed
        C: g LIST "" inb%
        S: * LIST (\\HasChildren) "/" INBOX
        S: g OK LIST completed
        """
    )


@pytest.mark.parametrize(
    "name", ["&", "&AGE-", "&Jjo!", "&Jjo", "&2AA-", "a&AGE-", "&U,BTFw-&ZeVnLIqe-", "&-&AAA-"]
)
def test_I3_names_that_are_no_canonical_modified_utf7(client: ImapClient, name: str) -> None:
    for command in ("CREATE", "SELECT", "DELETE", "SUBSCRIBE", "RENAME INBOX"):
        assert client.say(f'a {command} "{name}"') == ["a NO [CANNOT] That mailbox name is not possible here"]


def test_I3_names_keep_their_encoding(client: ImapClient) -> None:
    client.dialog(
        """
        C: a CREATE "Tom &- Jerry/&U,BTFw-"
        S: a OK …CREATE completed
        C: b LIST "Tom &- Jerry/" %
        S: * LIST (\\HasNoChildren) "/" "Tom &- Jerry/&U,BTFw-"
        S: b OK LIST completed
        """
    )
    assert "Tom & Jerry/台北" in client.account.boxes


def test_I1_names_with_line_ends_or_nul(client: ImapClient) -> None:
    assert client.send(b"a CREATE {4+}\r\na\r\nb\r\n") == (
        b"a NO [CANNOT] That mailbox name is not possible here\r\n"
    )
    assert client.send(b"b CREATE {3+}\r\na\0b\r\n") == b"b BAD NUL in a literal\r\n"


def test_list_of_special_use_folders(client: ImapClient) -> None:
    client.dialog(
        """
        C: a LIST "" %
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: * LIST (\\HasNoChildren \\Archive) "/" Archive
        S: * LIST (\\HasNoChildren \\Drafts) "/" Drafts
        S: * LIST (\\HasNoChildren \\Junk) "/" Junk
        S: * LIST (\\HasNoChildren \\Sent) "/" Sent
        S: * LIST (\\HasNoChildren \\Trash) "/" Trash
        S: a OK LIST completed
        C: b LIST "" ""
        S: * LIST (\\Noselect) "/" ""
        S: b OK LIST completed
        """
    )


def test_lsub_names_the_level_above_what_is_subscribed(client: ImapClient) -> None:
    """RFC 3501, 6.3.9"""
    client.account.subscribed.clear()
    client.dialog(
        """
        C: a SUBSCRIBE foo/bar
        S: a OK SUBSCRIBE completed
        C: b LSUB "" %
        S: * LSUB (\\Noselect) "/" foo
        S: b OK LSUB completed
        C: c LSUB "" *
        S: * LSUB (\\Noselect) "/" foo/bar
        S: c OK LSUB completed
        C: d UNSUBSCRIBE foo/bar
        S: d OK UNSUBSCRIBE completed
        C: e LSUB "" *
        S: e OK LSUB completed
        """
    )


def test_status(client: ImapClient) -> None:
    """RFC 3501, 6.3.10; RFC 7889, 3.1; RFC 9208, 4.1.4"""
    box = client.account.inbox
    box.add(b"Subject: 1\n\n", ["\\Seen"])
    box.add(b"Subject: 22\n\n", ["\\Deleted"])
    client.dialog(
        """
        C: A042 STATUS inbox (UIDNEXT MESSAGES RECENT UNSEEN UIDVALIDITY)
        S: * STATUS INBOX (UIDNEXT 3 MESSAGES 2 RECENT 2 UNSEEN 1 UIDVALIDITY 1600000001)
        S: A042 OK STATUS completed
        C: b STATUS INBOX (APPENDLIMIT DELETED DELETED-STORAGE)
        S: * STATUS INBOX (APPENDLIMIT 52428800 DELETED 1 DELETED-STORAGE 15)
        S: b OK STATUS completed
        C: c STATUS Trash (DELETED-STORAGE)
        S: * STATUS Trash (DELETED-STORAGE 0)
        S: c OK STATUS completed
        C: d STATUS nowhere (MESSAGES)
        S: d NO [NONEXISTENT] No such mailbox
        """
    )
    assert box.listeners == []


def test_deleting_the_selected_mailbox_deselects_it() -> None:
    client = ImapClient(select="Trash")
    client.dialog(
        """
        C: a DELETE Trash
        S: a OK DELETE completed
        C: b CHECK
        S: b BAD Not allowed in the authenticated state
        """
    )


def test_mailbox_that_another_session_deletes() -> None:
    client = ImapClient(select="Trash")
    client.account.boxes["Trash"].disappear()
    client.dialog(
        """
        C: a NOOP
        S: a OK NOOP completed
        S: * BYE The selected mailbox is gone
        """
    )
    assert client.closed


# --- IDLE ------------------------------------------------------------------------------------------


def test_idle(server: ImapServer) -> None:
    client = ImapClient(server, select="INBOX")
    assert client.say("a IDLE") == ["+ idling"]
    client.account.inbox.add(b"Subject: new\n\n")
    server.settle()
    assert client.take() == b"* 1 EXISTS\r\n* 1 RECENT\r\n"
    client.account.inbox.set_flags(1, "\\Seen")
    client.account.inbox.expunge_now(1)
    server.settle()
    assert client.take() == b"* 1 FETCH (FLAGS (\\Seen \\Recent))\r\n* 1 EXPUNGE\r\n"
    assert client.say("DONE") == ["a OK IDLE completed"]
    client.account.inbox.add(b"Subject: new\n\n")
    server.settle()
    assert client.take() == b""


def test_idle_tells_at_once_what_happened_before(client: ImapClient) -> None:
    client.say("s SELECT INBOX")
    client.account.inbox.add(b"Subject: new\n\n")
    assert client.say("a IDLE") == ["+ idling", "* 1 EXISTS", "* 1 RECENT"]


def test_idle_without_a_mailbox(client: ImapClient) -> None:
    client.dialog(
        """
        C: a IDLE
        S: + idling
        C: done
        S: a OK IDLE completed
        """
    )


def test_H20_idle_with_something_else_than_done() -> None:
    ImapClient(select="INBOX").dialog(
        """
        C: a IDLE
        S: + idling
        C: b NOOP
        S: a BAD Expected DONE
        C: c NOOP
        S: c OK NOOP completed
        """
    )


def test_H20_a_line_without_end_in_idle() -> None:
    client = ImapClient(select="INBOX")
    client.say("a IDLE")
    assert client.send(b"D" * 70_000).endswith(b"* BYE Line too long\r\n")
    assert client.closed
    assert client.connection.engine.waiting == 0


def test_H20_mailbox_deleted_under_idle() -> None:
    client = ImapClient(select="Trash")
    client.say("a IDLE")
    client.account.boxes["Trash"].disappear()
    client.server.settle()
    assert client.take() == b"* BYE The selected mailbox is gone\r\n"
    assert client.closed


def test_H20_server_stops_under_idle() -> None:
    client = ImapClient(select="INBOX")
    client.say("a IDLE")
    client.server.factory.stop()
    client.server.settle()
    assert client.take() == b"* BYE Server shutting down\r\n"


def test_idle_client_that_does_not_read_costs_nothing() -> None:
    client = ImapClient(select="INBOX")
    client.say("a IDLE")
    client.connection.pauseProducing()
    for _ in range(1000):
        client.account.inbox.add(b"x\n")
    client.server.settle()
    assert client.take() == b""
    client.connection.resumeProducing()
    client.server.settle()
    assert client.take() == b"* 1000 EXISTS\r\n* 1000 RECENT\r\n"


# --- the end ---------------------------------------------------------------------------------------


def test_stop_lets_a_command_end_first() -> None:
    server = ImapServer()
    client = ImapClient(server, login=True)
    server.slow()
    client.feed(b"a CREATE x\r\n")
    server.factory.stop()
    server.settle()
    assert client.take().endswith(b"CREATE completed\r\n* BYE Server shutting down\r\n")


def test_a_lost_client_leaves_nothing_behind(server: ImapServer) -> None:
    client = ImapClient(server, select="INBOX")
    client.feed(b"a SELECT Trash\r\n")
    client.lose()
    assert all(box.listeners == [] for box in client.account.boxes.values())
    assert server.reactor.getDelayedCalls() == []


def test_E2_time_until_log_in_is_not_prolonged_by_commands() -> None:
    client = ImapClient()
    for _ in range(5):
        client.server.reactor.advance(11)
        client.say("a NOOP")
    client.server.reactor.advance(6)
    assert client.take() == b"* BYE Idle for too long\r\n"
    assert client.closed


def test_E2_idle_time_after_log_in() -> None:
    client = ImapClient(login=True)
    client.server.reactor.advance(1799)
    client.say("a NOOP")
    client.server.reactor.advance(1799)
    assert not client.closed
    client.server.reactor.advance(2)
    assert client.closed


def test_E2_a_command_that_takes_long_is_no_idleness() -> None:
    client = ImapClient(login=True)
    client.account.status = lambda name: Deferred()  # type: ignore[method-assign,assignment]
    client.say("a STATUS INBOX (MESSAGES)")
    client.server.reactor.advance(1801)
    assert not client.closed


def test_E6_a_client_that_does_not_read_is_not_served() -> None:
    client = ImapClient(login=True)
    client.connection.pauseProducing()
    answer = client.send(b"a CAPABILITY\r\n" * 50_000)
    assert answer == b""
    assert client.transport.paused
    client.connection.resumeProducing()
    client.server.settle()
    assert client.take().count(b"a OK") == 50_000


def test_E12_a_flood_of_commands_gives_the_reactor_its_turns() -> None:
    client = ImapClient(login=True)
    client.feed(b"a NOOP\r\n" * 1000)
    assert client.take().count(b"\r\n") <= 50
    client.server.settle()
    assert client.take().count(b"\r\n") >= 950


def test_K8_an_exception_in_a_handler_is_no_with_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(session: object, command: object) -> None:
        raise ZeroDivisionError("secret path")

    monkeypatch.setitem(HANDLERS, Noop, broken)
    client = ImapClient(login=True)
    (line,) = client.say("a NOOP")
    assert line.startswith("a NO [SERVERBUG] Internal error, reference ")
    assert "secret" not in line
    assert client.say("b CAPABILITY")[-1] == "b OK CAPABILITY completed"


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (
            TemporaryFailure(cause="/srv/mail"),
            "a NO [UNAVAILABLE] Temporary failure on our side, try again later",
        ),
        (NoSpace(), "a NO [OVERQUOTA] Insufficient system storage"),
    ],
)
def test_failures_of_the_store(error: Exception, answer: str) -> None:
    client = ImapClient(login=True)

    def fails(name: str) -> None:
        raise error

    client.account.status = fails  # type: ignore[method-assign,assignment]
    assert client.say("a STATUS INBOX (MESSAGES)") == [answer]


def test_F15_a_disk_that_does_not_answer_ends_the_connection() -> None:
    """A MOVE, say, may be done after all when the disk is back: then the client's numbers would be wrong."""
    client = ImapClient(login=True)

    def stuck(name: str) -> None:
        raise DiskStuck(cause="the disk does not answer")

    client.account.status = stuck  # type: ignore[method-assign,assignment]
    assert client.say("a STATUS INBOX (MESSAGES)") == [
        "a NO [UNAVAILABLE] The disk does not answer, try again later",
        "* BYE The disk does not answer",
    ]
    assert client.closed


def test_E9_refusal() -> None:
    server = ImapServer(limits={"connections_per_ip": 1})
    ImapClient(server)
    assert ImapClient(server).greeting == b"* BYE [UNAVAILABLE] Too many connections from your address\r\n"


def test_connections_are_told_to_the_log() -> None:
    server = ImapServer()
    ImapClient(server)
    assert server.audit.events == [("connected", {"service": "imap", "ip": "192.0.2.1", "tls": ""})]


def test_account_with_children_of_no_folder() -> None:
    """A level that is no folder itself is listed as \\Noselect (RFC 3501, 6.3.8)."""
    account = FakeAccount()
    account._make("a/b")
    ImapClient(ImapServer(account), login=True).dialog(
        """
        C: a LIST "" a%
        S: * LIST (\\Noselect \\HasChildren) "/" a
        S: a OK LIST completed
        """
    )
