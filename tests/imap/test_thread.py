"""THREAD: ORDEREDSUBJECT and REFERENCES (RFC 5256, 3)."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.imap.search import thread
from mailserver.imap.search.thread import Messages, Tree, Work, references, response
from tests.helpers.cost import cheaper_than
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_session import SelectedClient


def add(account: FakeAccount, subject: str, minute: int, own: str = "", refs: str = "") -> None:
    ids = f"Message-ID: <{own}@x>\n" if own else ""
    if refs:
        ids += "References: " + " ".join(f"<{ref}@x>" for ref in refs.split()) + "\n"
    account.inbox.add(f"Subject: {subject}\nDate: 1 Jan 2000 10:{minute:02}\n{ids}\n".encode())


def threads(account: FakeAccount, algorithm: str, keys: str = "ALL", uid: str = "") -> str:
    line, tagged = SelectedClient(account).told(f"{uid}THREAD {algorithm} UTF-8 {keys}")
    assert tagged == "a OK THREAD completed"
    return line.removeprefix("* THREAD").strip()


@pytest.fixture
def account() -> FakeAccount:
    return FakeAccount()


# --- ORDEREDSUBJECT ----------------------------------------------------------------------------------


def test_ordered_subject(account: FakeAccount) -> None:
    for minute, subject in ((5, "b"), (4, "a"), (3, "Re: b"), (2, "c"), (6, "[x] B (fwd)"), (7, "re: A")):
        add(account, subject, minute)
    assert threads(account, "ORDEREDSUBJECT") == "(4)(3 (1)(5))(2 6)"
    assert threads(account, "ORDEREDSUBJECT", "NOT 3") == "(4)(2 6)(1 5)"
    assert threads(account, "ORDEREDSUBJECT", 'TEXT "gewp"') == ""


# --- REFERENCES --------------------------------------------------------------------------------------


def test_replies_and_their_order(account: FakeAccount) -> None:
    add(account, "one", 1, "a")
    add(account, "Re: one", 4, "b", "a")
    add(account, "Re: one", 3, "c", "a")
    add(account, "Re: one", 5, "d", "a b")
    add(account, "two", 2, "e")
    assert threads(account, "REFERENCES") == "(1 (3)(2 4))(5)"
    assert threads(account, "REFERENCES", "NOT 1") == "(5)((3)(2 4))"  # siblings of a parent not there
    assert threads(account, "REFERENCES", "4:5") == "(5)(4)"


def test_the_example_of_the_response(account: FakeAccount) -> None:
    """RFC 5256, 4: * THREAD (2)(3 6 (4 23)(44 7 96)), with smaller numbers."""
    add(account, "x", 0, "two")
    add(account, "y", 1, "three")
    add(account, "Re: y", 3, "four", "three six")
    add(account, "Re: y", 2, "six", "three")
    add(account, "Re: y", 5, "seven", "three six fortyfour")
    add(account, "Re: y", 6, "twentythree", "three six four")
    add(account, "Re: y", 4, "fortyfour", "three six")
    add(account, "Re: y", 7, "ninetysix", "three six fortyfour seven")
    assert threads(account, "REFERENCES") == "(1)(2 4 (3 6)(7 5 8))"


def test_a_parent_that_is_missing_stands_for_several(account: FakeAccount) -> None:
    add(account, "p", 1, "a", "missing")
    add(account, "q", 2, "b", "missing")
    add(account, "r", 3, "c", "gone")
    assert threads(account, "REFERENCES") == "((1)(2))(3)"
    assert threads(account, "REFERENCES", uid="UID ") == "((1)(2))(3)"


@pytest.mark.parametrize(
    ("subjects", "expected"),
    [
        (("hello", "Re: hello"), "(1 2)"),  # a reply without references
        (("Re: hello", "hello"), "(2 1)"),
        (("hello", "hello"), "((1)(2))"),  # neither is a reply: siblings
        (("Re: hello", "Fwd: Hello"), "((1)(2))"),
        (("hello", "hello", "Re: hello"), "((1)(2)(3))"),
        (("", ""), "(1)(2)"),  # without a subject nothing is merged
        (("Re:", "Re:"), "(1)(2)"),
        (("HÉLLO", "Re: héllo"), "(1 2)"),  # by the comparator
    ],
)
def test_threads_with_one_subject_are_merged(
    account: FakeAccount, subjects: Sequence[str], expected: str
) -> None:
    for minute, subject in enumerate(subjects):
        add(account, subject, minute)
    assert threads(account, "REFERENCES") == expected


def test_subjects_of_dummies(account: FakeAccount) -> None:
    """(5.C): a dummy takes in others with its subject, and other dummies' children."""
    add(account, "s", 1, "a", "m1")
    add(account, "t", 2, "b", "m1")
    add(account, "S", 3, "c", "m2")
    add(account, "u", 4, "d", "m2")
    add(account, "s", 0, "e")
    assert threads(account, "REFERENCES") == "((5)(1)(2)(3)(4))"


