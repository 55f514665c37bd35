"""Sums of a matrix product and what is there already, in one call of BLAS: a product is added to memory, or subtracted from it.

Where a product goes into a buffer that is added to, or replaces a value that it is added to (the cotangent of a loop's invariant), or is
added to another product that nobody else reads (`x @ w + h @ u`), the BLAS call does the addition (beta = 1) and a pass over memory is
saved, also of a product times a number. Sums that loops do on their way stay there. Runs behind legalization; integer products, and
those of a few numbers, stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from irgrad.ir.graph import Graph, Node, Operand
from irgrad.ir.plan import is_view
from irgrad.ir.primitive import REGISTRY, UPDATE
from irgrad.passes.forms import has_own_kernel, is_scalar_form
from irgrad.passes.products import factor_of, is_changed, root
from irgrad.passes.result import PassResult, has_fuel

_DTYPES = frozenset({"float32", "float64", "complex64", "complex128"})
_PRODUCTS = ("dot", "dot_add", "product_add")


def accumulate(graph: Graph) -> PassResult:
    """Let products add to memory."""
    result = PassResult(graph)
    if not any(node.op is not None and node.op.name == "dot" for node in graph.nodes()):
        return result
    position: dict[int, float] = {node.index: number for number, node in enumerate(graph.nodes())}
    updates = [node for node in graph.nodes() if node.op is not None and node.op.has(UPDATE)]
    for node in graph.nodes():
        assert node.op is not None
        found = _into_buffer(graph, node) if node.op.name == "slice_add" else _into_value(graph, node, position)
        if found is None:
            continue
        buffer, term = found
        read = [operand for operand in (*term.product.operands, term.factor) if isinstance(operand, Node)]
        late = is_changed(read, position[term.product.index], position[node.index], updates, position)
        if root(buffer) in map(root, read) or late or not has_fuel():
            continue
        params: dict[str, object] = {"negative": term.negative}
        operands: tuple[Operand, ...] = (buffer, *term.product.operands)
        if term.factor is not None:
            operands, params["factor"] = (*operands, term.factor), term.how
        made = graph.add_from(node, REGISTRY["dot_add" if term.factor is None else "product_add"], operands, params)
        position[made.index] = position[node.index]
        graph.replace_uses(node, made)
        for left in (node, *term.between, term.product):
            graph.remove(left)
        result.count("product" if term.factor is None else "scaled product")
    return result


@dataclass
class _Term:
    """A product that is to be added, and what stands between it and the sum: a sign and a factor."""

    product: Node
    between: list[Node]
    negative: bool = False
    factor: Operand | None = None
    how: str = ""


def _into_buffer(graph: Graph, node: Node) -> tuple[Node, _Term] | None:
    """Buffer and product of an addition to a whole buffer."""
    buffer, value = node.operands
    params = node.params
    whole = params["count"] == node.aval.shape and set(params["step"]) <= {1} and not params["drop"]
    if not whole or not isinstance(buffer, Node):
        return None
    term = _term(graph, value, node)
    return None if term is None else (buffer, term)


def _into_value(graph: Graph, node: Node, position: dict[int, float]) -> tuple[Node, _Term] | None:
    """What is there already and the product of a sum or difference that would be a pass over memory of its own.

    That is an earlier product, or an external value that the template replaces: the memory of the one before in a loop.
    """
    assert node.op is not None
    if node.op.name not in ("add", "sub"):
        return None
    pairs = [node.operands] if node.op.name == "sub" else [node.operands, node.operands[::-1]]
    for there, value in pairs:
        term = _term(graph, value, node)
        if term is None or there is value or not isinstance(there, Node):
            continue
        term.negative = term.negative != (node.op.name == "sub")
        earlier = _product(graph, there, node, _PRODUCTS)
        if (earlier is not None and position[earlier.index] < position[term.product.index]) or _is_replaced(graph, there, node, position):
            return there, term
    return None


def _is_replaced(graph: Graph, value: Node, node: Node, position: dict[int, float]) -> bool:
    """Does a result that nothing in the template reads take the place of an external value of its own kind, which is read before?"""
    alone = value.is_input and value.name.startswith("e") and not graph.is_output(value) and _is_read_before(graph, value, node, position)
    alike = value.aval.shape == node.aval.shape and value.aval.dtype == node.aval.dtype
    return alone and alike and graph.is_output(node) and graph.num_users(node) == 0


def _is_read_before(graph: Graph, value: Node, node: Node, position: dict[int, float]) -> bool:
    """Does everything else that reads a value, also through views, stand in front of a node?"""
    others = [user for user, _ in graph.users(value) if user is not node]
    if any(position.get(user.index, math.inf) > position[node.index] or (is_view(user) and graph.is_output(user)) for user in others):
        return False
    return all(_is_read_before(graph, user, node, position) for user in others if is_view(user))


def _term(graph: Graph, value: Operand, user: Node) -> _Term | None:
    """The operand as a product, with a sign and a factor."""
    term = _Term(user, [])
    reader = user
    while isinstance(value, Node) and value.op is not None and graph.num_users(value) == 1 and not graph.is_output(value):
        found = factor_of(value)
        if value.op.name == "neg":
            term.negative = not term.negative
            inner = value.operands[0]
        elif found is not None and term.factor is None and not is_scalar_form(value):
            inner, term.factor, term.how = found
        else:
            break
        term.between.append(value)
        reader, value = value, inner
    product = _product(graph, value, reader)
    if product is None or product.aval.shape != user.aval.shape or product.aval.dtype != user.aval.dtype:
        return None
    term.product = product
    return term


def _product(graph: Graph, value: Operand, user: Node, names: tuple[str, ...] = ("dot",)) -> Node | None:
    """The operand as a product by BLAS of the shape of its one user."""
    if not isinstance(value, Node) or value.op is None or value.op.name not in names or graph.num_users(value) != 1:
        return None
    fits = value.aval.shape == user.aval.shape and value.aval.dtype == user.aval.dtype and value.aval.ndim > 0
    if not fits or value.aval.dtype.name not in _DTYPES or graph.is_output(value) or not all(isinstance(o, Node) for o in value.operands):
        return None
    return value if has_own_kernel(value) and not is_scalar_form(value) and not is_scalar_form(user) else None
