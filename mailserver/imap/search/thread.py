"""THREAD: messages as trees of replies (RFC 5256, 3: THREAD; 4: THREAD response).

Messages are rows 0 … n-1 in the order of the mailbox. A thread is a row, or a dummy: a message that is not
among them, as a negative number; only the top of a thread can be a dummy, and it has at least two children.
The algorithms are generators that yield between slices of their work. All of it is linear but for sorting,
and a walk of at most `DEEP` steps where a link could make a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

from attrs import Factory, frozen

SLICE = 1024  # messages between two yields: about a ms
DEEP = 1000  # ancestors looked at before a link is given up as if it made a loop
PIECE = 512  # threads rendered in one go


@frozen
class Tree:
    """roots: the threads in order; children: in order, of rows and dummies that have any
    kept: what was rendered of the whole, by whether its numbers were UIDs (`rendered`)
    """

    roots: list[int]
    children: dict[int, list[int]]
    kept: dict[bool, list[bytes]] = Factory(dict)


@frozen
class Messages:
    """What threads are made of, parallel by row (`message.digest`). order: the rows by sent date."""

    bases: Sequence[str]
    order: Sequence[int]
    replies: Sequence[bool] = ()
    ids: Sequence[str] = ()


Work = Generator[None, None, Tree]


def ordered_subject(messages: Messages) -> Work:
    """RFC 5256, 3: ORDEREDSUBJECT. In the order of sent dates the first message of a subject is its root."""
    threads: dict[str, int] = {}
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    bases = messages.bases
    for count, row in enumerate(messages.order):
        root = threads.setdefault(bases[row], row)
        if root == row:
            roots.append(row)
        else:
            children.setdefault(root, []).append(row)
        if not count % SLICE:
            yield
    return Tree(roots, children)


def references(messages: Messages) -> Work:
    """RFC 5256, 3: REFERENCES, steps (1) to (6)."""
    count = len(messages.ids)
    parents = yield from _linked(messages.ids)
    ranks = [0] * count
    for rank, row in enumerate(messages.order):
        ranks[row] = rank
        if not rank % SLICE:
            yield
    roots, children = yield from _pruned(parents, count, ranks)
    gathering = _Gathering(messages, ranks, children)
    return (yield from gathering.run(roots))


# --- step (1): links -------------------------------------------------------------------------------


def _linked(ids: Sequence[str]) -> Generator[None, None, list[int]]:
    """Parents by node, -1 for none. Nodes beyond the rows are dummies, of Message IDs that no message has."""
    nodes: dict[str, int] = {}
    for row, text in enumerate(ids):
        own = text.partition("\n")[0]
        if own:
            nodes.setdefault(own, row)  # the first message of an ID has it
        if not row % SLICE:
            yield
    parents = [-1] * len(ids)
    has_child = bytearray(len(ids))
    for row, text in enumerate(ids):
        last = -1
        for name in text.split("\n")[1:]:
            node = nodes.get(name, -1)
            if node < 0:
                node = nodes[name] = len(parents)
                parents.append(-1)
                has_child.append(0)
            if last >= 0 and parents[node] < 0 and not _loops(parents, has_child, last, node):
                parents[node] = last
                has_child[last] = 1
            last = node
        parents[row] = -1
        if last >= 0 and not _loops(parents, has_child, last, row):
            parents[row] = last
            has_child[last] = 1
        if not row % SLICE:
            yield
    return parents


def _loops(parents: Sequence[int], has_child: bytearray, parent: int, child: int) -> bool:
    """Would the link make a loop? Only where the child is an ancestor of the parent."""
    if parent == child:
        return True
    if not has_child[child]:
        return False
    for _ in range(DEEP):
        parent = parents[parent]
        if parent < 0:
            return False
        if parent == child:
            return True
    return True


# --- orders ----------------------------------------------------------------------------------------


def _sort_all(families: Iterable[list[int]], ranks: Sequence[int]) -> Generator[None, None, None]:
    """Each by rank, in place."""
    for count, family in enumerate(families):
        if len(family) > SLICE:
            family[:] = yield from _by_rank(family, ranks.__getitem__, len(ranks))
        elif len(family) > 1:
            family.sort(key=ranks.__getitem__)
        if not count % SLICE:
            yield


def _by_rank(
    nodes: Sequence[int], rank_of: Callable[[int], int], ranks: int
) -> Generator[None, None, list[int]]:
    """Sorted by ranks, which are different and below `ranks`: each is put where it belongs, for `sort` could
    not be interrupted."""
    places: list[int | None] = [None] * ranks
    for count, node in enumerate(nodes):
        places[rank_of(node)] = node
        if not count % SLICE:
            yield
    found: list[int] = []
    for start in range(0, ranks, 4 * SLICE):
        found += [node for node in places[start : start + 4 * SLICE] if node is not None]
        yield
    return found


# --- steps (2), (3): dummies go --------------------------------------------------------------------


def _pruned(
    parents: list[int], count: int, ranks: Sequence[int]
) -> Generator[None, None, tuple[list[int], dict[int, list[int]]]]:
    """Roots, and children sorted by date (which step (6) asks for). A message's parent is the nearest message
    above it, or the dummy at the very top."""
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    for row in range(count):
        above = parents[row]
        if above >= count:
            above = _topmost(parents, count, above)
        if above < 0:
            roots.append(row)
        else:
            children.setdefault(above if above < count else ~above, []).append(row)
        if not row % SLICE:
            yield
    yield from _sort_all(list(children.values()), ranks)
    for count_dummies, dummy in enumerate([node for node in children if node < 0]):
        if len(children[dummy]) == 1:
            roots += children.pop(dummy)
        else:
            roots.append(dummy)
        if not count_dummies % SLICE:
            yield
    return roots, children


def _topmost(parents: list[int], count: int, node: int) -> int:
    """From a dummy upwards: the first message, or the last dummy. Paths are shortened on the way."""
    path: list[int] = []
    while node >= count and parents[node] >= 0:
        path.append(node)
        node = parents[node]
    for passed in path:
        parents[passed] = node
    return node


# --- steps (4) to (6): subjects --------------------------------------------------------------------


class _Gathering:
    """Threads with the same base subject become one. `children` is changed in place."""

    def __init__(self, messages: Messages, ranks: Sequence[int], children: dict[int, list[int]]) -> None:
        self._bases = messages.bases
        self._replies = messages.replies
        self._ranks = ranks
        self._children = children
        self._lowest = min(min(children, default=0), 0)  # the last dummy
        self._within: set[int] = set()  # threads that were made part of another
        self._grown: set[int] = set()

    def _first(self, root: int) -> int:
        """The message that stands for a thread: itself, or a dummy's first child."""
        return root if root >= 0 else self._children[root][0]

    def _rank(self, root: int) -> int:
        return self._ranks[self._first(root)]

    def run(self, roots: list[int]) -> Work:
        roots = yield from _by_rank(roots, self._rank, len(self._ranks))  # (4)
        table = yield from self._table(roots)
        made: list[int] = []
        for count, root in enumerate(roots):
            subject = self._bases[self._first(root)]
            if subject and table[subject] != root and root not in self._within:
                dummy = self._merge(root, table[subject])
                if dummy:
                    table[subject] = dummy
                    made.append(dummy)
            if not count % SLICE:
                yield
        yield from _sort_all([self._children[parent] for parent in self._grown], self._ranks)
        standing = [root for root in roots if root not in self._within]
        yield
        standing += [root for root in made if root not in self._within]
        standing = yield from _by_rank(standing, self._rank, len(self._ranks))  # (6)
        return Tree(standing, self._children)

    def _table(self, roots: Sequence[int]) -> Generator[None, None, dict[str, int]]:
        """(5.B)"""
        table: dict[str, int] = {}
        for count, root in enumerate(roots):
            if not count % SLICE:
                yield
            subject = self._bases[self._first(root)]
            if not subject:
                continue
            other = table.setdefault(subject, root)
            if other >= 0 and (root < 0 or (self._replies[other] and not self._replies[root])):
                table[subject] = root
        return table

    def _merge(self, root: int, other: int) -> int:
        """(5.C): `other` is the thread in the table; the new dummy that takes its place there, or 0."""
        children = self._children
        self._within.add(root)
        if other < 0 and root < 0:
            children[other] += children.pop(root)
        elif other < 0 or (self._replies[root] and not self._replies[other]):
            children.setdefault(other, []).append(root)
        else:
            self._lowest -= 1
            children[self._lowest] = [other, root]
            self._within.add(other)
            self._grown.add(self._lowest)
            return self._lowest
        self._grown.add(other)
        return 0


