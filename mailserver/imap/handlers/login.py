"""STARTTLS, LOGIN, AUTHENTICATE (RFC 3501, 6.2; RFC 4959).

What a client is told of a failed log-in is always the same, and it is told after the authenticator's delay.
"""

from __future__ import annotations

from mailserver.errors import AuthenticationFailed, MailError
from mailserver.imap.announce import capability_code
from mailserver.imap.commands import Authenticate, Command, Login, StartTls
from mailserver.imap.grammar.cursor import BadSyntax, sasl_response
from mailserver.imap.session import Handler, Session
from mailserver.interfaces import Challenge, IAccount, IExchange, Success
from mailserver.wire.sasl import encode_base64


async def start_tls(session: Session, command: StartTls) -> None:
    """RFC 3501, 6.2.1. Whatever came after the command in clear is forgotten (CASES B2)."""
    if not session.wire.tls_available():
        session.bad(command, "TLS is active already" if session.peer.tls else "TLS is not available")
        return
    session.known_as("")
    session.ok(command, "Begin TLS negotiation now")
    session.wire.begin_tls()


async def login(session: Session, command: Login) -> None:
    """RFC 3501, 6.2.3; NO [PRIVACYREQUIRED] where clear text is not allowed, before the password is looked
    at (RFC 5530)."""
    try:
        user = command.user.decode("utf-8")
    except UnicodeDecodeError:
        user = command.user.decode("utf-8", "replace")  # nobody's name: refused as any wrong one
    session.login = session.wire.authenticator.login(user, command.password, session.peer, IAccount)
    try:
        account = await session.login
    except MailError as error:
        _failed(session, command, error)
        return
    finally:
        session.login = None
    _logged_in(session, command, account, account.user)


async def authenticate(session: Session, command: Authenticate) -> None:
    """RFC 3501, 6.2.2: challenges and responses in base64, `*` cancels."""
    try:
        withheld = [name.removeprefix("AUTH=") for name in session.off if name.startswith("AUTH=")]
        session.exchange = session.wire.authenticator.exchange(
            command.mechanism, session.peer, IAccount, withheld
        )
        success = await _exchange(session, session.exchange, command.initial)
    except BadSyntax as error:
        session.bad(command, str(error))
    except MailError as error:
        _failed(session, command, error)
    else:
        _logged_in(session, command, success.avatar, success.user)
    finally:
        session.exchange = None


async def _exchange(session: Session, exchange: IExchange, response: bytes | None) -> Success:
    """Steps until the mechanism is content. Raises BadSyntax, MailError."""
    step = await exchange.respond(response)
    while isinstance(step, Challenge):
        step = await exchange.respond(await _ask(session, exchange, step.data))
    if step.data is not None and await _ask(session, exchange, step.data):
        raise BadSyntax("Expected an empty response")
    return step


async def _ask(session: Session, exchange: IExchange, challenge: bytes) -> bytes:
    session.send(b"+ %b\r\n" % encode_base64(challenge))
    line = await session.wire.read_line()
    try:
        if line == b"*":
            raise BadSyntax("Authentication cancelled")
        return sasl_response(line)
    except BadSyntax:
        exchange.abandon()
        raise


def _logged_in(session: Session, command: Command, account: IAccount, user: str) -> None:
    session.belongs_to(account, user)
    session.ok(command, "Logged in", capability_code(session))


def _failed(session: Session, command: Command, error: MailError) -> None:
    if isinstance(error, AuthenticationFailed):
        session.failures += 1
    if error.code in (501, 504):  # no proper response, no such mechanism (RFC 3501, 6.2.2: BAD, NO)
        answer = session.no if error.code == 504 else session.bad
        answer(command, error.text, error.imap or "")
    else:
        session.refuse(command, error)
    if session.wire.authenticator.refuse(session.peer, session.failures):
        session.wire.end(b"* BYE Too many failed log-ins\r\n")


TABLE: dict[type[Command], Handler] = {
    StartTls: start_tls,
    Login: login,
    Authenticate: authenticate,
}
