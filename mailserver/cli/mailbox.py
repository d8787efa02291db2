"""`mailserver mailbox …`: the mail of an account."""

from __future__ import annotations

import click

from mailserver.cli.group import Group
from mailserver.cli.mail_files import export_command, import_command
from mailserver.cli.mailboxes import list_command, reindex_command, verify_command


@click.group(cls=Group)
def mailbox() -> None:
    """See, check and mend the mail of an account; bring mail in and out.

    All work with and without a running server, whose sessions see at once what came. Run them as the user
    that the server runs as.

    \b
    Examples:
      mailserver mailbox list alice@example.org
      mailserver mailbox verify --all
      mailserver mailbox reindex alice@example.org
      mailserver mailbox import alice@example.org ~alice/Maildir
      mailserver mailbox export alice@example.org backup/
    """


for _command in (list_command, verify_command, reindex_command, import_command, export_command):
    mailbox.add_command(_command)
