"""`mailserver mailbox import|export`: mail from files, and into files."""

from __future__ import annotations

from pathlib import Path

import click

from mailserver.cli.common import config_option, fail, json_option
from mailserver.cli.progress import Progress
from mailserver.cli.transfers import (
    How,
    bring_in,
    bringing_options,
    chosen,
    exclude_option,
    folder_option,
    opened,
    summarize,
)
from mailserver.errors import MailError
from mailserver.transfer.exporting import MaildirTree, MboxFiles, Target, export_all
from mailserver.transfer.mbox import VARIANTS
from mailserver.transfer.trees import Tree
from mailserver.transfer.values import FolderReport


@click.command("import")
@click.argument("user", metavar="USER")
@click.argument("source", metavar="SOURCE", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(("auto", "mbox", "maildir")),
    default="auto",
    show_default=True,
    help="What SOURCE holds; mostly that can be seen.",
)
@click.option(
    "--variant",
    type=click.Choice(VARIANTS),
    default="auto",
    show_default=True,
    help="The dialect of mbox files. auto: mboxrd, or what Content-Length tells.",
)
@bringing_options(into="The folder it becomes, or under which all goes.")
def import_command(
    user: str,
    source: Path,
    *,
    form: str,
    variant: str,
    how: How,
) -> None:
    """Bring mail from files into USER's account.

    SOURCE is an mbox file, a directory of them (also Thunderbird's, with .sbd), a Maildir, a Maildir++, or a
    directory of Maildirs. Flags, keywords and dates come along: of Maildirs from file names, file times and
    dovecot-keywords; of mbox files from the From lines and the fields Status, X-Status, X-Keywords and
    X-Mozilla-Status, which are not kept. Folders that are missing are made.

    An import that was interrupted goes on where it was when the same command is run again, and a later one
    only takes what is new in SOURCE: nothing comes twice. SOURCE is never changed.

    \b
    Examples:
      mailserver mailbox import alice@example.org ~alice/Maildir
      mailserver mailbox import alice@example.org /var/mail/alice --into INBOX
      mailserver mailbox import alice@example.org Mail/ --dry-run

    Exit status 0: all is there; 1: something is not, and what and why is told.
    """
    with opened(how.config, user) as account:
        tree = Tree(source, form, variant, how.into)
        bring_in(tree, account, how)


@click.command("export")
@click.argument("user", metavar="USER")
@click.argument("target", metavar="DIRECTORY", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(("maildir", "mbox")),
    default="maildir",
    show_default=True,
    help="A Maildir++ tree, or one mboxrd file for each folder.",
)
@folder_option
@exclude_option
@config_option
@json_option
def export_command(
    user: str,
    target: Path,
    *,
    form: str,
    patterns: tuple[str, ...],
    excluded: tuple[str, ...],
    config: Path,
    as_json: bool,
) -> None:
    """Write USER's mail into DIRECTORY, as files that other programs read.

    maildir: with flags, keywords (dovecot-keywords), dates and subscriptions. Run again, it writes what is
    missing. mbox: mboxrd, with flags and keywords as Status, X-Status and X-Keywords; files that are there
    already are not touched. The account is not changed.

    \b
    Examples:
      mailserver mailbox export alice@example.org backup/
      mailserver mailbox export alice@example.org backup/ --format mbox --folder 'Archive/*'
    """
    progress = Progress()

    def told(report: FolderReport, whole: int) -> None:
        progress.tell(report.name, report.imported + report.before, whole, report.imported)

    with opened(config, user, furnish=False) as account:
        written: Target = MaildirTree(target) if form == "maildir" else MboxFiles(target)
        try:
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            report = export_all(account, written, chosen(patterns, excluded), told)
        except MailError as error:
            progress.end()
            fail(str(error.cause or error.text))
        except KeyboardInterrupt:
            progress.end()
            fail("interrupted; run the same command again to go on")
        progress.end()
        summarize(account.user, report, "exported", "exported", as_json)
