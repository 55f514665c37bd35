"""Sums over products of arrays that broadcast against each other, as matrix products: ``(x[:, :, None] * w[None]).sum(1)`` is ``x @ w``.

Every term is the same product of two numbers, added up by BLAS in place of a loop nest, which has no blocks for the caches. An axis of
the product is one of the stack (both operands have it, and the result), of the rows, of the columns, or summed (both have it). Where
one of rows and columns is missing, loops are as fast, but for a vector and a matrix that is a product itself: ``(u[:, None] * w *
v).sum(1)`` is ``outer(u, w) @ v``, which `passes/products.py` orders by cost, and the matrix is not needed. The sum of an outer product
along one axis is its product with ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from irgrad.ir.graph import Graph, Literal, Node
from irgrad.ir.primitive import REGISTRY
from irgrad.passes.products import DTYPES, SHARE, best_order, factors_of, is_product, is_turn, lengths, passed, price
from irgrad.passes.products import WORTH as SAVED
from irgrad.passes.result import PassResult, has_fuel

WORTH = 2048  # multiplications from which BLAS is worth its call
LEAST = 4  # rows, columns and terms, of which
DEEP = 8  # have to be in each product of a stack
WIDE = 1 << 14  # elements of an outer product from which its sum is not one of loops
TERMS = 1024  # of a sum along contiguous memory, which numpy adds up in pairs: beyond that many BLAS rounds more


def contractions(graph: Graph) -> PassResult:
    """Turn sums over broadcast products into products of matrices."""
    result = PassResult(graph)
    for node in graph.nodes():
        found = _axes(graph, node)
        if found is not None and has_fuel():
            _rewrite(graph, node, found)
            result.count("product")
        elif found is None and _is_outer_sum(graph, node) and has_fuel():
            _times_ones(graph, node)
            result.count("outer product")
        elif found is None and _is_saved(graph, node) and has_fuel():
            _times_vector(graph, node)
            result.count("matrix and vector")
    return result


@dataclass
class _Axes:
    """The axes of a product by what they are, without those of extent 1."""

    stack: list[int]
    rows: list[int]
    summed: list[int]
    columns: list[int]
    turned: bool  # rows are those of the second operand


def _axes(graph: Graph, node: Node) -> _Axes | None:
    """The axes of the matrix product that a sum is; None for other nodes."""
    if node.op is None or node.op.name != "reduce_sum" or node.aval.dtype.name not in DTYPES:
        return None
    terms = _terms(graph, node)
    if terms is None:
        return None
    space = terms.aval.shape
    left, right = ((1,) * (len(space) - o.aval.ndim) + o.aval.shape for o in terms.operands)
    found = _Axes([], [], [], [], False)
    for axis, extent in enumerate(space):
        if extent == 1:
            continue
        both, is_summed = left[axis] == right[axis], axis in node.params["axes"]
        if is_summed and not both:
            return None
        (found.summed if is_summed else found.stack if both else found.rows if left[axis] > 1 else found.columns).append(axis)
    m, k, n = (math.prod(space[axis] for axis in axes) for axes in (found.rows, found.summed, found.columns))
    in_pairs = space and len(space) - 1 in node.params["axes"]
    if min(m, n) < LEAST or k < (DEEP if found.stack else LEAST) or m * k * n < WORTH or (in_pairs and k > TERMS):
        return None
    if found.columns[0] < found.rows[0]:
        found.rows, found.columns, found.turned = found.columns, found.rows, True
    return found


def _terms(graph: Graph, node: Node) -> Node | None:
    """The product of two arrays of one dtype that a node sums, and nobody else reads."""
    (terms,) = node.operands
    if not isinstance(terms, Node) or terms.op is None or terms.op.name != "mul" or graph.num_users(terms) != 1 or graph.is_output(terms):
        return None
    same = all(isinstance(o, Node) and o.aval.dtype == terms.aval.dtype == node.aval.dtype for o in terms.operands)
    return terms if same else None


def _is_outer_sum(graph: Graph, node: Node) -> bool:
    """Is it the sum of the outer product of two vectors along one of its axes?"""
    if node.op is None or node.op.name != "reduce_sum" or node.aval.dtype.name not in DTYPES or node.params["axes"] not in ((0,), (1,)):
        return False
    terms = _terms(graph, node)
    if terms is None or terms.aval.ndim != 2 or min(terms.aval.shape) < LEAST or terms.aval.size < WIDE:
        return False
    rows, columns = terms.aval.shape
    shapes = {(1,) * (2 - operand.aval.ndim) + operand.aval.shape for operand in terms.operands}
    return shapes == {(rows, 1), (1, columns)}


def _matrix_and_vector(graph: Graph, node: Node) -> tuple[Node, Node] | None:
    """The matrix and the vector whose product the sum along one axis of their elementwise product is."""
    if node.op is None or node.op.name != "reduce_sum" or node.aval.dtype.name not in DTYPES or node.params["axes"] not in ((0,), (1,)):
        return None
    terms = _terms(graph, node)
    if terms is None or terms.aval.ndim != 2 or min(terms.aval.shape) < LEAST:
        return None
    rows, columns = terms.aval.shape
    wanted = ((columns,), (1, columns)) if node.params["axes"] == (1,) else ((rows, 1),)
    for matrix, vector in (terms.operands, terms.operands[::-1]):
        if isinstance(matrix, Node) and isinstance(vector, Node) and matrix.aval.shape == terms.aval.shape and vector.aval.shape in wanted:
            return matrix, vector
    return None


def _is_saved(graph: Graph, node: Node) -> bool:
    """Does nobody need the matrix, which is a product, when its sums with vectors are products in another order?"""
    found = _matrix_and_vector(graph, node)
    if found is None:
        return False
    matrix: Node | None = found[0]
    while matrix is not None and factors_of(matrix) is None:
        matrix = passed(matrix)
    if matrix is None or not _is_contracted(graph, matrix):
        return False
    along = lengths(matrix)
    alone = best_order(along)[0] + price(along[0], along[-1], 1)
    cost = max(best_order((*along, 1))[0], best_order((1, *along))[0])  # the vector may be on either side
    return cost < SHARE * alone and alone - cost > SAVED


def _is_contracted(graph: Graph, matrix: Node) -> bool:
    """Do only products, and sums that can be products, read a matrix, perhaps through transposes, factors and signs?"""
    if graph.is_output(matrix):
        return False
    for user, _ in graph.users(matrix):
        if is_product(user):
            continue
        if is_turn(user) or passed(user) is matrix:
            if not _is_contracted(graph, user):
                return False
            continue
        sums = [each for each, _ in graph.users(user)]
        if graph.is_output(user) or len(sums) != 1 or not any(o is matrix for o in _matrix_and_vector(graph, sums[0]) or ()):
            return False
    return True


def _times_vector(graph: Graph, node: Node) -> None:
    """The sum as a product."""
    found = _matrix_and_vector(graph, node)
    assert found is not None
    matrix, vector = found
    (terms,) = node.operands
    assert isinstance(terms, Node)
    axis = node.params["axes"][0]
    shape = (matrix.aval.shape[axis],)
    source = vector.operands[0] if vector.op is not None and vector.op.name == "reshape" else None
    flat = source if isinstance(source, Node) and source.aval.shape == shape else _shaped(graph, node, vector, shape)
    graph.replace_uses(node, graph.add_from(node, REGISTRY["dot"], (matrix, flat) if axis else (flat, matrix), {}))
    graph.remove(node)
    graph.remove(terms)


def _times_ones(graph: Graph, node: Node) -> None:
    (terms,) = node.operands
    (axis,) = node.params["axes"]
    one = Literal(1.0, static=True)
    shape = (terms.aval.shape[axis],)
    ones = graph.add_from(node, REGISTRY["full"], (one,), {"shape": shape, "dtype": node.aval.dtype.name})
    made = graph.add_from(node, REGISTRY["dot"], (ones, terms) if axis == 0 else (terms, ones), {})
    graph.replace_uses(node, made)
    graph.remove(node)


def _rewrite(graph: Graph, node: Node, axes: _Axes) -> None:
    (terms,) = node.operands
    assert isinstance(terms, Node)
    space = terms.aval.shape
    first, second = terms.operands[::-1] if axes.turned else terms.operands
    assert isinstance(first, Node)
    assert isinstance(second, Node)

    def extents(*groups: list[int]) -> tuple[int, ...]:
        return tuple(math.prod(space[axis] for axis in group) for group in groups)

    def matrix(x: Node, *groups: list[int]) -> Node:
        """An operand with its axes in groups."""
        if x.op is not None and x.op.name == "reshape" and isinstance(x.operands[0], Node):
            kept = tuple(n for n in x.aval.shape if n != 1)
            x = x.operands[0] if x.operands[0].aval.shape == kept else x
        order = [axis for group in groups for axis in group]
        x = _shaped(graph, node, x, tuple(space[axis] for axis in sorted(order)))
        ranks = tuple(sorted(order).index(axis) for axis in order)
        return _shaped(graph, node, _turned(graph, node, x, ranks), extents(*groups))

    stack = [axes.stack] if axes.stack else []
    x, y = matrix(first, *stack, axes.rows, axes.summed), matrix(second, *stack, axes.summed, axes.columns)
    made = graph.add_from(node, REGISTRY["batch_dot" if stack else "dot"], (x, y), {})
    order = [*axes.stack, *axes.rows, *axes.columns]
    made = _shaped(graph, node, made, tuple(space[axis] for axis in order))
    made = _turned(graph, node, made, tuple(order.index(axis) for axis in sorted(order)))
    graph.replace_uses(node, _shaped(graph, node, made, node.aval.shape))
    graph.remove(node)
    graph.remove(terms)


def _shaped(graph: Graph, node: Node, x: Node, shape: tuple[int, ...]) -> Node:
    return x if x.aval.shape == shape else graph.add_from(node, REGISTRY["reshape"], (x,), {"shape": shape})


def _turned(graph: Graph, node: Node, x: Node, axes: tuple[int, ...]) -> Node:
    return x if axes == tuple(range(len(axes))) else graph.add_from(node, REGISTRY["transpose"], (x,), {"axes": axes})
