"""The graph: one recorded path as nodes in program order.

The ordered operand tuples are the truth. A table of uses is kept in step by the mutators, which are the only way to
change a graph; the networkx form (`Graph.nx`) is derived from it on request and cached until the next change. Program
order is a linked list, so that a pass may insert before any node at constant cost.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from irgrad.ir.aval import Aval, aval_of
from irgrad.ir.primitive import GUARD, Primitive
from irgrad.ir.value import Value

if TYPE_CHECKING:
    from irgrad.ir.source import Source

PRIMAL = "primal"
_REFERENCE = re.compile(r"%(\d+)")


class Literal:
    """A constant operand. A static one comes from a rule and is folded by value; any other is data to a kernel."""

    __slots__ = ("aval", "static", "value")

    def __init__(self, value: Any, aval: Aval | None = None, static: bool = False) -> None:
        self.value = value
        self.aval = aval_of(value) if aval is None else aval
        self.static = static

    def __eq__(self, other: object) -> bool:
        """Equal bits and type; the aval of a static number follows from the operands beside it and does not count."""
        if not isinstance(other, Literal) or self.static is not other.static:
            return False
        return same_param(self.value, other.value) and (self.static or self.aval == other.aval)

    def __hash__(self) -> int:
        value = self.value
        kind: type[Any] = value.__class__
        return hash((self.static, kind, (value.shape, value.dtype) if issubclass(kind, np.ndarray) else repr(value)))

    def __repr__(self) -> str:
        return f"Literal({self.value!r}, {self.aval}{', static' if self.static else ''})"


class Node(Value):
    """One value of a graph: `op` applied to `operands`; an input of the graph has no op.

    `index` is its identity inside the graph and its copies. `primal` is the index of the value whose derivative rule
    made it; `cotangent` is the index of the value whose complete cotangent it is. `previous` and `next` are its neighbours
    in program order. Change nodes through their graph only.
    """

    __slots__ = ("aval", "cotangent", "index", "name", "next", "op", "operands", "params", "previous", "primal", "section", "source")

    index: int
    op: Primitive | None
    operands: tuple[Operand, ...]
    params: dict[str, Any]
    aval: Aval
    source: Source | None
    primal: int | None
    cotangent: int | None
    name: str
    section: str

    def __init__(
        self,
        index: int,
        op: Primitive | None,
        operands: tuple[Operand, ...],
        params: dict[str, Any],
        aval: Aval,
        source: Source | None = None,
        primal: int | None = None,
        section: str = PRIMAL,
        name: str = "",
    ) -> None:
        self.index = index
        self.op = op
        self.operands = operands
        self.params = params
        self.aval = aval
        self.source = source
        self.primal = primal
        self.cotangent = None
        self.section = section
        self.name = name
        self.previous: Node | None = None
        self.next: Node | None = None

    @property
    def is_input(self) -> bool:
        return self.op is None

    @property
    def is_guard(self) -> bool:
        return self.op is not None and self.op.has(GUARD)

    def __repr__(self) -> str:
        what = self.name if self.op is None else self.op.name
        return f"<node %{self.index} {what}: {self.aval}>"


Operand: TypeAlias = Node | Literal


class Graph:
    """Inputs, nodes in program order and outputs.

    `section` is what nodes are added to unless told otherwise; `made_by` names the pass that made the graph.
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.inputs: list[Node] = []
        self.outputs: list[Operand] = []
        self.section = PRIMAL
        self.made_by = ""
        self._values: dict[int, Node] = {}
        self._users: dict[int, dict[tuple[Node, int], None]] = {}
        self._first: Node | None = None
        self._last: Node | None = None
        self._next_index = 0
        self._nx: Any = None

    # Reading

    def nodes(self) -> list[Node]:
        """The nodes in program order, without the inputs: a snapshot, safe to change the graph over."""
        found: list[Node] = []
        node = self._first
        while node is not None:
            found.append(node)
            node = node.next
        return found

    def users(self, node: Node) -> list[tuple[Node, int]]:
        """Each use of `node` as (user, operand position); outputs are no users."""
        return list(self._users[node.index])

    def num_users(self, node: Node) -> int:
        return len(self._users[node.index])

    def is_output(self, node: Node) -> bool:
        return any(output is node for output in self.outputs)

    def get(self, index: int) -> Node | None:
        """The input or node with this index, None if it is not (or no longer) here."""
        return self._values.get(index)

    def __getitem__(self, index: int) -> Node:
        return self._values[index]

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Node) and self._values.get(node.index) is node

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes())

    def __len__(self) -> int:
        """The number of nodes without the inputs."""
        return len(self._values) - len(self.inputs)

    @property
    def nx(self) -> Any:
        """This graph as a frozen `networkx.DiGraph`, inputs included.

        Nodes are keyed by index with attributes "node", "op" (name, None for inputs) and "aval"; each edge has
        "positions", the operand positions of the use (two of them in ``x * x``).
        """
        if self._nx is None:
            self._nx = self._to_networkx()
        return self._nx

    def _to_networkx(self) -> Any:
        networkx: Any = importlib.import_module("networkx")  # costs 0.1 s: only for those who ask
        digraph = networkx.DiGraph(name=self.name)
        digraph.add_nodes_from(
            (node.index, {"node": node, "op": None if node.op is None else node.op.name, "aval": node.aval})
            for node in (*self.inputs, *self.nodes())
        )
        edges: dict[tuple[int, int], tuple[int, ...]] = {}
        for user in self.nodes():
            for position, operand in enumerate(user.operands):
                if isinstance(operand, Node):
                    edge = operand.index, user.index
                    edges[edge] = (*edges.get(edge, ()), position)
        digraph.add_edges_from((start, end, {"positions": positions}) for (start, end), positions in edges.items())
        return networkx.freeze(digraph)

    # Building and changing

    def add_input(self, name: str, aval: Aval, source: Source | None = None) -> Node:
        node = Node(self._next_index, None, (), {}, aval, source, name=name)
        self._enter(node)
        self.inputs.append(node)
        return node

    def add(
        self,
        op: Primitive,
        operands: Iterable[Operand],
        params: dict[str, Any] | None = None,
        aval: Aval | None = None,
        source: Source | None = None,
        primal: int | None = None,
        section: str | None = None,
        before: Node | None = None,
    ) -> Node:
        """Append a node, or insert it in front of `before`. The aval is computed where none is given."""
        operands = tuple(operands)
        params = {} if params is None else params
        if aval is None:
            aval = op.aval(*[operand.aval for operand in operands], **params)
        index = self._next_index
        node = Node(index, op, operands, params, aval, source, primal, self.section if section is None else section)
        self._enter(node)
        users = self._users
        for position, operand in enumerate(operands):
            if isinstance(operand, Node):
                users[operand.index][node, position] = None
        self._link(node, before)
        return node

    def add_from(
        self,
        origin: Node,
        op: Primitive,
        operands: Iterable[Operand],
        params: dict[str, Any],
        aval: Aval | None = None,
        before: Node | None = None,
    ) -> Node:
        """Insert a node that comes from where `origin` comes from, in front of it or of `before`."""
        return self.add(op, operands, params, aval, origin.source, origin.primal, origin.section, before or origin)

    def set_outputs(self, outputs: Iterable[Operand]) -> None:
        self.outputs = list(outputs)

    def set_operand(self, node: Node, position: int, new: Operand, params: dict[str, Any] | None = None) -> None:
        """Make `new` the operand of `node` at `position`, with other params where they are given; its aval has to stay."""
        old = node.operands[position]
        if isinstance(old, Node):
            del self._users[old.index][node, position]
        if isinstance(new, Node):
            self._users[new.index][node, position] = None
        node.operands = (*node.operands[:position], new, *node.operands[position + 1 :])
        if params is not None:
            node.params = params
        self._nx = None

    def replace_uses(self, old: Node, new: Operand) -> None:
        """Let every user of `old` and every output use `new`; a use by `new` itself stays."""
        table = self._users[old.index]
        for user, position in list(table):
            if user is not new:
                self.set_operand(user, position, new)
        self.outputs = [new if output is old else output for output in self.outputs]

    def remove(self, node: Node) -> None:
        """Take out a node that has no users and is no output.

        Raises ValueError if it is still used.
        """
        if self._users[node.index] or self.is_output(node):
            raise ValueError(f"cannot remove {node!r} from graph {self.name}: it is still used")
        for position, operand in enumerate(node.operands):
            if isinstance(operand, Node):
                del self._users[operand.index][node, position]
        del self._values[node.index], self._users[node.index]
        self._nx = None
        if node.op is None:
            self.inputs.remove(node)
        else:
            self._unlink(node)

    def move(self, node: Node, before: Node | None) -> None:
        """Give `node` another place in program order: in front of `before`, or at the end."""
        if node is not before:
            self._unlink(node)
            self._link(node, before)

    def copy(self) -> Graph:
        """A graph of its own with the same indices; params and literals are shared."""
        made = Graph(self.name)
        made.section, made.made_by = self.section, self.made_by
        values = made._values

        def translated(operand: Operand) -> Operand:
            return values[operand.index] if isinstance(operand, Node) else operand

        for node in self.inputs:
            made._next_index = node.index
            made.add_input(node.name, node.aval, node.source)
        for node in self.nodes():
            made._next_index = node.index
            operands = [translated(operand) for operand in node.operands]
            assert node.op is not None
            new = made.add(node.op, operands, node.params, node.aval, node.source, node.primal, node.section)
            new.cotangent, new.name = node.cotangent, node.name
        made._next_index = self._next_index
        made.outputs = [translated(output) for output in self.outputs]
        return made

    def _enter(self, node: Node) -> None:
        self._values[node.index] = node
        self._users[node.index] = {}
        self._next_index = node.index + 1
        self._nx = None

    def _link(self, node: Node, before: Node | None) -> None:
        previous = self._last if before is None else before.previous
        node.previous, node.next = previous, before
        if previous is None:
            self._first = node
        else:
            previous.next = node
        if before is None:
            self._last = node
        else:
            before.previous = node

    def _unlink(self, node: Node) -> None:
        previous, following = node.previous, node.next
        if previous is None:
            self._first = following
        else:
            previous.next = following
        if following is None:
            self._last = previous
        else:
            following.previous = previous

    # Comparing and showing

    def equal(self, other: Graph) -> bool:
        """Equality up to names, indices and sources."""
        return self.first_difference(other) is None

    def first_difference(self, other: Graph) -> str | None:
        """What first makes the graphs unequal, None if they are equal."""
        mine, theirs = [*self.inputs, *self.nodes()], [*other.inputs, *other.nodes()]
        places = {node.index: place for place, node in enumerate(mine)}
        other_places = {node.index: place for place, node in enumerate(theirs)}
        if [node.aval for node in self.inputs] != [node.aval for node in other.inputs]:
            return "inputs differ"
        for a, b in zip(mine, theirs, strict=False):
            field = _differing_field(a, b, places, other_places)
            if field is not None:
                return f"{a!r} and {b!r} differ in {field}"
        if len(mine) != len(theirs):
            return f"{len(self)} and {len(other)} nodes"
        if not _same_operands(self.outputs, other.outputs, places, other_places):
            return "outputs differ"
        return None

    def to_dot(self) -> str:
        """This graph in the DOT language."""
        from irgrad.ir.draw import to_dot

        return to_dot(self)

    def __str__(self) -> str:
        from irgrad.ir.printer import print_graph

        return print_graph(self, elide=True)

    def __repr__(self) -> str:
        return f"<graph {self.name}: {len(self.inputs)} inputs, {len(self)} nodes, {len(self.outputs)} outputs>"


