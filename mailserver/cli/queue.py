"""`mailserver queue …`: the mail that waits, with or without a running server."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import Any

import click

from mailserver.cli.common import config_option, fail, json_option, load_or_exit, print_json, print_json_list
from mailserver.cli.group import Group
from mailserver.errors import MailError
from mailserver.interfaces import Envelope
from mailserver.queue import operate, poison, schema
from mailserver.queue.kick import kick
from mailserver.queue.operate import Queued, Selection, UnknownMessage
from mailserver.queue.poison import Aside
from mailserver.queue.values import QueuedRecipient, State
from mailserver.wire.address import domain_to_ascii

SHOWN = 16 * 1024  # octets of the message's header that `show` prints


def selecting(command: Callable[[Path, Selection, bool], None]) -> Callable[..., None]:
    """Arguments that choose messages, handed over as a Selection."""

    @wraps(command)
    def run(config: Path, as_json: bool, **choice: Any) -> None:
        command(config, select(**choice), as_json)

    decorated: Callable[..., None] = run
    for decorator in (
        json_option,
        config_option,
        click.option("--all", "everything", is_flag=True, help="All messages of the queue."),
        click.option("--sender", metavar="ADDRESS", help='All of this user or address, "<>" for reports.'),
        click.option("--domain", metavar="DOMAIN", default="", help="All with a recipient of this domain."),
        click.argument("ids", nargs=-1, metavar="[ID]..."),
    ):
        decorated = decorator(decorated)
    return decorated


@click.group(cls=Group)
def queue() -> None:
    """See and change the mail that waits to be delivered.

    IDs are those of the log and of `queue list`. The running server notices a change at once; without a
    server the change is found at its next start.

    \b
    Examples:
      mailserver queue list
      mailserver queue show 1k0zshdgtcmwv9
      mailserver queue retry --domain partner.example
      mailserver queue hold --sender alice@example.org
      mailserver queue retry --all
    """


@queue.command("list")
@click.option("--sender", metavar="ADDRESS", help='Only of this user or address, "<>" for reports.')
@click.option("--domain", metavar="DOMAIN", default="", help="Only with a recipient of this domain.")
@config_option
@json_option
def list_command(domain: str, sender: str | None, config: Path, as_json: bool) -> None:
    """List the queue, oldest first, and what was set aside as damaged."""
    everything = not domain and sender is None
    with opened(config, missing_ok=True) as (queue_dir, connection):
        wanted = select((), domain, sender, everything)
        found = operate.listing(connection, wanted) if connection is not None else ()
        aside = poison.listing(queue_dir) if everything else []
        if as_json:
            print_json_list(chain(map(summary, found), map(aside_summary, aside)))
            return
        print_queue(found)
    for damaged in aside:
        click.echo(f"set aside {when(damaged.when)}: {damaged.id}  {damaged.error}  ({damaged.path})")


def print_queue(found: Iterable[Queued]) -> None:
    now, number = time.time(), 0
    for one in found:
        number += 1
        lines = [f"    {recipient.target.address}{reason(recipient)}" for recipient in one.waiting]
        click.echo("\n".join([headline(one, now), *lines]))
    click.echo(f"{number} message{'s' if number != 1 else ''}" if number else "The queue is empty.")


@queue.command()
@click.argument("identity", metavar="ID")
@config_option
@json_option
def show(identity: str, config: Path, as_json: bool) -> None:
    """Show one message: envelope, attempts, header."""
    with opened(config) as (queue_dir, connection):
        found = list(operate.listing(connection, Selection((identity,))))
        if not found:
            fail(f"the rows of {identity} cannot be read; the server will set it aside")
        texts = [operate.content(queue_dir, one.message, SHOWN) for one in found]
    if as_json:
        print_json([details(one, header(text)) for one, text in zip(found, texts, strict=True)])
        return
    now = time.time()
    for one, text in zip(found, texts, strict=True):
        click.echo(headline(one, now))
        for recipient in one.recipients:
            click.echo(f"    {recipient.target.address}: {recipient.state.name.lower()}{reason(recipient)}")
            click.echo(f"        {recipient.attempts} attempts, next {when(recipient.next_try)}")
        click.echo("\n" + (header(text) or "(the message cannot be read)"))


@queue.command()
@selecting
def retry(config: Path, wanted: Selection, as_json: bool) -> None:
    """Try messages now, whatever the schedule says."""
    act(config, wanted, as_json, "due now", lambda db, _, which: operate.retry(db, which, time.time()))


@queue.command()
@selecting
def hold(config: Path, wanted: Selection, as_json: bool) -> None:
    """Do not try messages until they are released; they do not expire meanwhile."""
    act(config, wanted, as_json, "held", lambda db, _, which: operate.hold(db, which))


@queue.command()
@selecting
def release(config: Path, wanted: Selection, as_json: bool) -> None:
    """Let held messages go, now."""
    act(config, wanted, as_json, "released", lambda db, _, which: operate.release(db, which, time.time()))


@queue.command()
@selecting
def remove(config: Path, wanted: Selection, as_json: bool) -> None:
    """Delete messages from the queue. Nobody is told, and there is no way back."""
    act(config, wanted, as_json, "removed", operate.remove)


# --- opening and changing ----------------------------------------------------------------------------

Change = Callable[[Any, Path, Selection], int]


@contextmanager
def opened(config: Path, missing_ok: bool = False) -> Iterator[tuple[Path, Any]]:
    """queue_dir and its database (None where there is none yet and `missing_ok`); errors as exit status 1."""
    queue_dir = load_or_exit(config).config.queue_dir
    connection = None
    try:
        connection, _ = schema.connect(queue_dir, create=False)
    except FileNotFoundError:
        if not missing_ok:
            fail(f"there is no queue in {queue_dir} yet")
    except (sqlite3.Error, schema.DatabaseDamaged, OSError) as error:
        fail(f"{queue_dir / schema.NAME} cannot be opened: {error}")
    try:
        yield queue_dir, connection
    except UnknownMessage as error:
        fail(f"no message {error} is in the queue")
    except sqlite3.Error as error:
        fail(f"the queue could not be read or changed: {error}")
    finally:
        if connection is not None:
            connection.close()


def act(config: Path, wanted: Selection, as_json: bool, done: str, change: Change) -> None:
    """Change the selected messages, wake the server, say how many they were."""
    with opened(config) as (queue_dir, connection):
        number = change(connection, queue_dir, wanted)
        running = kick(queue_dir)
    if as_json:
        print_json({"changed": number, "server": running})
    else:
        click.echo(f"{number} message{'s' if number != 1 else ''} {done}")


def select(ids: tuple[str, ...], domain: str, sender: str | None, everything: bool) -> Selection:
    """Exactly one way to choose, or it is misuse."""
    if bool(ids) + bool(domain) + (sender is not None) + everything != 1:
        raise click.UsageError("name messages by ID, or give --domain, or --sender, or --all")
    bare = sender.strip().removeprefix("<").removesuffix(">") if sender is not None else None
    try:
        return Selection(ids, domain_to_ascii(domain) if domain else "", bare, everything)
    except MailError:
        raise click.UsageError(f"{domain!r} is not a domain name") from None


# --- printing ----------------------------------------------------------------------------------------


def headline(one: Queued, now: float) -> str:
    envelope, place = one.message.envelope, one.message.place
    age = duration(now - envelope.received_at)
    following = min((r.next_try for r in one.waiting), default=0.0)
    state = "held" if one.held else f"next in {duration(following - now)}"
    words = "".join(f"  {word}" for word in wishes(envelope, now))
    return f"{envelope.id}  {octets(place.size)}  {age} old  {state}{words}  <{envelope.reverse_path}>"


def wishes(envelope: Envelope, now: float) -> Iterator[str]:
    """What the sender asked for: a release later on, a time to deliver by, a priority."""
    if envelope.release_at > now:
        yield f"held until {when(envelope.release_at)}"
    if envelope.deliver_by is not None:
        then = "to be returned" if envelope.deliver_by.by.returns else "late"
        yield f"{then} after {when(envelope.deliver_by.at)}"
    if envelope.priority:
        yield f"priority {envelope.priority}"


def reason(recipient: QueuedRecipient) -> str:
    said = " ".join(part for part in (str(recipient.code or ""), recipient.status, recipient.reason) if part)
    host = f" [{recipient.host}]" if recipient.host else ""
    return f"  {said}{host}" if said else ""


def header(text: bytes | None) -> str:
    """The header block; control characters can not reach the terminal, and a tab is a blank."""
    if text is None:
        return ""
    block = text.partition(b"\n\n")[0].decode("utf-8", "replace").replace("\t", " ")
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in block)


def octets(number: int) -> str:
    """About: `812 B`, `4.1 KiB`, `2.0 MiB`."""
    if number < 1024:
        return f"{number} B"
    return f"{number / 1024:.1f} KiB" if number < 1024 * 1024 else f"{number / 1024 / 1024:.1f} MiB"


def duration(seconds: float) -> str:
    """`3d 4h`, `12m`, `now`."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for name, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= length or parts:
            parts.append(f"{left // length}{name}")
            left %= length
    return " ".join(parts[:2]) or "0s"


