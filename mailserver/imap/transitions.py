"""The states of an IMAP session (RFC 3501, 3), and the one table of what may come in which."""

from __future__ import annotations

from enum import Enum

from mailserver.imap import commands as c


class State(Enum):
    """RFC 3501, 3"""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


_BEFORE = frozenset((State.NOT_AUTHENTICATED,))
_SELECTED = frozenset((State.SELECTED,))
AFTER_LOGIN = frozenset((State.AUTHENTICATED, State.SELECTED))
_ANY = _BEFORE | AFTER_LOGIN

# The states in which each command is allowed: all there is to say about it stands in this table.
ALLOWED: dict[type[c.Command], frozenset[State]] = {
    c.Capability: _ANY,  # RFC 3501, 6.1
    c.Noop: _ANY,
    c.Logout: _ANY,
    c.Id: _ANY,  # RFC 2971, 3.1
    c.StartTls: _BEFORE,  # RFC 3501, 6.2
    c.Authenticate: _BEFORE,
    c.Login: _BEFORE,
    # RFC 5161, 3.1 allows ENABLE only where no mailbox is selected; clients send it later too, and what can
    # be enabled here only changes how the next change is told.
    c.Enable: AFTER_LOGIN,
    c.Select: AFTER_LOGIN,  # RFC 3501, 6.3
    c.Examine: AFTER_LOGIN,
    c.Create: AFTER_LOGIN,
    c.Delete: AFTER_LOGIN,
    c.Rename: AFTER_LOGIN,
    c.Subscribe: AFTER_LOGIN,
    c.Unsubscribe: AFTER_LOGIN,
    c.List: AFTER_LOGIN,
    c.ListExtended: AFTER_LOGIN,  # RFC 5258, 3
    c.Lsub: AFTER_LOGIN,
    c.Status: AFTER_LOGIN,
    c.Append: AFTER_LOGIN,
    c.Namespace: AFTER_LOGIN,  # RFC 2342, 5
    c.GetQuota: AFTER_LOGIN,  # RFC 9208, 4.1
    c.GetQuotaRoot: AFTER_LOGIN,
    c.SetQuota: AFTER_LOGIN,
    c.Idle: AFTER_LOGIN,  # RFC 2177, 3
    c.Unauthenticate: AFTER_LOGIN,  # RFC 8437, 6
    c.Compress: AFTER_LOGIN,  # RFC 4978, 5
    c.Notify: AFTER_LOGIN,  # RFC 5465, 8
    c.SetAcl: AFTER_LOGIN,  # RFC 4314, 7
    c.DeleteAcl: AFTER_LOGIN,
    c.GetAcl: AFTER_LOGIN,
    c.ListRights: AFTER_LOGIN,
    c.MyRights: AFTER_LOGIN,
    c.GetMetadata: AFTER_LOGIN,  # RFC 5464, 4.2
    c.SetMetadata: AFTER_LOGIN,
    c.Check: _SELECTED,  # RFC 3501, 6.4
    c.Close: _SELECTED,
    c.Unselect: _SELECTED,  # RFC 3691
    c.Expunge: _SELECTED,
    c.Fetch: _SELECTED,
    c.Store: _SELECTED,
    c.Search: _SELECTED,
    c.Sort: _SELECTED,  # RFC 5256, 3
    c.Thread: _SELECTED,
    c.Esearch: AFTER_LOGIN,  # RFC 7377, 2.2; where it means the selected mailbox its handler refuses
    c.CancelUpdate: _SELECTED,  # RFC 5267, 5
    c.Copy: _SELECTED,
    c.Move: _SELECTED,  # RFC 6851, 3
    c.Replace: _SELECTED,  # RFC 8508, 3.5
}