def test_loops_are_not_made(account: FakeAccount) -> None:
    add(account, "x", 1, "a", "b")
    add(account, "y", 2, "b", "a")
    add(account, "z", 3, "c", "c")
    add(account, "w", 4, "d", "a b a")
    assert threads(account, "REFERENCES") == "(2 1 4)(3)"


def test_of_two_with_one_id_the_first_has_it(account: FakeAccount) -> None:
    add(account, "x", 1, "a")
    add(account, "y", 2, "a")
    add(account, "z", 3, "", "a")
    assert threads(account, "REFERENCES") == "(1 3)(2)"


def test_threads_follow_the_mailbox(account: FakeAccount) -> None:
    add(account, "one", 1, "a")
    add(account, "Re: one", 2, "b", "a")
    client = SelectedClient(account)
    for _ in range(2):  # made, and as it was kept
        assert client.told("THREAD REFERENCES UTF-8 ALL")[0] == "* THREAD (1 2)"
        assert client.told("UID THREAD REFERENCES UTF-8 ALL")[0] == "* THREAD (1 2)"
        assert client.told("THREAD REFERENCES UTF-8 2")[0] == "* THREAD (2)"
    add(account, "Re: one", 3, "c", "b")
    client.told("NOOP")
    assert client.told("THREAD REFERENCES UTF-8 ALL")[0] == "* THREAD (1 2 3)"
    account.inbox.expunge_now(2)
    assert client.told("THREAD REFERENCES UTF-8 ALL")[0] == "* THREAD (1 3)"
    client.told("NOOP")
    for _ in range(2):
        assert client.told("UID THREAD REFERENCES UTF-8 ALL")[0] == "* THREAD (1 3)"
    assert client.told("THREAD REFERENCES UTF-8 ALL")[0] == "* THREAD (1 2)"


# --- against the letter ------------------------------------------------------------------------------


class Node:
    def __init__(self, row: int = -1) -> None:
        self.row = row
        self.parent: Node | None = None
        self.children: list[Node] = []

    def link(self, parent: Node | None) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
        self.parent = parent
        if parent is not None:
            parent.children.append(self)

    def above(self, other: Node) -> bool:
        """Is this node `other`, or an ancestor of it?"""
        found: Node | None = other
        while found is not None and found is not self:
            found = found.parent
        return found is self


def by_the_letter(messages: Messages) -> str:
    """The six steps, one after the other, without a thought for speed."""
    rank = {row: place for place, row in enumerate(messages.order)}
    nodes: dict[str, Node] = {}
    every: list[Node] = []
    split = [text.split("\n") for text in messages.ids]
    for row, names in enumerate(split):
        every.append(Node(row))
        if names[0] and names[0] not in nodes:
            nodes[names[0]] = every[-1]
    dummies: list[Node] = []
    for node, names in zip(list(every), split, strict=True):  # (1)
        last: Node | None = None
        for name in names[1:]:
            if name not in nodes:
                nodes[name] = Node()
                dummies.append(nodes[name])
            found = nodes[name]
            if last is not None and found.parent is None and not found.above(last):
                found.link(last)
            last = found
        node.link(None)
        if last is not None and not node.above(last):
            node.link(last)
    root = Node()
    for node in [*every, *dummies]:  # (2)
        if node.parent is None:
            node.link(root)
    _prune(root, True)  # (3)

    def age(node: Node) -> int:
        return rank[node.row] if node.row >= 0 else min(map(age, node.children))

    def first(node: Node) -> Node:
        return node if node.row >= 0 else min(node.children, key=age)

    def subject(node: Node) -> str:
        return messages.bases[first(node).row]

    def reply(node: Node) -> bool:
        return node.row >= 0 and bool(messages.replies[node.row])

    root.children.sort(key=age)  # (4)
    table: dict[str, Node] = {}
    for node in root.children:  # (5.B)
        if subject(node):
            other = table.setdefault(subject(node), node)
            if other.row >= 0 and (node.row < 0 or (reply(other) and not reply(node))):
                table[subject(node)] = node
    for node in list(root.children):  # (5.C)
        if node.parent is not root or not subject(node) or table[subject(node)] is node:
            continue
        name = subject(node)
        other = table[name]
        if other.row < 0 and node.row < 0:
            for child in list(node.children):
                child.link(other)
            node.link(None)
        elif other.row < 0 or (reply(node) and not reply(other)):
            node.link(other)
        else:
            dummy = table[name] = Node()
            dummy.link(root)
            node.link(dummy)
            other.link(dummy)

    def write(node: Node) -> str:
        node.children.sort(key=age)  # (6)
        own = [] if node.row < 0 else [str(node.row + 1)]
        if len(node.children) == 1:
            return " ".join([*own, write(node.children[0])])
        nested = "".join(f"({write(child)})" for child in node.children)
        return " ".join([*own, nested] if nested else own)

    root.children.sort(key=age)
    return "".join(f"({write(child)})" for child in root.children)