def same_param(a: Any, b: Any) -> bool:
    """Equality that tells 1 from True and 1.0, and 0.0 from -0.0; nan equals itself."""
    if a is b:
        return True
    kind: type[Any] = a.__class__
    if kind is not type(b):
        return False
    if issubclass(kind, (float, complex, np.generic, np.ndarray)):
        x, y = np.asarray(a), np.asarray(b)
        return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
    if issubclass(kind, tuple):
        return len(a) == len(b) and all(map(same_param, a, b))
    if kind is slice:
        return same_param((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    return a.equal(b) if kind is Graph else bool(a == b)


def renumbered(text: str, numbers: dict[int, Any]) -> str:
    """A section's text with each ``%index`` replaced by what `numbers` has for it."""
    return _REFERENCE.sub(lambda match: f"%{numbers.get(int(match[1]), 'removed')}", text) if "%" in text else text


def _differing_field(a: Node, b: Node, places: dict[int, int], other_places: dict[int, int]) -> str | None:
    if a.op is not b.op:
        return "op"
    if a.params.keys() != b.params.keys() or not all(same_param(value, b.params[key]) for key, value in a.params.items()):
        return "params"
    if not _same_operands(a.operands, b.operands, places, other_places):
        return "operands"
    if a.aval != b.aval and not a.is_guard:
        return "aval"
    for name in ("primal", "cotangent"):
        if _place(getattr(a, name), places) != _place(getattr(b, name), other_places):
            return name
    if a.op is not None and renumbered(a.section, places) != renumbered(b.section, other_places):
        return "section"
    return None


def _place(index: int | None, places: dict[int, int]) -> int | None:
    return None if index is None else places.get(index)


def _same_operands(a: Iterable[Operand], b: Iterable[Operand], places: dict[int, int], other_places: dict[int, int]) -> bool:
    mine, theirs = list(a), list(b)
    if len(mine) != len(theirs):
        return False
    for x, y in zip(mine, theirs, strict=True):
        if isinstance(x, Node) and isinstance(y, Node):
            if places.get(x.index, -1) != other_places.get(y.index, -2):
                return False
        elif isinstance(x, Node) or isinstance(y, Node) or x != y:
            return False
    return True


def static_literal(value: Any, beside: Iterable[Any]) -> Literal:
    """A static number with the dtype that numpy would give it beside these operands."""
    if not _is_number(value):
        return Literal(value, static=True)
    dtypes = [operand.aval.dtype if isinstance(operand, (Node, Literal)) else operand.dtype for operand in beside]
    dtype = np.result_type(*dtypes, value) if dtypes else aval_of(value).dtype
    return Literal(value, Aval((), dtype, "python"), static=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic)
