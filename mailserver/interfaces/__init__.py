"""What the parts of the server know of one another: values that travel, and zope interfaces.

`smtp`, `pop3` and `imap` meet the store, the queue and log-in only through these. Methods that return a
Deferred never raise; they fail with a `mailserver.errors.MailError`. Unless said otherwise a method is
called in the reactor thread and must return at once.
"""

from mailserver.interfaces.envelope import (
    By,
    DeliverBy,
    Envelope,
    IAcceptor,
    IMessageBody,
    IRouter,
    Peer,
    Recipient,
    Target,
)
from mailserver.interfaces.login import Challenge, IAuthenticator, IChannel, IExchange, ISender, Success
from mailserver.interfaces.queue import Clock, ILocalDelivery, IQueue, Listener
from mailserver.interfaces.store import (
    KEYWORD,
    NO_QUOTA,
    CopyResult,
    Count,
    Flag,
    FolderInfo,
    IAccount,
    IMailbox,
    IMailboxListener,
    IMailStore,
    IMessageFile,
    MailboxStatus,
    NewMessage,
    Quota,
    QuotaUsage,
    StoreMode,
    StoreResult,
    TextFound,
)

__all__ = [
    "KEYWORD",
    "NO_QUOTA",
    "By",
    "Challenge",
    "Clock",
    "CopyResult",
    "Count",
    "DeliverBy",
    "Envelope",
    "Flag",
    "FolderInfo",
    "IAcceptor",
    "IAccount",
    "IAuthenticator",
    "IChannel",
    "IExchange",
    "ILocalDelivery",
    "IMailStore",
    "IMailbox",
    "IMailboxListener",
    "IMessageBody",
    "IMessageFile",
    "IQueue",
    "IRouter",
    "ISender",
    "Listener",
    "MailboxStatus",
    "NewMessage",
    "Peer",
    "Quota",
    "QuotaUsage",
    "Recipient",
    "StoreMode",
    "StoreResult",
    "Success",
    "Target",
    "TextFound",
]
