"""Products of several matrices in the order that costs least, and factors that a product takes in.

``(A.T @ B) @ v`` becomes ``A.T @ (B @ v)``, also where several products share ``A.T @ B`` and none of them needs it; an outer product
counts as one of a column and a row. ``(c * A) @ B`` and ``c * (A @ B)`` are one call with a factor. The node `product` that stands for such
a chain knows the order as it was written, which its kernel falls back to where a result is not finite: see docs/semantics.md.

The order for a chain is the classical dynamic program over its extents; work is multiplications, and what has to be moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from irgrad.ir.graph import Graph, Literal, Node, Operand
from irgrad.ir.plan import is_view
from irgrad.ir.primitive import ELEMENTWISE, REDUCTION, REGISTRY, UPDATE
from irgrad.ops.products import Tree
from irgrad.passes.dce import dce
from irgrad.passes.forms import has_own_kernel, is_scalar_form
from irgrad.passes.result import PassResult, has_fuel

REAL = frozenset({"float32", "float64"})
DTYPES = REAL | {"complex64", "complex128"}
MOVED = 4  # what an element of an operand or a result costs, in multiplications of a large product
WORTH = 2000  # what another order has to save, and
SHARE = 0.7  # how much of the cost it may have at most
LARGE = 1 << 12  # elements from which a division is worth to be the product's
LONG = 8  # matrices of a chain


def products(graph: Graph) -> PassResult:
    """Reorder chains of products, and let products take in factors."""
    result = PassResult(graph)
    if any(node.op is not None and node.op.name == "dot" for node in graph.nodes()):
        _Products(graph, result).run()
    return result


def is_product(value: Operand) -> bool:
    """Is it a product of matrices, or of a matrix and a vector, that BLAS computes?"""
    if not isinstance(value, Node) or value.op is None or value.op.name != "dot" or not value.aval.size or not value.aval.shape:
        return False
    dtype = value.aval.dtype
    same = all(isinstance(o, Node) and o.aval.dtype == dtype and o.aval.size for o in value.operands)
    return same and dtype.name in DTYPES and has_own_kernel(value) and not is_scalar_form(value)


def factor_of(value: Operand) -> tuple[Node, Operand, str] | None:
    """What a node scales, the number, and how; for real numbers."""
    if not isinstance(value, Node) or value.op is None or value.op.name not in ("mul", "div") or value.aval.dtype.name not in REAL:
        return None
    x, y = value.operands
    pairs = [(x, y), (y, x)] if value.op.name == "mul" else [(x, y)]
    for scaled, number in pairs:
        known = number.aval.dtype == value.aval.dtype or (isinstance(number, Literal) and number.static)
        if isinstance(scaled, Node) and scaled.aval.same_array(value.aval) and not number.aval.shape and value.aval.shape and known:
            return scaled, number, value.op.name
    return None


def factors_of(value: Operand) -> tuple[Node, Node] | None:
    """The two factors of a matrix that is a product, or an outer product."""
    if not isinstance(value, Node) or value.op is None or value.aval.ndim != 2:
        return None
    x, y = value.operands[:2] if len(value.operands) == 2 else (None, None)
    if is_product(value):
        return (x, y) if x.aval.ndim == y.aval.ndim == 2 else None  # type: ignore[return-value, union-attr]
    if value.op.name != "mul" or value.aval.dtype.name not in DTYPES or is_scalar_form(value) or min(value.aval.shape) < 2:
        return None
    rows, columns = value.aval.shape
    for column, row in ((x, y), (y, x)):
        if not isinstance(column, Node) or not isinstance(row, Node) or {column.aval.dtype, row.aval.dtype} != {value.aval.dtype}:
            return None
        if column.aval.shape == (rows, 1) and row.aval.shape in ((columns,), (1, columns)):
            return column, row
    return None


def is_outer(value: Operand) -> bool:
    """Is it an outer product, or the transpose of one?"""
    while isinstance(value, Node) and is_turn(value):
        value = value.operands[0]
    return isinstance(value, Node) and value.op is not None and value.op.name == "mul" and factors_of(value) is not None


def lengths(value: Node) -> tuple[int, ...]:
    """The extents along a product of matrices, with those of outer products among them."""
    parts = factors_of(value)
    assert parts is not None
    found: tuple[int, ...] = (value.aval.shape[0],)
    for part in parts:
        found += (1, part.aval.shape[1]) if is_outer(part) else (part.aval.shape[-1] if part.aval.ndim == 2 or part is parts[1] else 1,)
    return found


def is_turn(node: Node) -> bool:
    """Is it the transpose of a matrix?"""
    return node.op is not None and node.op.name == "transpose" and node.params["axes"] == (1, 0)


def is_negative(node: Node) -> bool:
    """Does a node change the sign of real numbers, which are a value of the graph?"""
    return node.op is not None and node.op.name == "neg" and node.aval.dtype.name in REAL and isinstance(node.operands[0], Node)


def passed(node: Node) -> Node | None:
    """What a transpose, a factor or a sign is one of, that a chain goes through."""
    if is_turn(node) or is_negative(node):
        source = node.operands[0]
        return source if isinstance(source, Node) else None
    found = None if node.op is None or is_scalar_form(node) else factor_of(node)
    return None if found is None else found[0]


def is_moderate(factor: Operand) -> bool:
    """Is it a number that changes nothing about what is finite?"""
    return isinstance(factor, Literal) and 1e-6 < abs(float(factor.value)) < 1e6


def is_changed(operands: list[Node], first: float, last: float, updates: list[Node], position: dict[int, float]) -> bool:
    """Is memory of the operands changed in place between two places of the program?"""
    roots = {id(root(operand)) for operand in operands}
    return any(first < position[update.index] < last and id(root(update.operands[0])) in roots for update in updates)


def root(operand: Operand) -> Operand:
    """The value whose memory an operand is a view of."""
    while isinstance(operand, Node) and is_view(operand):
        operand = operand.operands[0]
    return operand


@lru_cache(maxsize=4096)
def best_order(extents: tuple[int, ...]) -> tuple[int, Tree]:
    """Cost and order of a chain of matrices of these extents."""
    count = len(extents) - 1
    if count == 1:
        return 0, 0
    found: tuple[int, Tree] | None = None
    for cut in range(1, count):
        left, first = best_order(extents[: cut + 1])
        right, second = best_order(extents[cut:])
        total = left + right + price(extents[0], extents[cut], extents[-1])
        if found is None or total < found[0]:
            found = total, (first, _shifted(second, cut))
    assert found is not None
    return found


def _shifted(tree: Tree, by: int) -> Tree:
    return tree + by if isinstance(tree, int) else (_shifted(tree[0], by), _shifted(tree[1], by))


def price(rows: int, inner: int, columns: int) -> int:
    """What one product costs."""
    return rows * inner * columns + MOVED * (rows * inner + inner * columns + rows * columns)


@dataclass(slots=True)
class _Use:
    """Who reads a matrix, as which operand, whether turned, and each value on the way with what reads it, but for transposes."""

    user: Node
    place: int
    turned: bool
    way: list[tuple[Node, Node]]


class _Chain:
    """The matrices of one product, the order they were written in, and a factor on the way."""

    def __init__(self) -> None:
        self.leaves: list[tuple[Node, bool, bool]] = []  # the matrix, whether it is turned, and whether it is a vector as a row
        self.factor: Operand | None = None
        self.how = ""
        self.negative = False
        self.cost = 0
        self.scaled: dict[int, tuple[Node, Operand]] = {}  # vectors that are scaled beforehand: by what, and the node that says how

    def add(self, node: Node, turned: bool, as_row: bool = False) -> Tree:
        self.leaves.append((node, turned, as_row))
        return len(self.leaves) - 1


class _Products:
    def __init__(self, graph: Graph, result: PassResult) -> None:
        self.graph, self.result = graph, result
        nodes = graph.nodes()
        self.position: dict[int, float] = {node.index: number for number, node in enumerate(nodes)}
        self.updates = [node for node in nodes if node.op is not None and node.op.has(UPDATE)]
        self.shared: set[tuple[int, int]] = set()  # (product, user): the user computes it in another order

    def run(self) -> None:
        for node in self.graph.nodes():
            self.turn(node)
        for node in self.graph.nodes():
            if factors_of(node) is not None:
                self.share(node, self.uses(node))
        for node in reversed(self.graph.nodes()):
            if node in self.graph and (self.graph.is_output(node) or self.graph.num_users(node)):
                self.rewrite(node)
        if self.result.changed:
            dce(self.graph)

    def turn(self, node: Node) -> None:
        """The transpose of a product that nobody else reads is the product of the transposes: memory by rows, without a copy."""
        if node.op is None or node.op.name != "transpose" or node.params["axes"] != (1, 0):
            return
        (dot,) = node.operands
        if not is_product(dot) or not isinstance(dot, Node) or self.graph.num_users(dot) > 1 or self.graph.is_output(dot):
            return
        x, y = dot.operands
        if x.aval.ndim == y.aval.ndim == 2 and has_fuel():
            made = self.graph.add_from(node, REGISTRY["dot"], (self.transposed(node, y), self.transposed(node, x)), {})
            self.position[made.index] = self.position[node.index]
            self.graph.replace_uses(node, made)
            self.graph.remove(node)
            self.graph.remove(dot)
            self.result.count("turn")

    def transposed(self, node: Node, x: Operand) -> Node:
        """The transpose of a matrix in front of `node`."""
        assert isinstance(x, Node)
        if x.op is not None and x.op.name == "transpose" and isinstance(x.operands[0], Node):
            return x.operands[0]
        return self.graph.add_from(node, REGISTRY["transpose"], (x,), {"axes": (1, 0)})

    # -- chains --

    def uses(self, node: Node, turned: bool = False) -> list[_Use]:
        """Who reads a matrix as it is or turned, with factors or signs on the way or without."""
        found: list[_Use] = []
        for user, place in self.graph.users(node):
            if self.graph.is_output(user) or passed(user) is not node:
                found.append(_Use(user, place, turned, [(node, user)]))
            elif is_turn(user):
                found += [_Use(u.user, u.place, u.turned, [(node, u.way[0][1]), *u.way[1:]]) for u in self.uses(user, not turned)]
            else:
                found += [_Use(u.user, u.place, u.turned, [(node, user), *u.way]) for u in self.uses(user, turned)]
        return found

    def share(self, node: Node, uses: list[_Use]) -> None:
        """Decide which users of a product that has several go without it."""
        if len(uses) < 2 and not self.graph.is_output(node):
            return
        along = lengths(node)
        found: list[tuple[_Use, int, int]] = []
        is_all = not self.graph.is_output(node)
        for use in uses:
            user, place = use.user, use.place
            if not is_product(user) or place > 1 or user.operands[0] is user.operands[1]:
                is_all = False
                continue
            left, right = (o.aval.shape for o in user.operands)
            ends = [left[0] if len(left) == 2 else 1, left[-1], right[1] if len(right) == 2 else 1]
            own = along[::-1] if use.turned else along
            extents = (*own[:-1], *ends[1:]) if place == 0 else (*ends[:2], *own[1:])
            found.append((use, price(ends[0], ends[1], ends[2]), best_order(extents)[0]))
        kept = best_order(along)[0] + sum(min(alone, cheap) for _, alone, cheap in found)
        gone = sum(cheap for _, _, cheap in found)
        for use, alone, cheap in found:
            if (is_all and gone < kept) or cheap < SHARE * alone:
                self.shared |= {(value.index, reader.index) for value, reader in use.way}

    def grow(self, chain: _Chain, value: Operand, user: Node, last: Node, turned: bool = False) -> Tree:
        """Add a factor of a product, for the node `last`, to a chain; its order as written."""
        assert isinstance(value, Node)
        node, views = value, []
        while is_turn(node):
            views.append(node)
            node, turned = node.operands[0], not turned  # type: ignore[assignment]
        alone = not any(self.graph.is_output(view) or self.graph.num_users(view) > 1 for view in views)
        free = self.is_shared(node, user) or (alone and self.graph.num_users(node) == 1 and not self.graph.is_output(node))
        if free and node.op is not None and node.aval.ndim == 2 and len(chain.leaves) < LONG and not self.updates_between(node, last):
            made = self.inner(chain, node, user, last, turned)
            if made is not None:
                return made
        return chain.add(node, turned)

    def is_shared(self, node: Node, user: Node) -> bool:
        return (node.index, user.index) in self.shared

    def updates_between(self, node: Node, user: Node) -> bool:
        operands = [o for o in node.operands if isinstance(o, Node)]
        return is_changed(operands, self.position[node.index], self.position[user.index], self.updates, self.position)

    def inner(self, chain: _Chain, node: Node, user: Node, last: Node, turned: bool) -> Tree | None:
        """The order as written of a value that the chain takes in; None for a leaf."""
        parts = factors_of(node)
        if parts is not None:
            chain.cost += price(node.aval.shape[0], parts[0].aval.shape[1], node.aval.shape[1])
            trees = [self.part(chain, part, node, user, last, turned) for part in (reversed(parts) if turned else parts)]
            return (trees[0], trees[1])
        if node.op is None or is_scalar_form(node):
            return None
        if node.op.name == "neg" and node.aval.dtype.name in REAL:
            chain.negative = not chain.negative
            chain.cost += MOVED * node.aval.size
            return self.grow(chain, node.operands[0], node, last, turned)
        found = factor_of(node)
        if found is None:
            return None
        scaled, factor, how = found
        if chain.how:
            return self.into_vector(chain, node, scaled, factor, last, turned) if is_moderate(factor) else None
        chain.factor, chain.how = factor, how
        chain.cost += MOVED * node.aval.size
        return ("scaled", self.grow(chain, scaled, node, last, turned))

    def into_vector(self, chain: _Chain, node: Node, scaled: Node, factor: Operand, last: Node, turned: bool) -> Tree | None:
        """Scale a vector of a product in place of all of it; None where it has none."""
        first, cost, negative = len(chain.leaves), chain.cost, chain.negative
        tree = self.grow(chain, scaled, node, last, turned)
        for place in range(first, len(chain.leaves)):
            if place not in chain.scaled and chain.leaves[place][0].aval.size == max(chain.leaves[place][0].aval.shape):
                chain.scaled[place] = (node, factor)
                chain.cost += MOVED * node.aval.size
                return tree
        del chain.leaves[first:]
        chain.cost, chain.negative = cost, negative
        chain.scaled = {place: how for place, how in chain.scaled.items() if place < first}
        return None

    def part(self, chain: _Chain, part: Node, node: Node, user: Node, last: Node, turned: bool) -> Tree:
        """A factor of a product within the chain. What several chains would compute again is none of theirs."""
        if part.aval.ndim == 1:
            return chain.add(part, turned, True)
        return chain.add(part, turned) if self.is_shared(node, user) and not is_outer(part) else self.grow(chain, part, node, last, turned)

    # -- rewriting --

    def rewrite(self, node: Node) -> None:
        """Make a product of a node, and of what it is made of."""
        outer = self.outer(node)
        if outer is None:
            return
        dot, how, factor, negative = outer
        chain, written = self.chain(dot, node, how, factor, negative)
        if how and self.is_better(self.chain(dot, dot, "", None, False)[0]) and not self.is_better(chain):
            return  # the product takes in a factor between its matrices instead, and only one
        if self.is_better(chain) and has_fuel():
            self.make(node, chain, best_order(self.extents(chain))[1], written)
            self.result.count("chain")
        elif (how or negative) and self.is_apart(node) and has_fuel():
            chain = _Chain()
            chain.leaves = [(o, False, False) for o in dot.operands if isinstance(o, Node)]
            chain.factor, chain.how, chain.negative = factor, how, negative
            self.make(node, chain, (0, 1), None)
            self.result.count("factor")

    def chain(self, dot: Node, node: Node, how: str, factor: Operand | None, negative: bool) -> tuple[_Chain, Tree]:
        """The matrices of a product, with factor and sign behind it, and its order as written."""
        chain = _Chain()
        chain.factor, chain.how, chain.negative = factor, how, negative
        trees = [self.grow(chain, operand, dot, node) for operand in dot.operands]
        chain.cost += price(*_extents(dot))
        written: Tree = (trees[0], trees[1])
        return chain, ("scaled", written) if how else written

    def is_better(self, chain: _Chain) -> bool:
        """Is there an order that costs clearly less than that as written?"""
        cost, _ = best_order(self.extents(chain))
        return chain.cost - cost > WORTH and cost < SHARE * chain.cost

    def outer(self, node: Node) -> tuple[Node, str, Operand | None, bool] | None:
        """The product at the end of a chain, with factor and sign behind it."""
        how, factor, negative = "", None, False
        at = node
        while not is_product(at):
            found = factor_of(at)
            if found is not None and not how:
                at, factor, how = found
            elif at.op is not None and at.op.name == "neg" and at.aval.dtype.name in REAL and isinstance(at.operands[0], Node):
                at, negative = at.operands[0], not negative
            else:
                return None
            if self.graph.num_users(at) != 1 or self.graph.is_output(at):
                return None
        dot = at
        if dot is not node and self.updates_between(dot, node):
            return None
        return dot, how, factor, negative

    def is_apart(self, node: Node) -> bool:
        """Is scaling a pass over memory of its own? Loops that read a product scale it on their way, by multiplication for nothing."""
        users = [user for user, _ in self.graph.users(node)]
        assert node.op is not None
        if node.op.name == "div" and node.aval.ndim == 2 and node.aval.size >= LARGE and min(node.aval.shape) > 1:
            return True
        traits = ELEMENTWISE | REDUCTION | UPDATE
        return not any(user.op is None or user.op.traits & traits or user.op.name == "reshape" for user in users)

    def extents(self, chain: _Chain) -> tuple[int, ...]:
        """The extents along a chain; a vector is a row at its beginning and a column at its end."""
        found: list[int] = []
        for place, (node, turned, as_row) in enumerate(chain.leaves):
            shape = node.aval.shape
            if len(shape) == 1:
                shape = (1, *shape) if as_row or place == 0 else (*shape, 1)
            shape = shape[::-1] if turned else shape
            found += shape if place == 0 else shape[1:]
        return tuple(found)

    def make(self, node: Node, chain: _Chain, order: Tree, written: Tree) -> None:
        """Put a `product` in the place of a node."""
        graph = self.graph
        operands: list[Operand] = []
        for place, leaf in enumerate(chain.leaves):
            made = self.leaf(node, *leaf)
            if place in chain.scaled:
                how, factor = chain.scaled[place]
                assert how.op is not None
                made = graph.add_from(node, how.op, (made, factor), {})
            operands.append(made)
        if chain.factor is not None:
            operands.append(chain.factor)
        params = {"order": order, "written": written, "factor": chain.how, "negative": chain.negative}
        made = graph.add_from(node, REGISTRY["product"], tuple(operands), params, node.aval)
        self.position[made.index] = self.position[node.index]
        graph.replace_uses(node, made)

    def leaf(self, node: Node, leaf: Node, turned: bool, as_row: bool) -> Node:
        """The matrix in front of `node`."""
        if as_row:
            size = leaf.aval.size
            return self.graph.add_from(node, REGISTRY["reshape"], (leaf,), {"shape": (size, 1) if turned else (1, size)})
        return self.transposed(node, leaf) if turned else leaf


def _extents(dot: Node) -> tuple[int, int, int]:
    left, right = (operand.aval.shape for operand in dot.operands)
    return (left[0] if len(left) == 2 else 1), left[-1], (right[1] if len(right) == 2 else 1)
