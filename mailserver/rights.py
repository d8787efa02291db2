"""Rights on mailboxes as letters, and access control lists as values (RFC 4314, 2).

Names of other users' mailboxes begin with `OTHERS`, then stands the user, then the name that the mailbox has
for its owner. An owner always has all rights (RFC 4314, 2: "force rights to always be granted"). Everybody
else has what the entries for `anyone` and for their own address grant together, without what the entries
with a dash in front of these take away.
"""

from __future__ import annotations

from attrs import frozen

ALL = "lrswipkxtea"  # RFC 4314, 2.1
FLAG_RIGHTS = "swt"
VIRTUAL = {"c": "kx", "d": "te"}  # RFC 4314, 2.1.1
ANYONE = "anyone"
EVERYBODY = (ANYONE, "authenticated")  # there is no anonymous log-in: both are the same
OTHERS = "Other Users/"


def expand(letters: str) -> str:
    """Rights as a client writes them, each once and in the order of `ALL`, with `c` and `d` as what they
    stand for. Raises ValueError for letters that are no rights (RFC 4314, 3.1: never ignored)."""
    wanted = set("".join(VIRTUAL.get(letter, letter) for letter in letters))
    if not wanted <= set(ALL):
        raise ValueError("".join(sorted(wanted - set(ALL))))
    return ordered(wanted)


def ordered(letters: str | set[str]) -> str:
    return "".join(letter for letter in ALL if letter in letters)


def told(letters: str) -> str:
    """With the virtual rights that older clients look for (RFC 4314, 2.1.1)."""
    return letters + "".join(
        virtual for virtual, members in VIRTUAL.items() if not set(members).isdisjoint(letters)
    )


@frozen
class Acl:
    """entries: identifier and rights, as IMAP names them; others: lines that mean nothing here."""

    entries: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = ()

    def rights_of(self, user: str) -> str:
        """What somebody who is not the owner may do."""
        names = (user, *EVERYBODY)
        granted = {letter for name, letters in self.entries if name in names for letter in letters}
        for name, letters in self.entries:
            if name.startswith("-") and name[1:] in names:
                granted -= set(letters)
        return ordered(granted)

    def of(self, identifier: str) -> str:
        return next((letters for name, letters in self.entries if name == identifier), "")

    def with_entry(self, identifier: str, letters: str) -> Acl:
        """An entry without rights is none."""
        entries = dict(self.entries)
        entries[identifier] = letters
        return Acl(tuple((name, some) for name, some in entries.items() if some), self.others)

    @property
    def identifiers(self) -> set[str]:
        """Whom it grants anything."""
        return {name for name, letters in self.entries if letters and not name.startswith("-")}
