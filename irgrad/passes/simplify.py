"""Algebraic simplification and folding of the numbers that derivative rules write down.

Only rewrites that keep every bit (up to the sign of a zero and nan payloads) are done: x*1, x/1, x-0, -(-x), x*(-1), a + (-b),
conversions to the same dtype, views that change nothing, chains of views. Numbers of the user's program are data and are
never folded by value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.graph import Graph, Literal, Node, Operand
from irgrad.ir.primitive import ELEMENTWISE, IDENTITY, PURE, REGISTRY
from irgrad.passes.result import PassResult, has_fuel

DEEP = 50  # operations one behind the other that go to another shape together
Rewrite = Callable[[Graph, Node], "Operand | None"]


def simplify(graph: Graph) -> PassResult:
    """Rewrite each node by the first rule that applies, in program order."""
    result = PassResult(graph)
    for node in graph.nodes():
        assert node.op is not None
        if node.op.has(ELEMENTWISE):
            skip_broadcasts(graph, node, result)
        for rewrite in (_fold, _identity, _broadcast_last, _ones_last, *RULES.get(node.op.name, ())):
            new = rewrite(graph, node)
            if new is not None and new is not node and _fits(new, node) and has_fuel():
                graph.replace_uses(node, new)
                graph.remove(node)
                result.count(rewrite.__name__.strip("_"))
                break
    return result


def skip_broadcasts(graph: Graph, node: Node, result: PassResult) -> None:
    """Let an elementwise node read what was broadcast for it, where its other operands keep its shape."""
    for position, operand in enumerate(node.operands):
        if not isinstance(operand, Node) or operand.op is None or operand.op.name not in ("broadcast_to", "full"):
            continue
        source = operand.operands[0]
        if source.aval.dtype != operand.aval.dtype:
            continue
        shapes = [o.aval.shape if k != position else source.aval.shape for k, o in enumerate(node.operands)]
        if np.broadcast_shapes(*shapes) == node.aval.shape and has_fuel():
            graph.set_operand(node, position, source)
            result.count("skip_broadcast")


def _fits(new: Operand, node: Node) -> bool:
    """Same shape and dtype; static numbers only where a consumer takes a literal of the node's aval."""
    return new.aval.same_array(node.aval)


def _number(operand: Operand) -> object | None:
    return operand.value if isinstance(operand, Literal) and operand.static else None


def _is(operand: Operand, number: float) -> bool:
    value = _number(operand)
    return value is not None and bool(value == number)


def _fold(graph: Graph, node: Node) -> Operand | None:
    """Static numbers in, static number out."""
    op = node.op
    assert op is not None
    if not op.has(ELEMENTWISE) or not node.operands or node.aval.shape:
        return None
    values = [operand.value for operand in node.operands if isinstance(operand, Literal) and operand.static]
    if len(values) != len(node.operands):
        return None
    with np.errstate(all="ignore"):
        value = node.aval.dtype.type(op.evaluate(*values, **node.params))
    return Literal(value, node.aval, static=True)


def _identity(graph: Graph, node: Node) -> Operand | None:
    assert node.op is not None
    if node.op.has(IDENTITY) or node.op.name in ("identity", "stop_gradient"):
        return node.operands[0]
    return None


def _broadcast_last(graph: Graph, node: Node) -> Operand | None:
    """Compute with the number that was broadcast, and broadcast the result."""
    op = node.op
    assert op is not None
    if not op.has(ELEMENTWISE) or not op.has(PURE) or op.host or not node.aval.shape:
        return None
    sources = [_unspread(operand) for operand in node.operands]
    pairs = list(zip(sources, node.operands, strict=True))
    if all(s is o for s, o in pairs) or any(s.aval.shape or s.aval.dtype != o.aval.dtype for s, o in pairs):
        return None
    number = graph.add_from(node, op, sources, node.params, Aval((), node.aval.dtype))
    return graph.add_from(node, REGISTRY["broadcast_to"], (number,), {"shape": node.aval.shape}, node.aval)


def _unspread(operand: Operand) -> Operand:
    """What a broadcast operand was before."""
    return operand.operands[0] if isinstance(operand, Node) and operand.op is not None and operand.op.name == "broadcast_to" else operand


def _full(graph: Graph, node: Node) -> Operand | None:
    """A number that is as exact in every dtype stays a number."""
    (value,) = node.operands
    number = _number(value)
    exact = node.aval.dtype.kind == "f" and isinstance(number, float) and number in (0.0, 1.0, -1.0, 0.5, 2.0)
    return Literal(node.aval.dtype.type(number), node.aval.with_kind("scalar"), static=True) if exact and not node.aval.shape else None


