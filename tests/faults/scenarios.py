"""What clients do while something fails. Each scenario begins with a server that was just started."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from tests.crash.messages import message
from tests.faults.world import Client, World

SMALL = [number for number in range(1, 200) if len(message(number)) < 2000]
LARGE = [number for number in range(1, 200) if len(message(number)) > 8000]


def _wire(number: int) -> bytes:
    return message(number).replace(b"\n", b"\r\n")


def deliver(world: World, number: int, *to: str, chunks: int = 0) -> None:
    client = Client(world, "smtp")
    client.smtp(b"EHLO client.example\r\n")
    client.smtp(b"MAIL FROM:<load@sender.example>\r\n")
    for name in to:
        client.smtp(f"RCPT TO:<{name if '@' in name else name + '@example.org'}>\r\n".encode())
    data = _wire(number)
    if chunks:
        _send_chunks(client, data, chunks)
    else:
        client.smtp(b"DATA\r\n")
        client.smtp(data.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    client.close()


def _send_chunks(client: Client, data: bytes, chunks: int) -> None:
    step = len(data) // chunks
    for at in range(chunks):
        last = at == chunks - 1
        piece = data[at * step :] if last else data[at * step : (at + 1) * step]
        client.smtp(b"BDAT %d%b\r\n%b" % (len(piece), b" LAST" if last else b"", piece))


def session(world: World, folder: bytes = b"", user: str = "alice") -> Client:
    client = Client(world, "imap")
    client.imap(f"LOGIN {user}@example.org x".encode())
    if folder:
        client.imap(b"SELECT " + folder)
    return client


def append(world: World, folder: str, *numbers: int, flags: str = "") -> None:
    literals = tuple(_wire(number) for number in numbers)
    what = f" ({flags})" if flags else ""
    command = f"APPEND {folder}" + f"{what} {{}}" * len(numbers)
    session(world).imap(command.encode(), literals)


Act = Callable[[World, int], None]


@frozen
class Scenario:
    """`act(world, n)` with new messages from number `n` on. `again`: after a no it can be asked once more.
    queue: outcomes are recorded, which a kill may prevent; then what was done is done again."""

    name: str
    act: Act
    setup: Callable[[World], None]
    again: bool = True
    warm: bool = False
    queue: bool = False


def _some(world: World) -> None:
    """Two accounts with some mail and a folder."""
    for number in SMALL[:3]:
        deliver(world, number, "alice")
    deliver(world, SMALL[3], "bob")
    session(world, user="bob")
    client = session(world)
    client.imap(b"CREATE Work")
    append(world, "Work", SMALL[4], flags="\\Seen kept")
    client.imap(b"SELECT INBOX")
    client.imap(b"STORE 2 +FLAGS.SILENT (\\Deleted \\Flagged word)")
    world.reactor.settle(5)


def _queued(*to: str) -> Callable[[World], None]:
    def setup(world: World) -> None:
        _some(world)
        deliver(world, SMALL[5], *to)

    return setup


def _in_inbox(*commands: bytes) -> Act:
    def act(world: World, number: int) -> None:
        client = session(world, b"INBOX")
        for command in commands:
            client.imap(command)

    return act


def _pop3(world: World, number: int) -> None:
    client = Client(world, "pop3")
    for line in (b"USER alice@example.org", b"PASS x", b"DELE 1", b"DELE 3", b"QUIT"):
        client.pop3(line)


def _replace(world: World, number: int) -> None:
    session(world, b"INBOX").imap(b"UID REPLACE 3 INBOX (\\Draft) {}", (_wire(number),))


def _queue_runs(world: World, number: int) -> None:
    """Outcomes are nobody's answer: the manager goes on until it could record them."""
    world.manage(1.0)


def _scenarios() -> Sequence[Scenario]:
    large, small = LARGE[0], SMALL[6]
    return [
        Scenario("data-one", lambda w, n: deliver(w, n, "alice"), _some),
        Scenario("data-large", lambda w, n: deliver(w, n + large - small, "alice"), _some),
        Scenario("data-several", lambda w, n: deliver(w, n, "alice", "bob"), _some),
        Scenario("data-first", lambda w, n: deliver(w, n, "alice"), lambda w: None),
        Scenario("data-remote", lambda w, n: deliver(w, n, "x@far.example", "alice"), _some),
        Scenario("bdat", lambda w, n: deliver(w, n, "alice", chunks=3), _some),
        Scenario("append", lambda w, n: append(w, "Work", n, flags="\\Seen new"), _some),
        Scenario("multiappend", lambda w, n: append(w, "INBOX", n, n + 1), _some),
        Scenario("copy", _in_inbox(b"UID COPY 1:3 Work"), _some),
        Scenario("move", _in_inbox(b"UID MOVE 1:2 Work"), _some),
        Scenario("store", _in_inbox(b"STORE 1:3 +FLAGS (\\Seen fresh)"), _some),
        Scenario("expunge", _in_inbox(b"EXPUNGE"), _some),
        Scenario("replace", _replace, _some, again=False),
        Scenario("pop3", _pop3, _some, again=False),
        Scenario("create", _in_inbox(b"CREATE Fresh"), _some),
        Scenario("rename", _in_inbox(b"RENAME Work Play"), _some),
        Scenario(
            "queue", _queue_runs, _queued("yes@far.example", "late@far.example", "no@far.example"), queue=True
        ),
        Scenario("queue-local", _queue_runs, _queued("yes@far.example", "alice", "bob"), queue=True),
    ]


SCENARIOS = {scenario.name: scenario for scenario in _scenarios()}
