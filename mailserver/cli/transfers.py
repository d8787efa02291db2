"""What the commands that bring mail in and out share: the account, patterns of folders, the summary."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce, wraps
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from mailserver.cli.common import config_option, fail, json_option, load_or_exit, print_json, the_user
from mailserver.cli.progress import Progress
from mailserver.config.schema import Config
from mailserver.errors import MailError
from mailserver.imap.listing import matcher
from mailserver.transfer.account import LocalAccount
from mailserver.transfer.importing import dry_run, import_all
from mailserver.transfer.journal import Journal
from mailserver.transfer.values import Folder, FolderReport, Report, Source, SourceError

folder_option: Callable[[Any], Any] = click.option(
    "--folder",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    help="Only these folders; * is anything, % anything but a /. May be given several times.",
)
exclude_option: Callable[[Any], Any] = click.option(
    "--exclude", "excluded", metavar="PATTERN", multiple=True, help="Not these folders."
)


def chosen(patterns: Sequence[str], excluded: Sequence[str] = ()) -> Callable[[str], bool]:
    """Which folders are meant."""
    some, none = [matcher(one) for one in patterns], [matcher(one) for one in excluded]
    return lambda name: (not some or any(m(name) for m in some)) and not any(m(name) for m in none)


@frozen
class How:
    """What all commands that bring mail in can be told.

    into:   the folder under which all goes, "" for the account itself
    wanted: is a folder meant?
    """

    into: str
    wanted: Callable[[str], bool]
    dry: bool
    again: bool
    config: Path
    json: bool


def bringing_options(into: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of a command that brings mail in; it gets them as `how`. into: help for --into."""
    options: list[Callable[[Any], Any]] = [
        click.option("--into", metavar="FOLDER", default="", help=into),
        folder_option,
        exclude_option,
        click.option("--dry-run", "dry", is_flag=True, help="Only say what would be done."),
        click.option("--again", is_flag=True, help="Also what was brought in from there before."),
        config_option,
        json_option,
    ]

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def command(
            *arguments: Any,
            into: str,
            patterns: Sequence[str],
            excluded: Sequence[str],
            dry: bool,
            again: bool,
            config: Path,
            as_json: bool,
            **own: Any,
        ) -> None:
            how = How(into, chosen(patterns, excluded), dry, again, config, as_json)
            function(*arguments, how=how, **own)

        return reduce(lambda made, option: option(made), reversed(options), command)

    return add


def check_owner(config: Config) -> None:
    """Files are made as the user that the server runs as, or the server could not read them."""
    try:
        owner = config.data_dir.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        fail(f"{config.data_dir}: {os.strerror(error.errno or 0)} (run this as the server's user)")
    if owner.st_uid != os.geteuid():
        fail(
            f"{config.data_dir} belongs to the user with the number {owner.st_uid}: run this as that user"
            f" (sudo -u '#{owner.st_uid}' mailserver …)"
        )


@contextmanager
def opened(config: Path, written: str, furnish: bool = True) -> Iterator[LocalAccount]:
    """The account of a user, told by the command line. What goes wrong in it ends the command."""
    loaded = load_or_exit(config)
    account = LocalAccount(loaded, the_user(loaded, written, "mailserver user add {}"))
    check_owner(loaded.config)
    try:
        account.open(furnish)
        try:
            yield account
        finally:
            account.close()
    except MailError as error:
        fail(str(error.cause or error.text))
    except OSError as error:
        fail(f"{error.filename or ''}: {error.strerror}".lstrip(": "))


def bring_in(source: Source, account: LocalAccount, how: How) -> None:
    """The whole of an import, with its progress and its summary; ends the command."""
    journal = Journal(account.settings.now.data_dir, account.user)
    progress = Progress()
    sizes: dict[int, tuple[int, int]] = {}
    seen: list[FolderReport] = []

    def told(folder: Folder, report: FolderReport) -> None:
        if report not in seen:
            seen.append(report)
        sizes[id(folder)] = (folder.position(), folder.size)
        done, whole = (sum(column) for column in zip(*sizes.values(), strict=True))
        progress.tell(report.origin, done, whole, sum(one.imported + one.before for one in seen))

    try:
        journal.open()
        journal.begin(source, again=how.again)
        work = dry_run(source, journal, wanted=how.wanted, told=told) if how.dry else None
        report = work or import_all(source, account, journal, wanted=how.wanted, told=told)
    except SourceError as error:
        progress.end()
        fail(str(error))
    except KeyboardInterrupt:
        progress.end()
        fail("interrupted; run the same command again to go on")
    finally:
        source.close()
        journal.close()
    progress.end()
    summarize(account.user, report, "imported", "would be imported" if how.dry else "imported", how.json)


def summarize(user: str, report: Report, key: str, verb: str, as_json: bool) -> None:
    """Print what came of it. Exit status 1 where not all of it was done."""
    if as_json:
        print_json(_as_json(user, report, key))
    else:
        for folder in report.folders:
            known = f", {folder.before} were there" if folder.before else ""
            click.echo(f"{folder.name}: {folder.imported} {verb}{known}  ({folder.origin})")
            for what, why in folder.failed.items():
                click.echo(f"    not {what[:60]}: {why}", err=True)
        if report.passed_over:
            click.echo(f"passed over, for they show what is in others: {', '.join(report.passed_over)}")
        size = f"{report.total('octets') / 1_000_000:.1f} MB"
        click.echo(f"{report.total('imported')} messages {verb}, {size}; {report.total('before')} were there")
    if report.stopped:
        fail(f"stopped: {report.stopped}")
    if report.failed:
        raise SystemExit(1)


def _as_json(user: str, report: Report, key: str) -> dict[str, Any]:
    return {
        "user": user,
        key: report.total("imported"),
        "before": report.total("before"),
        "octets": report.total("octets"),
        "failed": report.failed,
        "stopped": report.stopped,
        "passed_over": list(report.passed_over),
        "folders": [
            {
                "origin": one.origin,
                "folder": one.name,
                key: one.imported,
                "before": one.before,
                "octets": one.octets,
                "failed": one.failed,
            }
            for one in report.folders
        ],
    }