def when(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) if moment else "never"


def summary(one: Queued) -> dict[str, Any]:
    envelope, by = one.message.envelope, one.message.envelope.deliver_by
    return {
        "id": envelope.id,
        "sender": envelope.reverse_path,
        "user": envelope.user,
        "received": when(envelope.received_at),
        "size": one.message.place.size,
        "held": one.held,
        "release": when(envelope.release_at) if envelope.release_at else None,
        "deliver_by": when(by.at) if by is not None else None,
        "if_late": None if by is None else "return" if by.by.returns else "notify",
        "priority": envelope.priority,
        "recipients": [recipient_details(r) for r in one.recipients],
    }


def aside_summary(one: Aside) -> dict[str, Any]:
    return {
        "id": one.id,
        "set_aside": when(one.when),
        "reason": one.error,
        "file": str(one.path),
        "recipients": [],
    }


def details(one: Queued, text: str) -> dict[str, Any]:
    envelope = one.message.envelope
    return {**summary(one), "helo": envelope.helo, "ip": envelope.peer.ip, "header": text}


def recipient_details(recipient: QueuedRecipient) -> dict[str, Any]:
    waiting = recipient.state in (State.WAITING, State.HELD)
    return {
        "address": recipient.target.address,
        "given": recipient.address,
        "state": recipient.state.name.lower(),
        "attempts": recipient.attempts,
        "next": when(recipient.next_try) if waiting else None,
        "last": when(recipient.last_attempt) if recipient.last_attempt else None,
        "code": recipient.code or None,
        "status": recipient.status,
        "reason": recipient.reason,
        "host": recipient.host,
    }