def _mul(graph: Graph, node: Node) -> Operand | None:
    x, y = node.operands
    for one, other in ((x, y), (y, x)):
        if _is(one, 1.0):
            return other
        if _is(one, -1.0) and other.aval.same_array(node.aval):
            return graph.add_from(node, REGISTRY["neg"], (other,), {}, node.aval)
    return None


def _div(graph: Graph, node: Node) -> Operand | None:
    return node.operands[0] if _is(node.operands[1], 1.0) else None


def _add(graph: Graph, node: Node) -> Operand | None:
    """a + (-b) is a - b, bit for bit."""
    x, y = node.operands
    for one, other in ((y, x), (x, y)):
        if isinstance(one, Node) and one.op is not None and one.op.name == "neg":
            return graph.add_from(node, REGISTRY["sub"], (other, one.operands[0]), {}, node.aval)
    return None


def _sub(graph: Graph, node: Node) -> Operand | None:
    x, y = node.operands
    if _is(y, 0.0):
        return x
    if isinstance(y, Node) and y.op is not None and y.op.name == "neg":
        return graph.add_from(node, REGISTRY["add"], (x, y.operands[0]), {}, node.aval)
    return None


def _neg(graph: Graph, node: Node) -> Operand | None:
    (x,) = node.operands
    return x.operands[0] if isinstance(x, Node) and x.op is not None and x.op.name == "neg" else None


def _convert(graph: Graph, node: Node) -> Operand | None:
    return node.operands[0]


def _same_shape(graph: Graph, node: Node) -> Operand | None:
    return node.operands[0]


def _reshape(graph: Graph, node: Node) -> Operand | None:
    (x,) = node.operands
    if isinstance(x, Node) and x.op is not None and x.op.name == "reshape":
        inner = x.operands[0]
        if inner.aval.shape == node.aval.shape:
            return inner
        return graph.add_from(node, REGISTRY["reshape"], (inner,), node.params, node.aval)
    return None


def _without_ones(graph: Graph, node: Node) -> Operand | None:
    """Compute without axes of 1 what is only read without them: loops over both are one nest."""
    x = node.operands[0]
    if node.aval.ndim >= x.aval.ndim:
        return None
    made = _in_shape(graph, node, x, node.aval.shape, DEEP)
    if made.operands != node.operands:
        return made
    graph.remove(made)
    return None


def _is_loop(x: Operand) -> bool:
    return isinstance(x, Node) and x.op is not None and x.op.has(ELEMENTWISE) and x.op.has(PURE) and not x.op.host


def _in_shape(graph: Graph, node: Node, x: Operand, shape: tuple[int, ...], depth: int) -> Node:
    """The value in a shape that differs in axes of 1, as one node or several of them in front of `node`."""
    if not isinstance(x, Node) or not _is_loop(x) or not depth or graph.num_users(x) != 1 or graph.is_output(x):
        return graph.add_from(node, REGISTRY["reshape"], (x,), {"shape": shape})
    shapes = _alike(x, shape)
    if shapes is None:
        return graph.add_from(node, REGISTRY["reshape"], (x,), {"shape": shape})
    assert x.op is not None
    pairs = zip(x.operands, shapes, strict=True)
    operands = [o if o.aval.shape == wanted else _in_shape(graph, node, o, wanted, depth - 1) for o, wanted in pairs]
    return graph.add_from(x, x.op, operands, x.params, Aval(shape, x.aval.dtype), before=node)


def _alike(x: Node, shape: tuple[int, ...]) -> list[tuple[int, ...]] | None:
    """The shapes of an elementwise node's operands that give its result in a shape with other axes of 1, None where there are none."""
    places = [axis for axis, n in enumerate(shape) if n != 1]
    wide = [axis for axis, n in enumerate(x.aval.shape) if n != 1]
    if not wide or [x.aval.shape[axis] for axis in wide] != [shape[axis] for axis in places]:
        return None
    found: list[tuple[int, ...]] = []
    for operand in x.operands:
        given, wanted = (1,) * (x.aval.ndim - operand.aval.ndim) + operand.aval.shape, [1] * len(shape)
        for axis, place in zip(wide, places, strict=True):
            wanted[place] = given[axis]
        if operand.aval.shape and isinstance(operand, Literal):
            return None
        found.append(tuple(wanted) if operand.aval.shape else ())
    return found


