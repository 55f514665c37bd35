"""Legalization: what has no kernel form becomes what has one. The last rewrite before clustering.

Operands of operations that are no elementwise loop get the dtype that the operation computes in, so that kernels convert in one
place; pads of more than a few elements become updates of one buffer; an update that reads the memory it
changes gets a copy of what it reads; systems get the LU factor that their kernels read; a Euclidean norm becomes sum and root; rows
that are gathered for a sum alone are added up as they are read.
"""

from __future__ import annotations

import math

import numpy as np

from irgrad.ir.aval import dtype_name
from irgrad.ir.graph import Graph, Literal, Node, Operand
from irgrad.ir.plan import is_view
from irgrad.ir.primitive import REGISTRY, UPDATE
from irgrad.ops.fft import complex_dtype, signal_dtype, transform
from irgrad.ops.fft_loops import widens
from irgrad.passes.forms import FACTORED, LOOPS, TRANSFORMS, has_kernel_dtypes, has_own_kernel, is_scalar_form
from irgrad.passes.result import PassResult

# operations whose operands (all, or the one at a position) have the dtype of the result
_SAME_DTYPE = frozenset({"reduce_sum", "reduce_prod", "cumsum", "cumprod", "dot", "batch_dot", "correlate", "concatenate", "full", "pad"})

ROW = 8  # elements of a row from which rows are added up as they are read, not gathered first


def legalize(graph: Graph) -> PassResult:
    """Rewrite every node that has no kernel form."""
    result = PassResult(graph)
    for node in graph.nodes():
        if node not in graph:
            continue
        op = node.op
        assert op is not None
        if op.name in _SAME_DTYPE:
            _convert(graph, node, range(len(node.operands)), result)
        elif op.has(UPDATE):
            _convert(graph, node, range(1, 2), result)
            _separate(graph, node, result)
        if FACTORED.get(op.name) == len(node.operands) and has_own_kernel(node):
            _factorise(graph, node)
            result.count("factorise")
        elif op.name == "concatenate" and not is_scalar_form(node) and not has_kernel_dtypes(node):
            _as_updates(graph, node)
            result.count("concatenate")
        elif op.name == "norm2" and has_kernel_dtypes(node):
            _as_root(graph, node)
            result.count("norm2")
        elif op.name == "pad" and not is_scalar_form(node):
            _pad_as_update(graph, node)
            result.count("pad")
        elif (
            op.name == "dot" and not node.aval.shape and node.aval.dtype.kind in "fc" and has_own_kernel(node) and not is_scalar_form(node)
        ):
            _as_sum(graph, node)
            result.count("dot")
        elif op.name == "batch_dot" and has_own_kernel(node) and _is_elementwise(node):
            _as_loops(graph, node)
            result.count("batch_dot")
        elif op.name == "pick" and node.aval.dtype == node.operands[0].aval.dtype:
            _as_slice(graph, node)
            result.count("pick")
        elif op.name == "reduce_sum" and _sums_rows(graph, node):
            _as_gather_sum(graph, node)
            result.count("gather sum")
        elif op.name in TRANSFORMS and has_own_kernel(node):
            _along_each_axis(graph, node)
            result.count("transform")
        elif op.name in LOOPS:
            _fill_operands(graph, node)
    return result


def _add(graph: Graph, node: Node, name: str, operands: tuple[Operand, ...], params: dict[str, object]) -> Node:
    """A node in front of `node`, with its provenance."""
    return graph.add_from(node, REGISTRY[name], operands, params)


def _convert(graph: Graph, node: Node, positions: range, result: PassResult) -> None:
    dtype = node.aval.dtype
    for position in positions:
        operand = node.operands[position]
        if isinstance(operand, Node) and operand.aval.dtype != dtype:
            graph.set_operand(node, position, _add(graph, node, "convert", (operand,), {"dtype": dtype_name(dtype)}))
            result.count("convert")


def _separate(graph: Graph, node: Node, result: PassResult) -> None:
    """Copy the operands that share the memory an update changes."""
    root = _root(node.operands[0])
    for position, operand in enumerate(node.operands):
        if position and isinstance(operand, Node) and _root(operand) is root:
            graph.set_operand(node, position, _add(graph, node, "identity", (operand,), {}))
            result.count("separate")


