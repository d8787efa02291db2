"""`python -m bench.compare`: ENVELOPE, BODYSTRUCTURE and BODY of odd messages beside Dovecot's.

Every message lies in both servers; what they tell of it is compared after it was parsed, so that quoting and
spaces do not count. Differences are printed; those that stand in `KNOWN` with their reason do not count.
Messages of a directory of your own: `--messages DIR`, one a file.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import messages
from bench.odd_messages import KNOWN, ODD
from bench.servers import PASSWORD, Ours, Peers
from bench.wire import Imap, WireError

USER = "user001"
ITEMS = ("ENVELOPE", "BODYSTRUCTURE", "BODY", "RFC822.SIZE")


def parse(data: bytes, at: int = 0) -> tuple[Any, int]:
    """One value of a FETCH response at `at`, and where it ends: lists, strings, literals, NIL, atoms."""
    first = data[at : at + 1]
    if first == b"(":
        found, at = [], at + 1
        while data[at : at + 1] != b")":
            if data[at : at + 1] == b" ":
                at += 1
                continue
            value, at = parse(data, at)
            found.append(value)
        return found, at + 1
    if first == b'"':
        text, at = bytearray(), at + 1
        while data[at] != 0x22:
            at += data[at] == 0x5C
            text.append(data[at])
            at += 1
        return bytes(text), at + 1
    if first == b"{":
        end = data.index(b"}\r\n", at)
        start = end + 3
        count = int(data[at + 1 : end])
        return data[start : start + count], start + count
    end = at
    while end < len(data) and data[end] not in b" ()\r":
        end += 1
    atom = data[at:end]
    return (None if atom.upper() == b"NIL" else atom), end


def told(client: Imap, count: int) -> list[dict[str, Any]]:
    """What the server tells of each message."""
    found: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        items = " ".join(ITEMS).encode()
        (line,) = [one for one in client.run(b"FETCH %d (%b)" % (number, items)) if b" FETCH (" in one]
        values, _ = parse(line, line.index(b" FETCH (") + 7)
        pairs = dict(zip(values[::2], values[1::2], strict=True))
        found.append({item: _plain(pairs[item.encode()]) for item in ITEMS})
    return found


def _plain(value: Any) -> Any:
    """Types, names of parameters and encodings in lower case: they have none."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.lower() if isinstance(value, bytes) else value


def compare(texts: Sequence[tuple[str, bytes]], folder: Path) -> Iterator[tuple[str, str, Any, Any]]:
    """(name of the message, item, ours, theirs) of each difference."""
    answers = []
    for kind in (Ours, Peers):
        server = kind(folder / kind.label)
        server.start()
        try:
            client = Imap(server.imap, USER, PASSWORD)
            client.run(b"CREATE Odd")
            for _, text in texts:
                client.run(b"APPEND Odd {%d+}\r\n%b" % (len(text), text))
            if client.select("Odd") != len(texts):
                raise WireError("messages are missing")
            answers.append(told(client, len(texts)))
            client.logout()
        finally:
            server.stop()
    for (name, _), ours, theirs in zip(texts, *answers, strict=True):
        for item in ITEMS:
            if ours[item] != theirs[item]:
                yield name, item, ours[item], theirs[item]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--messages", type=Path, help="a directory of messages, one a file, besides our own")
    parser.add_argument("--mixed", type=int, default=200, help="how many of a person's messages (200)")
    args = parser.parse_args()
    texts = [*ODD.items(), *((f"mixed {n}", messages.mixed(n)) for n in range(args.mixed))]
    if args.messages is not None:
        for path in sorted(args.messages.iterdir()):
            data = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            texts.append((path.name, data))
    folder = Path(tempfile.mkdtemp(prefix="mailserver-compare-"))
    folder.chmod(0o755)
    unknown = 0
    try:
        for name, item, ours, theirs in compare(texts, folder):
            reason = KNOWN.get(name, "")
            unknown += not reason
            print(f"{name}: {item}: {reason or 'they differ'}\n  ours   {ours}\n  theirs {theirs}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(texts)} messages, {unknown} differences without a reason")
    return 1 if unknown else 0


if __name__ == "__main__":
    raise SystemExit(main())