# --- the response ----------------------------------------------------------------------------------

_END = None


def response(tree: Tree, numbers: Sequence[int]) -> Iterator[bytes]:
    """`* THREAD …` in pieces; `numbers` by row. However deep threads are, nothing recurses."""
    yield b"* THREAD"
    roots, children = tree.roots, tree.children
    for start in range(0, len(roots), PIECE):
        out: list[str] = [] if start else [" "]
        for root in roots[start : start + PIECE]:
            if root in children:
                _render(root, children, numbers, out)
            else:
                out.append(f"({numbers[root]})")
        yield "".join(out).encode("ascii")
    yield b"\r\n"


def rendered(tree: Tree, numbers: Callable[[], Sequence[int]], uid: bool) -> Iterator[bytes]:
    """The response, made once for a tree: the messages that it is of keep their numbers while it is kept."""
    kept = tree.kept.get(uid)
    if kept is not None:
        yield from kept
        return
    made: list[bytes] = []
    for piece in response(tree, numbers()):
        made.append(piece)
        yield piece
    tree.kept[uid] = made


def _render(root: int, children: dict[int, list[int]], numbers: Sequence[int], out: list[str]) -> None:
    """One thread-list: a chain of single children, then lists of siblings."""
    waiting: list[int | None] = [root]
    while waiting:
        node = waiting.pop()
        if node is _END:
            out.append(")")
            continue
        chain: list[str] = []
        kids: list[int] = [node]
        while len(kids) == 1:
            node = kids[0]
            if node >= 0:
                chain.append(str(numbers[node]))
            kids = children.get(node, [])
        out.append("(" + " ".join(chain))
        if kids:
            out.append(" " if chain else "")
            waiting.append(_END)
            waiting += reversed(kids)
        else:
            out.append(")")