def _root(operand: Operand) -> Operand:
    while isinstance(operand, Node) and is_view(operand):
        operand = operand.operands[0]
    return operand


def _write(graph: Graph, node: Node, buffer: Node, part: Operand, start: list[int]) -> Node:
    return _add(
        graph,
        node,
        "slice_update",
        (buffer, part),
        {"start": tuple(start), "count": part.aval.shape, "step": (1,) * len(start), "drop": ()},
    )


def _factorise(graph: Graph, node: Node) -> None:
    factor = _add(graph, node, "lu", node.operands[:1], {})
    assert node.op is not None
    graph.replace_uses(node, _add(graph, node, node.op.name, (*node.operands, factor), node.params))
    graph.remove(node)


def _as_updates(graph: Graph, node: Node) -> None:
    axis = node.params["axis"]
    buffer = _add(graph, node, "empty", (), {"shape": node.aval.shape, "dtype": dtype_name(node.aval.dtype)})
    at = 0
    for part in node.operands:
        start = [0] * node.aval.ndim
        start[axis] = at
        if part.aval.size:
            buffer = _write(graph, node, buffer, part, start)
        at += part.aval.shape[axis]
    graph.replace_uses(node, buffer)
    graph.remove(node)


def _as_sum(graph: Graph, node: Node) -> None:
    """The product of two vectors joins the loops around it."""
    terms = _add(graph, node, "mul", node.operands, {})
    graph.replace_uses(node, _add(graph, node, "reduce_sum", (terms,), {"axes": (0,)}))
    graph.remove(node)


def _sums_rows(graph: Graph, node: Node) -> bool:
    """Does a sum read rows that are gathered for it alone, along the last axis of the index arrays?"""
    rows = node.operands[0]
    if not isinstance(rows, Node) or rows.op is None or rows.op.name != "gather" or rows.aval.dtype != node.aval.dtype:
        return False
    indexed = rows.aval.ndim - (rows.operands[0].aval.ndim - len(rows.operands) + 1)
    alone = graph.num_users(rows) == 1 and not graph.is_output(rows)
    wide = math.prod(rows.aval.shape[indexed:]) >= ROW and rows.aval.size
    return alone and bool(wide) and node.params["axes"] == (indexed - 1,) and has_own_kernel(rows) and not is_scalar_form(node)


def _as_gather_sum(graph: Graph, node: Node) -> None:
    (rows,) = node.operands
    assert isinstance(rows, Node)
    graph.replace_uses(node, _add(graph, node, "gather_sum", rows.operands, {}))
    graph.remove(node)
    graph.remove(rows)


def _is_elementwise(node: Node) -> bool:
    """Is each product of a stack one of numbers, or the sum of products of numbers?"""
    (rows, inner), columns = node.operands[0].aval.shape[-2:], node.aval.shape[-1]
    if any(isinstance(operand, Literal) for operand in node.operands):
        return False
    return node.aval.dtype.kind in "fc" and (inner == 1 or rows == columns == 1) and node.aval.size > 0


def _as_loops(graph: Graph, node: Node) -> None:
    """A stack of outer products, or of products of vectors, joins the loops around it. Axes of 1 are left out."""
    x, y = node.operands
    stack, (rows, inner), columns = x.aval.shape[:-2], x.aval.shape[-2:], y.aval.shape[-1]
    flat = (*stack, rows * columns) if inner == 1 else stack
    read_flat = any(user.op is not None and user.op.name == "reshape" and user.aval.shape == flat for user, _ in graph.users(node))
    if inner == 1 and (not read_flat or (rows > 1 and columns > 1)):
        value = _add(graph, node, "mul", (x, y), {})
    else:
        terms = [_reshaped(graph, node, operand, (*stack, operand.aval.shape[-1] * operand.aval.shape[-2])) for operand in (x, y)]
        value = _add(graph, node, "mul", tuple(terms), {})
        if inner != 1:  # none too
            value = _add(graph, node, "reduce_sum", (value,), {"axes": (len(stack),)})
    for user, _ in list(graph.users(node)):
        if user.op is not None and user.op.name == "reshape" and user.aval.shape == value.aval.shape:
            graph.replace_uses(user, value)
            graph.remove(user)
    if graph.users(node) or graph.is_output(node):
        graph.replace_uses(node, _reshaped(graph, node, value, node.aval.shape))
    graph.remove(node)


