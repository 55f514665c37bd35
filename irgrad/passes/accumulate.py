"""Sums of a matrix product and what is there already, in one call of BLAS: a product is added to memory, or subtracted from it.

Where a product goes into a buffer that is added to, or replaces a value that it is added to (the cotangent of a loop's invariant), or is
added to another product that nobody else reads (`x @ w + h @ u`), the BLAS call does the addition (beta = 1) and a pass over memory is
saved. Sums that loops do on their way stay there. Runs behind legalization; integer products, and those of a few numbers, stay.
"""

from __future__ import annotations

from irgrad.ir.graph import Graph, Node, Operand
from irgrad.ir.plan import is_view
from irgrad.ir.primitive import REGISTRY, UPDATE
from irgrad.passes.forms import has_own_kernel, is_scalar_form
from irgrad.passes.result import PassResult, has_fuel

_DTYPES = frozenset({"float32", "float64", "complex64", "complex128"})
_PRODUCTS = ("dot", "dot_add")


def accumulate(graph: Graph) -> PassResult:
    """Let products add to memory."""
    result = PassResult(graph)
    if not any(node.op is not None and node.op.name == "dot" for node in graph.nodes()):
        return result
    position = {node.index: number for number, node in enumerate(graph.nodes())}
    updates = [node for node in graph.nodes() if node.op is not None and node.op.has(UPDATE)]
    for node in graph.nodes():
        assert node.op is not None
        found = _into_buffer(graph, node) if node.op.name == "slice_add" else _into_value(graph, node, position)
        if found is None:
            continue
        buffer, product, negative = found
        if _root(buffer) in map(_root, product.operands) or _is_changed(product, node, updates, position) or not has_fuel():
            continue
        made = graph.add_from(node, REGISTRY["dot_add"], (buffer, *product.operands), {"negative": negative})
        position[made.index] = position[node.index]
        graph.replace_uses(node, made)
        for left in (node, *_between(node, product), product):
            graph.remove(left)
        result.count("product")
    return result


def _into_buffer(graph: Graph, node: Node) -> tuple[Node, Node, bool] | None:
    """Buffer, product and its sign of an addition to a whole buffer."""
    buffer, value = node.operands
    params = node.params
    whole = params["count"] == node.aval.shape and set(params["step"]) <= {1} and not params["drop"]
    if not whole or not isinstance(buffer, Node):
        return None
    negative = isinstance(value, Node) and value.op is not None and value.op.name == "neg" and graph.num_users(value) == 1
    if negative:
        assert isinstance(value, Node)
        value = value.operands[0]
    product = _product(graph, value, node)
    return None if product is None else (buffer, product, negative)


def _into_value(graph: Graph, node: Node, position: dict[int, int]) -> tuple[Node, Node, bool] | None:
    """What is there already, a product and its sign, of a sum or difference that would be a pass over memory of its own.

    That is an earlier product, or an external value that the template replaces: the memory of the one before in a loop.
    """
    assert node.op is not None
    if node.op.name not in ("add", "sub"):
        return None
    negative = node.op.name == "sub"
    pairs = [node.operands] if negative else [node.operands, node.operands[::-1]]
    for there, value in pairs:
        product = _product(graph, value, node)
        if product is None or there is value or not isinstance(there, Node):
            continue
        earlier = _product(graph, there, node, _PRODUCTS)
        if (earlier is not None and position[earlier.index] < position[product.index]) or _is_replaced(graph, there, node):
            return there, product, negative
    return None


def _is_replaced(graph: Graph, value: Node, node: Node) -> bool:
    """Does a result that nothing in the template reads take the place of an external value of its own kind?"""
    alone = value.is_input and value.name.startswith("e") and graph.num_users(value) == 1 and not graph.is_output(value)
    alike = value.aval.shape == node.aval.shape and value.aval.dtype == node.aval.dtype
    return alone and alike and graph.is_output(node) and graph.num_users(node) == 0


def _product(graph: Graph, value: Operand, user: Node, names: tuple[str, ...] = ("dot",)) -> Node | None:
    """The operand as a product by BLAS of the shape of its one user."""
    if not isinstance(value, Node) or value.op is None or value.op.name not in names or graph.num_users(value) != 1:
        return None
    fits = value.aval.shape == user.aval.shape and value.aval.dtype == user.aval.dtype and value.aval.ndim > 0
    if not fits or value.aval.dtype.name not in _DTYPES or graph.is_output(value) or not all(isinstance(o, Node) for o in value.operands):
        return None
    return value if has_own_kernel(value) and not is_scalar_form(value) and not is_scalar_form(user) else None


def _between(node: Node, product: Node) -> list[Node]:
    """What stood between an addition and its product: a negation."""
    return [operand for operand in node.operands[1:] if isinstance(operand, Node) and operand.operands[:1] == (product,)]


def _is_changed(product: Node, node: Node, updates: list[Node], position: dict[int, int]) -> bool:
    """Is memory that the product reads changed in place between the product and the addition, which is where it is read then?"""
    roots = {id(_root(operand)) for operand in product.operands}
    first, last = position[product.index], position[node.index]
    return any(first < position[update.index] < last and id(_root(update.operands[0])) in roots for update in updates)


def _root(operand: Operand) -> Operand:
    while isinstance(operand, Node) and is_view(operand):
        operand = operand.operands[0]
    return operand
