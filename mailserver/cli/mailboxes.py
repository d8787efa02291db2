"""`mailserver mailbox list|verify|reindex`: an account as it lies on the disk, and its index."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import attrs
import click

from mailserver.cli.common import config_option, fail, json_option, load_or_exit, print_json, the_user
from mailserver.config.load import Loaded
from mailserver.errors import MailError
from mailserver.processes.instance import new_run
from mailserver.store import files, maildir, reindex, verify
from mailserver.store.index.database import IndexDamaged
from mailserver.store.ledger import Ledger, Surroundings
from mailserver.store.reconcile import enter_folder


@click.command("list")
@click.argument("user", metavar="USER")
@config_option
@json_option
def list_command(user: str, config: Path, as_json: bool) -> None:
    """List USER's folders: messages, unseen, size, UIDVALIDITY.

    The figures are those of the index. A folder that another program made and nobody has opened since is
    marked with *, and counted by the names of its files.

    \b
    Examples:
      mailserver mailbox list alice@example.org
      mailserver mailbox list alice@example.org --json
    """
    ledger = _account(load_or_exit(config), user)
    try:
        found = verify.summaries(ledger)
    except IndexDamaged as error:
        fail(f"the index is damaged ({error}): mailserver mailbox reindex {ledger.user}")
    except MailError as error:
        fail(str(error.cause or error.text))
    if as_json:
        print_json([attrs.asdict(one) for one in found])
        return
    width = max(len(one.folder) for one in found) + 1
    click.echo(f"{'folder':<{width}} {'messages':>9} {'unseen':>9} {'size':>10}  uidvalidity  use")
    for one in found:
        name = one.folder + ("" if one.indexed else "*")
        counts = f"{one.messages:>9} {one.unseen:>9} {_size(one.octets):>10}"
        click.echo(f"{name:<{width}} {counts}  {one.uidvalidity:>11}  {one.special}".rstrip())
    octets = _size(sum(one.octets for one in found))
    click.echo(f"{len(found)} folders, {sum(one.messages for one in found)} messages, {octets}")


@click.command("verify")
@click.argument("users", metavar="[USER]...", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="All users who have mail.")
@click.option("--quick", is_flag=True, help="Do not read the messages: sizes are believed.")
@config_option
@json_option
def verify_command(
    users: tuple[str, ...], *, everyone: bool, quick: bool, config: Path, as_json: bool
) -> None:
    """Compare the index of accounts with their files. Nothing is changed.

    Told are messages that are missing or that the index does not have, wrong sizes and counters, doubled
    names, UIDs and UIDVALIDITYs, and a damaged index. Mail that another program has just put there is no
    fault. The server may run meanwhile.

    `mailserver mailbox reindex USER` mends what is wrong with an index; no mail and no UID is lost by it.

    \b
    Examples:
      mailserver mailbox verify alice@example.org
      mailserver mailbox verify --all --quick

    Exit status 0: nothing is wrong; 1: something is.
    """
    loaded = load_or_exit(config)
    if everyone == bool(users):
        raise click.UsageError("give users, or --all")
    accounts = _everyone(loaded) if everyone else [_account(loaded, user) for user in users]
    results: list[dict[str, Any]] = []
    for ledger in accounts:
        try:
            faults, messages = verify.verify(ledger, not quick)
        except MailError as error:
            faults, messages = [verify.Fault("", "unreadable", str(error.cause or error.text))], 0
        faults_json = [attrs.asdict(fault) for fault in faults]
        results.append({"user": ledger.user, "messages": messages, "faults": faults_json})
        if not as_json:
            for fault in faults:
                where = f" {fault.folder}" if fault.folder else ""
                click.echo(f"{ledger.user}{where}: {fault.kind}: {fault.text}")
            if not faults:
                click.echo(f"{ledger.user}: {messages} messages, all is well")
    wrong = [result["user"] for result in results if result["faults"]]
    if as_json:
        print_json(results)
    elif wrong:
        click.echo(f"To mend: mailserver mailbox reindex {' '.join(wrong)}", err=True)
    raise SystemExit(1 if wrong else 0)


@click.command("reindex")
@click.argument("users", metavar="USER...", nargs=-1, required=True)
@click.option("--new-uids", is_flag=True, help="For an account that was put back from an older copy.")
@config_option
@json_option
def reindex_command(users: tuple[str, ...], *, new_uids: bool, config: Path, as_json: bool) -> None:
    """Make the index of accounts anew from their files.

    Messages keep their UIDs, flags, keywords and dates; clients have to download nothing again. A running
    server waits meanwhile (about a second for 10 000 messages), and sessions that have a mailbox of the
    account open have to open it again. The old index is kept as mailserver-index.damaged.

    With --new-uids all folders get a new UIDVALIDITY and clients download them again: after an older copy of
    the account was put back, for UIDs may have been given since to messages that the copy does not have.

    \b
    Examples:
      mailserver mailbox reindex alice@example.org
      mailserver mailbox reindex --new-uids alice@example.org
    """
    loaded = load_or_exit(config)
    results: list[dict[str, Any]] = []
    for ledger in [_account(loaded, user) for user in users]:
        begun = time.monotonic()
        try:
            done = reindex.reindex(ledger, new_uids=new_uids)
        except MailError as error:
            fail(f"{ledger.user}: {error.cause or error.text}")
        finally:
            ledger.close()
        results.append({"user": ledger.user, **attrs.asdict(done)})
        if not as_json:
            seconds = time.monotonic() - begun
            click.echo(f"{ledger.user}: {done.folders} folders, {done.messages} messages, {seconds:.1f} s")
    if as_json:
        print_json(results)


def _size(octets: float) -> str:
    """In the unit that gives three digits or fewer."""
    for unit in ("", " KiB", " MiB", " GiB"):
        if octets < 1000:
            return f"{octets:.0f}{unit}" if octets >= 10 or not unit else f"{octets:.1f}{unit}"
        octets /= 1024
    return f"{octets:.1f} TiB"


def _account(loaded: Loaded, written: str) -> Ledger:
    """The account of a user, who must have mail. Ends the command for others."""
    address = the_user(loaded, written, "mailserver user list")
    ledger = _ledger(loaded, address)
    if not files.is_directory(ledger.path):
        fail(f"{address} has no mail yet")
    return ledger


def _everyone(loaded: Loaded) -> list[Ledger]:
    found = [_ledger(loaded, address) for address in loaded.users.users]
    return [ledger for ledger in found if files.is_directory(ledger.path)]


def _ledger(loaded: Loaded, address: str) -> Ledger:
    """As one more process of the server that runs, where one runs: it is named in the folder's file, and
    what it has reserved counts. Files are to be made as its user."""
    path = maildir.account_path(str(loaded.config.mail_dir), address)
    inbox = files.read_uids(path)
    around = Surroundings(
        time.time,
        maildir.NameMaker(loaded.config.hostname),
        lambda change: None,
        lambda directory, name: None,
        enter=enter_folder,
        run=(inbox.run if inbox is not None else "") or new_run(),
    )
    if os.path.isdir(path) and os.stat(path).st_uid != os.geteuid():
        owner = os.stat(path).st_uid
        fail(f"{path} belongs to another user: sudo -u '#{owner}' mailserver …")
    return Ledger(path, address, around)