def _reshaped(graph: Graph, node: Node, value: Operand, shape: tuple[int, ...]) -> Operand:
    """The value in another shape, read through the reshape that made it what it is."""
    if isinstance(value, Node) and value.op is not None and value.op.name == "reshape" and value.operands[0].aval.shape == shape:
        return value.operands[0]
    return value if value.aval.shape == shape else _add(graph, node, "reshape", (value,), {"shape": shape})


def _as_slice(graph: Graph, node: Node) -> None:
    """A part of a packed result of its dtype is a view."""
    shape, size = node.aval.shape, node.aval.size
    start: dict[str, object] = {"start": (node.params["offset"],), "count": (size,), "step": (1,), "drop": () if shape else (0,)}
    part = _add(graph, node, "slice", node.operands, start)
    if shape and shape != (size,):
        part = _add(graph, node, "reshape", (part,), {"shape": shape})
    graph.replace_uses(node, part)
    graph.remove(node)


def _along_each_axis(graph: Graph, node: Node) -> None:
    """A transform along one axis after the other, the last first, of operands of the dtype that numpy computes in."""
    assert node.op is not None
    name, params, real = node.op.name, dict(node.params), signal_dtype(node.aval.dtype)
    x = node.operands[0]
    if isinstance(x, Literal):
        x = _add(graph, node, "full", (x,), {"shape": x.aval.shape, "dtype": dtype_name(x.aval.dtype)})
    axes = tuple(reversed(params.pop("axes", (params.get("axis"),))))
    for axis in axes:
        points = params["n"] if name == "irfft" else x.aval.shape[axis]
        loop, factor = transform(name, points, params)
        number = type(factor(real))
        wide = real.name == "float32" and widens(loop, x.aval.dtype, int if number is int else real)
        dtype = np.dtype(np.float64) if wide else real
        wanted = dtype if name == "rfft" else complex_dtype(dtype)
        if x.aval.dtype != wanted:
            x = _add(graph, node, "convert", (x,), {"dtype": wanted.name})
        x = _add(graph, node, name, (x,), params | ({"axes": (axis,)} if name == "fft" else {}))
        if wide:
            x = _add(graph, node, "convert", (x,), {"dtype": (real if name == "irfft" else complex_dtype(real)).name})
    graph.replace_uses(node, x)
    graph.remove(node)


def _fill_operands(graph: Graph, node: Node) -> None:
    """Numbers of derivative rules as memory: a runner reads its operands there."""
    for position, operand in enumerate(node.operands):
        if isinstance(operand, Literal):
            aval = operand.aval
            made = _add(graph, node, "full", (operand,), {"shape": aval.shape, "dtype": dtype_name(aval.dtype)})
            graph.set_operand(node, position, made)


def _as_root(graph: Graph, node: Node) -> None:
    """The root of a sum of squares, which joins the loops around it."""
    (x,) = node.operands
    if x.aval.dtype.kind == "c":
        parts = [_add(graph, node, name, (x,), {}) for name in ("real", "imag")]
        terms = _add(graph, node, "add", tuple(_add(graph, node, "mul", (part, part), {}) for part in parts), {})
    else:
        terms = _add(graph, node, "mul", (x, x), {})
    total = _add(graph, node, "reduce_sum", (terms,), {"axes": node.params["axes"]})
    graph.replace_uses(node, _add(graph, node, "sqrt", (total,), {}))
    graph.remove(node)


def _pad_as_update(graph: Graph, node: Node) -> None:
    x, value = node.operands
    buffer = _add(graph, node, "full", (value,), {"shape": node.aval.shape, "dtype": dtype_name(node.aval.dtype)})
    if x.aval.size:
        buffer = _write(graph, node, buffer, x, list(node.params["low"]))
    graph.replace_uses(node, buffer)
    graph.remove(node)