def _ones_last(graph: Graph, node: Node) -> Operand | None:
    """Give a result its axes of 1 behind the loops, where an operand gets them from what is computed."""
    if not _is_loop(node):
        return None
    for operand in node.operands:
        if not isinstance(operand, Node) or operand.op is None or operand.op.name != "reshape":
            continue
        source = operand.operands[0]
        if source.aval.ndim < node.aval.ndim and operand.aval.shape == node.aval.shape and _is_loop(source):
            shapes = _alike(node, source.aval.shape)
            if shapes is None:
                continue
            assert node.op is not None
            operands = [_reshaped(graph, node, _unshaped(o, wanted), wanted) for o, wanted in zip(node.operands, shapes, strict=True)]
            made = graph.add_from(node, node.op, operands, node.params, Aval(source.aval.shape, node.aval.dtype))
            return _reshaped(graph, node, made, node.aval.shape)
    return None


def _unshaped(x: Operand, shape: tuple[int, ...]) -> Operand:
    """What a reshape was made of, where that has the shape."""
    is_reshape = isinstance(x, Node) and x.op is not None and x.op.name == "reshape" and x.operands[0].aval.shape == shape
    return x.operands[0] if isinstance(x, Node) and is_reshape else x


def _transpose(graph: Graph, node: Node) -> Operand | None:
    (x,) = node.operands
    axes = node.params["axes"]
    if axes == tuple(range(len(axes))):
        return x
    if isinstance(x, Node) and x.op is not None and x.op.name == "transpose":
        composed = tuple(x.params["axes"][a] for a in axes)
        if composed == tuple(range(len(composed))):
            return x.operands[0]
        return graph.add_from(node, REGISTRY["transpose"], (x.operands[0],), {"axes": composed}, node.aval)
    return None


def _slice(graph: Graph, node: Node) -> Operand | None:
    """A slice that takes everything, but for axes of extent 1."""
    return _reshaped(graph, node, node.operands[0], node.aval.shape) if _is_whole(node) else None


def _is_whole(node: Node) -> bool:
    """Does the region of a slice or an update cover all of operand 0, in order?"""
    params = node.params
    steps = zip(params["count"], params["step"], strict=True)
    return params["count"] == node.operands[0].aval.shape and all(step == 1 or count == 1 for count, step in steps)


def _reshaped(graph: Graph, node: Node, x: Operand, shape: tuple[int, ...]) -> Operand:
    """An operand of `node` in another shape of as many elements."""
    if x.aval.shape == shape:
        return x
    if isinstance(x, Node) and x.op is not None and x.op.name == "broadcast_to" and not x.operands[0].aval.shape:
        return graph.add_from(node, REGISTRY["broadcast_to"], (x.operands[0],), {"shape": shape}, Aval(shape, x.aval.dtype))
    return graph.add_from(node, REGISTRY["reshape"], (x,), {"shape": shape}, Aval(shape, x.aval.dtype))


def _written(graph: Graph, node: Node) -> Operand | None:
    """What an update writes to all of its buffer, in the buffer's shape; None where it is broadcast for that, or is a number."""
    buffer, x = node.operands
    if not _is_whole(node) or x.aval.dtype != buffer.aval.dtype or not isinstance(x, Node) or x.aval.size != buffer.aval.size:
        return None
    return _reshaped(graph, node, x, buffer.aval.shape)


def _whole_add(graph: Graph, node: Node) -> Operand | None:
    """An add to a region that is everything is an add; what is added to zeros is the sum."""
    buffer, written = node.operands[0], _written(graph, node)
    if written is None and _is_whole(node) and not node.params["drop"] and node.operands[1].aval.dtype == buffer.aval.dtype:
        return graph.add_from(node, REGISTRY["add"], node.operands, {}, node.aval)
    if written is None or (isinstance(buffer, Node) and buffer.op is not None and buffer.op.name == "zeros"):
        return written
    return graph.add_from(node, REGISTRY["add"], (buffer, written), {}, node.aval)


def _whole_update(graph: Graph, node: Node) -> Operand | None:
    """A write to a region that is everything is what is written."""
    return _written(graph, node)


RULES: dict[str, tuple[Rewrite, ...]] = {
    "mul": (_mul,),
    "div": (_div,),
    "add": (_add,),
    "sub": (_sub,),
    "neg": (_neg,),
    "convert": (_convert,),
    "full": (_full,),
    "broadcast_to": (_same_shape,),
    "reshape": (_same_shape, _reshape, _without_ones),
    "transpose": (_transpose,),
    "slice": (_slice,),
    "slice_add": (_whole_add,),
    "slice_update": (_whole_update,),
}