def _prune(parent: Node, is_root: bool) -> None:
    for node in list(parent.children):
        _prune(node, False)
        if node.row < 0 and (not is_root or len(node.children) < 2):
            for child in list(node.children):
                child.link(parent)
            node.link(None)


def finished(messages: Messages) -> Tree:
    work = references(messages)
    while True:
        try:
            next(work)
        except StopIteration as done:
            tree = done.value
            assert isinstance(tree, Tree)
            return tree


NAMES = st.sampled_from("abcdefg")


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.just(""), NAMES),
            st.lists(NAMES, max_size=4),
            st.sampled_from(["", "s", "t", "u", "v", "w"]),
            st.booleans(),
        ),
        max_size=9,
    ),
    st.randoms(use_true_random=False),
    st.sampled_from([1, thread.SLICE]),
)
def test_as_the_steps_say(rows: list[tuple[str, list[str], str, bool]], rng: object, piece: int) -> None:
    order = list(range(len(rows)))
    rng.shuffle(order)  # type: ignore[attr-defined]
    messages = Messages(
        [base for _, _, base, _ in rows],
        order,
        [reply for *_, reply in rows],
        ["\n".join([own, *refs]) for own, refs, _, _ in rows],
    )
    numbers = range(1, len(rows) + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread, "SLICE", piece)
        found = b"".join(response(finished(messages), numbers)).decode()
    assert found.removeprefix("* THREAD").strip() == by_the_letter(messages)


@pytest.mark.parametrize("kind", ["chain", "reversed chain", "one parent", "no parents", "one subject"])
def test_E10_large_and_deep_threads(kind: str) -> None:
    count = 20_000
    ids = {
        "chain": [f"{n}\n{n - 1}" for n in range(count)],
        "reversed chain": [f"{n}\n{n + 1}" for n in range(count)],
        "one parent": [f"{n}\nroot" for n in range(count)],
        "no parents": [f"{n}" for n in range(count)],
        "one subject": [f"{n}" for n in range(count)],
    }[kind]
    bases = ["s" if kind == "one subject" else str(n) for n in range(count)]
    with cheaper_than(2.0):
        tree = finished(Messages(bases, range(count), [False] * count, ids))
        text = b"".join(response(tree, range(1, count + 1)))
    assert sorted(int(n) for n in text.replace(b"(", b" ").replace(b")", b" ").split()[2:]) == list(
        range(1, count + 1)
    )


@pytest.mark.parametrize("kind", ["no parents", "one parent", "parents that are not there"])
def test_E10_other_clients_have_their_turn_while_large_threads_are_made(kind: str) -> None:
    """No step takes much of the time of all, whatever the order of the dates."""
    count = 60_000
    ids = {
        "no parents": [f"{n}" for n in range(count)],
        "one parent": [f"{n}\nroot" for n in range(count)],
        "parents that are not there": [f"{n}\nx{n}" for n in range(count)],
    }[kind]
    order = list(range(count))
    random.Random(1).shuffle(order)
    messages = Messages([str(n) for n in range(count)], order, [False] * count, ids)
    steps = [min(times) for times in zip(*[durations(references(messages)) for _ in range(4)], strict=True)]
    assert max(steps) < sum(steps) / 8


def durations(work: Work) -> list[float]:
    """CPU seconds of each step. The least of several runs is what it costs, whatever else is going on."""
    found: list[float] = []
    gc.disable()
    try:
        began = time.thread_time()
        for _ in work:
            now = time.thread_time()
            found.append(now - began)
            began = now
    finally:
        gc.enable()
    return found
