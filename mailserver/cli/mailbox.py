"""`mailserver mailbox …`: the mail of an account."""

from __future__ import annotations

import click

from mailserver.cli.mailboxes import list_command, reindex_command, verify_command


@click.group()
def mailbox() -> None:
    """See, check and mend the mail of an account.

    All work with and without a running server. Run them as the user that the server runs as.

    \b
    Examples:
      mailserver mailbox list alice@example.org
      mailserver mailbox verify --all
      mailserver mailbox reindex alice@example.org
    """


for _command in (list_command, verify_command, reindex_command):
    mailbox.add_command(_command)
