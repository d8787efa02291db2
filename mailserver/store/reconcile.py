"""[disk] The index against the directories: what other programs delivered, renamed, removed.

`refresh` looks at the mtimes of new/ and cur/ first. An mtime that was younger than two seconds when the
directory was read proves nothing (another change may have come in the same tick), so such a directory is
read again once. A message whose file is gone is looked for by its base name: a rename changes flags, and
only what differs between the old and the new name is taken over, so that flags of ours which no file name
shows yet are kept. Nothing is believed to have vanished unless two readings in a row did not see it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, evolve, field

from mailserver.processes.instance import same_boot
from mailserver.store import dovecot, files, maildir
from mailserver.store.adopt import adopt, rename_afresh
from mailserver.store.files import Uids
from mailserver.store.index.database import Index
from mailserver.store.index.rows import NOT_ENTERED, Folder, Row
from mailserver.store.ledger import Ledger
from mailserver.store.numbering import MODSEQ_RESERVE, UID_RESERVE

YOUNG = 2_000_000_000  # nanoseconds
_BOTH = ("new", "cur")


def refresh(ledger: Ledger, opened: Index, directory: str, force: bool = False) -> bool:
    """Bring the index up to date; True where the directories had to be read."""
    known = opened.folder(directory) is not None
    folder = ledger.folder(opened, directory)
    if not known:
        return True  # entered just now, and read for that
    path = ledger.folder_path(directory)
    mtimes = {sub: files.directory_mtime(path, sub) for sub in _BOTH}
    subs = [
        sub
        for sub, mtime, young in (
            ("new", folder.new_mtime, folder.new_young),
            ("cur", folder.cur_mtime, folder.cur_young),
        )
        if force or young or mtimes[sub] != mtime
    ]
    if not subs:
        return False
    ledger.wait()
    _Reconciling(ledger, opened, folder).run(subs, mtimes)
    return True


def look(ledger: Ledger, opened: Index, directory: str, names: Sequence[str] | None) -> list[tuple[int, str]]:
    """Something happened to these names (None: to any). What processes of ours did is in the index; else the
    directories are read. UIDs and names of what they did."""
    if names is not None:
        found = _explained(ledger, opened, ledger.folder(opened, directory), names)
        if found is not None:
            return found
    refresh(ledger, opened, directory, force=names is not None)
    return []


def _explained(
    ledger: Ledger, opened: Index, folder: Folder, names: Sequence[str]
) -> list[tuple[int, str]] | None:
    """None where the index and the directory differ in one of these names. With the account locked no process
    of ours is between the two."""
    uids: dict[str, int] = {}
    for name in names:
        parsed = maildir.parse(name[4:])
        if parsed.uidvalidity != folder.uidvalidity:
            return None
        uids[name] = parsed.uid
    rows = {row.uid: row.name for row in opened.rows(folder, sorted(set(uids.values())))}
    path = ledger.folder_path(folder.dir)
    for name, uid in uids.items():
        if os.path.lexists(f"{path}/{name}") != (rows.get(uid) == name):
            return None
    return list(rows.items())


@define(eq=False)
class _Reconciling:
    """One folder, once. floor, given: see `adopt`."""

    ledger: Ledger
    opened: Index
    folder: Folder
    floor: int = field(init=False)
    given: Mapping[str, int] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.floor = self.folder.uidnext

    @property
    def path(self) -> str:
        return self.ledger.folder_path(self.folder.dir)

    def run(self, subs: Iterable[str], mtimes: Mapping[str, int]) -> None:
        now = int(self.ledger.around.clock() * 1e9)
        before = (self.folder.uidnext, self.folder.modseq)
        known = self.opened.names(self.folder)
        found = self._read(subs)
        if set(subs) != set(_BOTH):
            here = {name for name in known if name[:3] in subs}
            if here - found:  # it may have moved to the other directory
                mtimes = {sub: files.directory_mtime(self.path, sub) for sub in _BOTH}
                subs = _BOTH
                found = self._read(_BOTH)
            else:
                found |= known.keys() - here
        if known.keys() - found:
            found = self._read_until_it_stands(found)
        for sub in subs:
            young = int(now - mtimes[sub] < YOUNG)
            if sub == "new":
                self.folder.new_mtime, self.folder.new_young = mtimes[sub], young
            else:
                self.folder.cur_mtime, self.folder.cur_young = mtimes[sub], young
        self._apply(known, found, before)

    def _read(self, subs: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for sub in subs:
            found |= files.message_names(self.path, sub)
        return found

    def _read_until_it_stands(self, found: set[str]) -> set[str]:
        for _ in range(5):
            again = self._read(_BOTH)
            if again == found:
                break
            found = again
        return found

    def _apply(self, known: Mapping[str, int], found: set[str], before: tuple[int, int]) -> None:
        missing = {name: known[name] for name in known.keys() - found}
        extra = found - known.keys()
        renamed = self._match(missing, extra) if missing and extra else {}
        extra.difference_update(renamed.values())
        gone = sorted(uid for name, uid in missing.items() if uid not in renamed)
        extra = self._without_twins(extra, known, missing)
        folder, opened, ledger = self.folder, self.opened, self.ledger
        if gone or renamed or extra:
            ledger.numbering.reserve(folder)
            folder.modseq += 1
        rows: list[Row] = []
        if extra:
            taken = set(known.values())
            rows = adopt(ledger, folder, extra, taken=taken, floor=self.floor, given=self.given)
        removed = opened.rows(folder, gone) if gone else []
        merged = [self._merge(row, renamed[row.uid]) for row in opened.rows(folder, sorted(renamed))]
        changed = [row for row, different in merged if different]
        for row in rows:
            folder.count(row, 1)
        for row in removed:
            folder.count(row, -1)
        if any(row.dirty for row in rows) or any(row.dirty for row, _ in merged):
            ledger.dirty.add(folder.dir)
        with opened.transaction():
            opened.insert(folder, rows)
            opened.set_flags(folder, changed)
            opened.set_names(folder, [row for row, _ in merged])
            opened.expunge(folder, gone, folder.modseq)
            opened.save_folder(folder)
            ledger.recount(opened)
        if rows or gone or merged or before != (folder.uidnext, folder.modseq):
            ledger.tell_of(
                folder,
                added=rows,
                changed=[(row.uid, row.flags) for row in changed],
                removed=gone,
                renamed=[(row.uid, row.name) for row, _ in merged],
            )

    def _match(self, missing: Mapping[str, int], extra: set[str]) -> dict[int, str]:
        """UID -> new name, by base name or by the `I=` that we had given."""
        by_base: dict[str, int] = {maildir.base_of(name): uid for name, uid in missing.items()}
        uids = set(missing.values())
        renamed: dict[int, str] = {}
        for name in sorted(extra):
            parsed = maildir.parse(name[4:])
            uid = by_base.get(parsed.base, 0)
            if not uid and parsed.uidvalidity == self.folder.uidvalidity and parsed.uid in uids:
                uid = parsed.uid
            if uid and uid not in renamed:
                renamed[uid] = name
        return renamed

    def _without_twins(
        self, extra: set[str], known: Mapping[str, int], missing: Mapping[str, int]
    ) -> set[str]:
        """Two files of one base name: the second is a message of its own and gets a name of its own; a
        second name of the same file is no message. Neither is removed."""
        if not extra:
            return extra
        bases = {maildir.base_of(name): name for name in known if name not in missing}
        fresh_bases = {maildir.base_of(name) for name in extra}
        if len(fresh_bases) == len(extra) and fresh_bases.isdisjoint(bases):
            return extra
        done: set[str] = set()
        for name in sorted(extra):
            base = maildir.base_of(name)
            twin = bases.get(base)
            if twin is None:
                bases[base] = name
                done.add(name)
                continue
            try:
                one, other = (os.lstat(os.path.join(self.path, n)) for n in (name, twin))
            except OSError:
                continue
            if one.st_ino == other.st_ino:
                continue
            fresh = rename_afresh(self.ledger, self.path, name, one.st_mtime)
            if fresh is not None:
                done.add(fresh)
        return done

    def _merge(self, row: Row, name: str) -> tuple[Row, bool]:
        """Flags that another program changed in the file name; did that change ours?"""
        keywords = self.folder.keywords.count("\n") + 1 if self.folder.keywords else 0
        old = maildir.flags_of(maildir.letters_of(row.name), keywords)
        new = maildir.flags_of(maildir.letters_of(name), keywords)
        flags = (row.flags | (new & ~old)) & ~(old & ~new)
        different = flags != row.flags
        self.folder.count_flags(row.flags, flags)
        row.flags = flags
        row.name = name
        parsed = maildir.parse(name[4:])
        ours = (parsed.uidvalidity, parsed.uid) == (self.folder.uidvalidity, row.uid)
        if row.dirty != 2 or not name.startswith("new/"):
            row.dirty = int(not ours or (flags & maildir.LETTER_BITS) != new)
        if different:
            row.modseq = self.folder.modseq
        return row, different


# --- the first touch of a folder ------------------------------------------------------------------


def enter_folder(ledger: Ledger, opened: Index, directory: str) -> tuple[Folder, Uids]:
    """Make the row of a folder and its file agree, and read the directories where they did not."""
    path = ledger.folder_path(directory)
    uids = files.read_uids(path)
    row = opened.folder(directory)
    if row is not None and uids is not None and row.uidvalidity != uids.uidvalidity:
        with opened.transaction():  # another folder stands there now
            opened.remove_folder(row)
        row = None
    if row is None:
        return _new_row(ledger, opened, directory, uids)
    if uids is None:
        uids = Uids(row.uidvalidity, row.uidnext + UID_RESERVE, row.modseq + MODSEQ_RESERVE, row.special)
        ledger.numbering.write(directory, uids)
    elif uids.uidnext < row.uidnext or uids.modseq < row.modseq:
        uids = uids.reserved(max(uids.uidnext, row.uidnext), max(uids.modseq, row.modseq), uids.run)
        ledger.numbering.write(directory, uids)
    ledger.numbering.remember(directory, uids)
    ours = uids.run == ledger.around.run  # another process of this server has made the reserve
    unclean = not ours and (row.uidnext, row.modseq) != (uids.uidnext, uids.modseq)
    if unclean or row.uidnext == NOT_ENTERED:
        reconciling = _Reconciling(ledger, opened, row)
        row.uidnext, row.modseq = uids.uidnext, uids.modseq
        if not same_boot(uids.run, ledger.around.run):
            _begin_anew(ledger, opened, row)
        reconciling.run(_BOTH, {sub: files.directory_mtime(path, sub) for sub in _BOTH})
    return row, ledger.numbering.uids_of(directory)


def _begin_anew(ledger: Ledger, opened: Index, row: Folder) -> None:
    """A MODSEQ that nobody was ever told. A power cut may have thrown the index back, and flags and expunged
    messages with it that clients were told of: they have to hear again how things are."""
    ledger.numbering.reserve(row)
    row.modseq += 1
    with opened.transaction():
        opened.distrust(row)
        opened.save_folder(row)


def _new_row(ledger: Ledger, opened: Index, directory: str, uids: Uids | None) -> tuple[Folder, Uids]:
    """A folder that the index does not know: made by another program, or the index was lost."""
    path = ledger.folder_path(directory)
    keywords = files.read_keywords(path)
    given: Mapping[str, int] = {}
    lost = uids is not None
    if uids is None:
        old = dovecot.read(path)
        if old is not None:
            uids = Uids(old.uidvalidity, old.uidnext)
            given = old.uids
            if old.keywords and not keywords:
                keywords = old.keywords
                files.write_keywords(path, keywords)
        else:
            uids = _guess(ledger, opened, path)
        ledger.numbering.write(directory, uids)
    ledger.numbering.remember(directory, uids)
    with opened.transaction():
        row = opened.add_folder(directory, uids.uidvalidity, NOT_ENTERED, uids.modseq)
        row.keywords, row.special = "\n".join(keywords), uids.special
        opened.save_folder(row)
    if lost:  # what was expunged before is forgotten
        _begin_anew(ledger, opened, row)
    reconciling = _Reconciling(ledger, opened, row, given)  # from NOT_ENTERED on: every UID may be kept
    row.uidnext = uids.uidnext
    reconciling.run(_BOTH, {sub: files.directory_mtime(path, sub) for sub in _BOTH})
    return row, ledger.numbering.uids_of(directory)


def _guess(ledger: Ledger, opened: Index, path: str) -> Uids:
    """Index and file are both lost: the UIDVALIDITY that most file names show, if no other folder has it. Its
    MODSEQ begins with the time, which is far above what counting could have reached."""
    names = (name for sub in _BOTH for name in files.message_names(path, sub) if ",I=" in name)
    parsed = [maildir.parse(name[4:]) for name in names]
    seen = Counter(name.uidvalidity for name in parsed if name.uidvalidity)
    others = {folder.uidvalidity for folder in opened.folders()}
    others.update(uids.uidvalidity for uids in ledger.numbering.on_disk())
    fresh = Uids(ledger.numbering.next_uidvalidity(opened))
    if not seen:
        return fresh
    uidvalidity, _ = seen.most_common(1)[0]
    if uidvalidity in others:
        return fresh
    last = max(name.uid for name in parsed if name.uidvalidity == uidvalidity)
    modseq = max(int(ledger.around.clock() * 1e6), MODSEQ_RESERVE)
    return evolve(fresh, uidvalidity=uidvalidity, uidnext=last + UID_RESERVE, modseq=modseq)
