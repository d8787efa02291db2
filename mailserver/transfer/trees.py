"""[disk] Sources on the disk: an mbox file, a tree of them, a Maildir, a Maildir++, a tree of Maildirs.

- a file is one folder, called as the file is;
- a directory with `cur` is a Maildir, its folders the `.A.B` beside that (Maildir++), and directories with
  `cur` below it (as isync and OfflineIMAP keep them);
- any other directory holds Maildirs, mbox files, or both; `NAME.sbd` has what is below NAME (Thunderbird).

Flags are in the names of Maildir files and in the headers of mbox messages; keywords of Maildirs in
`dovecot-keywords`, or `mailserver-keywords`.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mailserver.errors import CannotName
from mailserver.store import files, maildir
from mailserver.store.operations import locate
from mailserver.transfer import mbox
from mailserver.transfer.journal import digest
from mailserver.transfer.values import Folder, Message, Passed, SourceError
from mailserver.wire import utf7

_LETTERS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}
_PASSED = "$Forwarded"
_INBOXES = ("inbox", "mbox", "mailbox")
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def folder_name(parts: Sequence[str]) -> str:
    """A name that a folder here can have: what cannot stand in one becomes "_". INBOX for none."""
    done = []
    for part in parts:
        clean = _UNFIT.sub("_", part).replace(".", "_").replace("/", "_").strip() or "_"
        clean = "_" + clean[1:] if clean.startswith("~") else clean
        done.append("_" + clean if clean in ("cur", "new", "tmp") else clean)
    name = maildir.normal_name("/".join(done)) if done else maildir.INBOX
    maildir.directory_of(name)  # longer than a file name may be
    return name


def _decoded(part: str) -> str:
    """A name on the disk: UTF-8, or modified UTF-7 where it can be that."""
    with suppress(CannotName, UnicodeEncodeError):
        return utf7.decode(part.encode("ascii"))
    return part.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# --- Maildir ---------------------------------------------------------------------------------------


class MaildirFolder:
    """One Maildir, read by name: `key` is the base name."""

    special = ""

    def __init__(self, path: Path, origin: str, parts: Sequence[str]) -> None:
        self.origin = origin
        self.path = path
        self.name = folder_name(parts)
        self._found = self._names()
        self.size = len(self._found)
        self._position = 0
        names = files.read_keywords(str(path)) or files.read_keywords(str(path), "dovecot-keywords")
        self._keywords = [name if mbox.is_keyword(name) else "" for name in names]

    def _names(self) -> list[str]:
        """With the directory before each."""
        path = str(self.path)
        return sorted((*files.message_names(path, "cur"), *files.message_names(path, "new")), key=_age)

    def position(self) -> int:
        return self._position

    def messages(self, done: Container[str]) -> Iterator[Message | Passed]:
        for name in self._found:
            self._position += 1
            file = name[4:]
            key = os.fsencode(maildir.base_of(file)).decode("utf-8", "backslashreplace")
            if key in done:
                yield Passed(key)
                continue
            path = self.path / name
            try:
                fd = files.open_message(str(path))
            except FileNotFoundError:
                now = locate(str(self.path), name)
                if now is None:
                    continue  # its program has removed it meanwhile
                path = self.path / now
                fd = files.open_message(str(path))
            except OSError as error:
                yield Passed(key, os.strerror(error.errno or 0))
                continue
            try:
                date = os.fstat(fd).st_mtime
                data = b"".join(files.chunks_of(fd)).replace(b"\r\n", b"\n")
            finally:
                os.close(fd)
            yield Message(key, data, self._flags(maildir.letters_of(path.name)), date)

    def _flags(self, letters: str) -> frozenset[str]:
        flags = {_LETTERS[letter] for letter in letters if letter in _LETTERS}
        if "P" in letters:
            flags.add(_PASSED)
        for letter in letters:
            number = ord(letter) - 97
            if letter.islower() and number < len(self._keywords) and self._keywords[number]:
                flags.add(self._keywords[number])
        return frozenset(flags)


def _age(name: str) -> tuple[int, str]:
    """Names begin with the time of delivery."""
    number = re.match(r"\d{1,15}", name[4:])
    return (int(number[0]) if number else 0, name)


# --- mbox ------------------------------------------------------------------------------------------


class MboxFolder:
    """One mbox file. `key` is the digest of the message and how many like it came before, so that it stays
    the same when the program that keeps the file removes others."""

    special = ""

    def __init__(self, path: Path, origin: str, parts: Sequence[str], variant: str = "auto") -> None:
        self.origin = origin
        self.path = path
        self.name = folder_name(parts)
        self.size = path.stat().st_size
        self._variant = variant
        self._position = 0

    def position(self) -> int:
        return self._position

    def messages(self, done: Container[str]) -> Iterator[Message | Passed]:
        if not self.size:
            return
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            like: dict[str, int] = {}
            try:
                for found in mbox.split(data, self._variant):  # type: ignore[arg-type]
                    self._position = found.next
                    if found.expunged or not found.text.strip():
                        continue
                    name = digest(found.text)
                    like[name] = like.get(name, 0) + 1
                    key = f"{name}.{like[name]}"
                    if key in done:
                        yield Passed(key)
                    else:
                        yield Message(key, found.text, found.flags, mbox.date_of(found.separator))
            except mbox.NotMbox as error:
                raise SourceError(f"{self.path} is no mbox file: {error}") from None


def _is_mbox(path: Path) -> bool:
    with suppress(OSError), open(path, "rb") as file:
        return mbox.is_separator(file.read(4096).lstrip(b"\r\n"), 0)
    return False


# --- trees -----------------------------------------------------------------------------------------


class Tree:
    """A file or directory. form: "auto", "mbox", "maildir". into: the folder that it becomes, or under
    which its folders go."""

    kind = "file"
    passed_over = ()

    def __init__(self, path: Path, form: str = "auto", variant: str = "auto", into: str = "") -> None:
        self.path = path
        self.place = os.path.realpath(path)
        self._form = form
        self._variant = variant
        self._into = into.split("/") if into else []

    def close(self) -> None:
        """Nothing is held open."""

    def folders(self) -> Sequence[Folder]:
        try:
            found = list(self._found())
        except OSError as error:
            raise SourceError(f"{error.filename or self.path}: {error.strerror}") from None
        except CannotName as error:
            raise SourceError(f"a folder's name is too long: {error.cause}") from None
        if not found:
            raise SourceError(f"{self.path} holds no mbox file and no Maildir")
        return found

    def _found(self) -> Iterator[Folder]:
        if not self.path.is_dir():
            yield self._file(self.path)
        elif (self.path / "cur").is_dir() and self._form != "mbox":
            yield from self._maildir(self.path, [])
        else:
            yield from self._below(self.path, [])

    def _file(self, path: Path) -> Folder:
        """A single file: called as it is, or as was asked for."""
        if self._form == "maildir":
            raise SourceError(f"{path} is not a directory")
        if path.stat().st_size and not _is_mbox(path):
            raise SourceError(f"{path} is no mbox file: it does not begin with a From line")
        stem = path.name.removesuffix(".mbox").removesuffix(".mbx")
        parts = [] if stem.lower() in _INBOXES else [_decoded(stem)]
        return MboxFolder(path, path.name, self._into or parts, self._variant)

    def _maildir(self, path: Path, parts: list[str]) -> Iterator[Folder]:
        yield MaildirFolder(path, self._origin(path), self._under(parts))
        for entry in sorted(path.iterdir()):
            if entry.name in ("cur", "new", "tmp") or not entry.is_dir() or entry.is_symlink():
                continue
            if entry.name.startswith("."):
                levels = [_decoded(part) for part in entry.name[1:].split(".")]
                if all(levels) and (entry / "cur").is_dir():
                    yield MaildirFolder(entry, self._origin(entry), self._under([*parts, *levels]))
            else:
                yield from self._directory(entry, [*parts, _decoded(entry.name)])

    def _below(self, path: Path, parts: list[str]) -> Iterator[Folder]:
        for entry in sorted(path.iterdir()):
            if entry.is_symlink() or entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from self._directory(entry, [*parts, _decoded(entry.name.removesuffix(".sbd"))])
            elif self._form != "maildir" and entry.is_file() and _is_mbox(entry):
                stem = _decoded(entry.name.removesuffix(".mbox"))
                own = [] if not parts and stem.lower() in _INBOXES else [*parts, stem]
                yield MboxFolder(entry, self._origin(entry), self._under(own), self._variant)

    def _directory(self, path: Path, parts: list[str]) -> Iterator[Folder]:
        if (path / "cur").is_dir():
            if self._form != "mbox":
                own = [] if len(parts) == 1 and parts[0].lower() == "inbox" else parts
                yield from self._maildir(path, own)
        else:
            yield from self._below(path, parts)

    def _origin(self, path: Path) -> str:
        """The same from whatever directory the command is run."""
        below = str(path.relative_to(self.path))
        return below if below != "." else os.path.basename(self.place)

    def _under(self, parts: list[str]) -> list[str]:
        return [*self._into, *parts]
