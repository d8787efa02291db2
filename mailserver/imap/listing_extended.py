"""LIST with options: which names are told, with what attributes (RFC 5258, 3; RFC 6154, 2).

A name is told where it matches a pattern and either meets all selection options or, with RECURSIVEMATCH,
stands above a name that meets them and matches no pattern (RFC 5258, 3.3). Where nothing is selected, a level
that is no mailbox itself is told only if a mailbox below it would not be (RFC 5258, 3.5). There are no remote
mailboxes, so REMOTE adds none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mailserver.imap.commands import ListExtended
from mailserver.imap.grammar.list import CRITERIA
from mailserver.imap.listing import Listed, matcher, parents_of
from mailserver.interfaces import FolderInfo


def list_extended(
    folders: Iterable[FolderInfo], subscriptions: Iterable[str], command: ListExtended
) -> list[Listed]:
    """The answer; `subscriptions` may be empty where nobody asks for SUBSCRIBED. O(names * patterns)."""
    existing = {folder.name: folder for folder in folders if folder.selectable}
    subscribed = dict.fromkeys(subscriptions)
    criteria = tuple(option for option in CRITERIA if option in command.selection)
    meets = _meeting(existing, subscribed, criteria)
    above = parents_of(meets)
    names = dict.fromkeys([*existing, *subscribed, *sorted(above)])
    matching = _matching(names, command.reference, command.patterns)
    above_untold = parents_of([name for name in meets if name not in matching])
    recursive = "RECURSIVEMATCH" in command.selection
    with_children = parents_of(existing)
    tell_subscribed = subscribed if "SUBSCRIBED" in command.selection | command.returned else {}
    answer: list[Listed] = []
    for name in matching:
        if name not in meets and not (
            name in above_untold and (recursive or (not criteria and name not in existing))
        ):
            continue
        attributes = attributes_of(existing.get(name), name in with_children)
        if name in tell_subscribed:
            attributes += ("\\Subscribed",)
        children = criteria if recursive and name in above else ()
        selected = name in meets and name in existing
        rights = existing[name].rights if selected else ""
        answer.append(Listed(attributes, name, children, selected, rights=rights))
    return answer


def _meeting(
    existing: dict[str, FolderInfo], subscribed: dict[str, None], criteria: Sequence[str]
) -> dict[str, None]:
    """Names that meet the selection options; without any, all that exist."""
    names = subscribed if "SUBSCRIBED" in criteria else dict.fromkeys(existing)
    if "SPECIAL-USE" in criteria:
        names = {name: None for name in names if name in existing and existing[name].special_use}
    return names


def _matching(names: Iterable[str], reference: str, patterns: Iterable[str]) -> dict[str, None]:
    """An empty pattern matches nothing (RFC 5258, 3)."""
    matchers = [matcher(reference + pattern) for pattern in dict.fromkeys(patterns) if pattern]
    return {name: None for name in names if any(match(name) for match in matchers)}


def attributes_of(folder: FolderInfo | None, has_children: bool) -> tuple[str, ...]:
    """\\NonExistent implies \\Noselect (RFC 5258, 3)."""
    attributes = ["\\NonExistent"] if folder is None else []
    attributes.append("\\HasChildren" if has_children else "\\HasNoChildren")
    if folder is not None and folder.special_use:
        attributes.append(folder.special_use)
    return tuple(attributes)
