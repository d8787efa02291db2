"""What each command does: one `async def` per command, found through `HANDLERS`.

The state in which a command is allowed is the engine's matter (`engine.ALLOWED`); a handler is only called
there. Each module gives its part of the table as `TABLE`.
"""

from __future__ import annotations

from mailserver.imap.commands import Command
from mailserver.imap.handlers import (
    acl,
    anyone,
    append,
    change,
    contexts,
    fetch,
    lists,
    login,
    mailboxes,
    metadata,
    multisearch,
    notify,
    quota,
    search,
    select,
)
from mailserver.imap.session import Handler

HANDLERS: dict[type[Command], Handler] = {
    **anyone.TABLE,
    **login.TABLE,
    **select.TABLE,
    **mailboxes.TABLE,
    **quota.TABLE,
    **lists.TABLE,
    **metadata.TABLE,
    **notify.TABLE,
    **acl.TABLE,
    **append.TABLE,
    **fetch.TABLE,
    **search.TABLE,
    **multisearch.TABLE,
    **contexts.TABLE,
    **change.TABLE,
}
