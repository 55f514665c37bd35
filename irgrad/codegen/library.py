"""Kernels of operations that are no elementwise nest: gathers and scatters, running sums, arg-reductions; others by family.

A kernel that indexes by data wraps negative indices, checks the range and answers a status.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.codegen import chains, fft, lapack, loops, products, stacks
from irgrad.codegen.convolution import correlate as _correlate  # noqa: F401  (found by name)
from irgrad.codegen.lowered import Ref, Row
from irgrad.codegen.products import operand_of
from irgrad.codegen.scalar import literal, plus, times
from irgrad.codegen.split import divide
from irgrad.ir.aval import dtype_name
from irgrad.ir.graph import Literal, Node
from irgrad.ir.plan import contiguous

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering

MOVED, FETCHED, CARRIED = 0.3, 2.0, 1.0  # nanoseconds an element: of a run of a gather, alone, of a running sum or search
PRODUCTS = {"dot": products.dot, "dot_add": products.dot_add, "batch_dot": stacks.batch_dot, "product": chains.product,
            "product_add": chains.product_add}  # fmt: skip
OUT_OF_RANGE = 2  # status of a kernel that met an index outside its axis


def row(lowering: _Lowering, node: Node, kind: str) -> Row:
    """The row of one node with a kernel of its own."""
    if kind in lapack.KERNELS:
        return lapack.row(lowering, node, kind)
    if kind in fft.KINDS:
        return fft.row(lowering, node)
    if kind == "pick" or kind in loops.PLANS:
        return loops.row(lowering, node, kind)
    return (PRODUCTS.get(kind) or globals()[f"_{kind}"])(lowering, node)


def _result(lowering: _Lowering, node: Node) -> Ref:
    return lowering.ref(lowering.view(node))


# ---- gathers and scatters ----


def _indices(
    lowering: _Lowering, node: Node, first: int, x_shape: tuple[int, ...], lines: list[str], pointers: list[Ref | str]
) -> tuple[tuple[int, ...], list[int]]:
    """Loops over the broadcast shape of the index arrays, with one checked index variable per array."""
    arrays = node.operands[first:]
    shape = np.broadcast_shapes(*[a.aval.shape for a in arrays])
    sizes: list[int] = list(shape)
    for d in range(len(shape)):
        lines.append("    " * (d + 1) + f"for i{d} in range(size(n, {d})):")
    depth = "    " * (len(shape) + 1)
    for k, array in enumerate(arrays):
        dtype = dtype_name(array.aval.dtype)
        if isinstance(array, Literal):
            lines.append(f"{depth}q{k} = {int(array.value)}")
        else:
            view = lowering.view(array)
            at = "0"
            extra = len(shape) - len(view.strides)
            for d, (count, stride) in enumerate(zip(array.aval.shape, view.strides, strict=True)):
                if count != 1 and stride != 0:
                    at += f" + i{d + extra} * size(n, {len(sizes)})"
                    sizes.append(stride)
            lines.insert(0, f"    j{k} = pointer_{dtype}(p, {len(pointers)})")
            pointers.append(lowering.ref(view))
            lines.append(f"{depth}q{k} = as_int64(load(j{k}, {at}))")
        extent = f"size(n, {len(sizes)})"
        sizes.append(x_shape[k])
        lines.append(f"{depth}if q{k} < 0:")
        lines.append(f"{depth}    q{k} += {extent}")
        lines.append(f"{depth}if q{k} < 0 or q{k} >= {extent}:")
        lines.append(f"{depth}    return {OUT_OF_RANGE}")
    return shape, sizes


def _address(strides: tuple[int, ...], count: int, sizes: list[int]) -> str:
    parts = []
    for k in range(count):
        parts.append(f"q{k} * size(n, {len(sizes)})")
        sizes.append(strides[k])
    return " + ".join(parts) or "0"


def _tail(lines: list[str], shape: tuple[int, ...], depth: int, sizes: list[int]) -> tuple[int, list[int]]:
    """Loops over the axes that are not indexed; returns the depth and the places of their extents."""
    places = []
    for d, extent in enumerate(shape):
        lines.append("    " * depth + f"for t{d} in range(size(n, {len(sizes)})):")
        places.append(len(sizes))
        sizes.append(extent)
        depth += 1
    return depth, places


def _flat(count: int, sizes: list[int], shape: tuple[int, ...]) -> str:
    """Contiguous position of (i0.., t0..) in a value of `shape`."""
    parts = []
    for d, stride in enumerate(contiguous(shape)):
        name = f"i{d}" if d < count else f"t{d - count}"
        parts.append(f"{name} * size(n, {len(sizes)})")
        sizes.append(stride)
    return " + ".join(parts) or "0"


def _text(head: list[str], lines: list[str], sizes: list[int], rank: int, tail: int) -> str:
    """The kernel's text: sizes read once, before the loops, and a step of one along the innermost axis left out (the vectoriser asks)."""
    body = "\n".join(lines)
    innermost = f"t{tail - 1}" if tail else f"i{rank - 1}"

    def step(found: re.Match[str]) -> str:
        return innermost if sizes[int(found[1])] == 1 else found[0]

    body = re.sub(rf"\b{innermost} \* size\(n, (\d+)\)", step, body)
    used = sorted({int(k) for k in re.findall(r"size\(n, (\d+)\)", body)})
    known = [f"    n{k} = size(n, {k})" for k in used]
    return "\n".join([*head, *known, re.sub(r"size\(n, (\d+)\)", r"n\1", body), "    return 0", ""])


@dataclass(slots=True)
class _Gathered:
    """The beginning of a kernel that reads an operand at indices: loops, and what the innermost of them loads."""

    pointers: list[Ref | str]
    lines: list[str]
    shape: tuple[int, ...]  # of the index arrays together
    tail: tuple[int, ...]  # extents of the axes that are not indexed
    sizes: list[int]
    places: list[int]  # of the extents of `tail` in the sizes
    depth: int
    load: str

    def row(self, node: Node, name: str) -> Row:
        dtype = dtype_name(node.aval.dtype)
        # the result is new memory
        head = ["def kernel(p, n):", f"    x = scoped_{dtype}(p, 0, 0, 2)", f"    o = scoped_{dtype}(p, 1, 1, 2)"]
        return Row(_text(head, self.lines, self.sizes, len(self.shape), len(self.tail)), self.pointers, self.sizes, name)


def _gathered(lowering: _Lowering, node: Node) -> _Gathered:
    xref, xshape, xstrides, _ = operand_of(lowering, node, 0)
    pointers: list[Ref | str] = [xref, _result(lowering, node)]
    lines: list[str] = []
    count = len(node.operands) - 1
    shape, sizes = _indices(lowering, node, 1, xshape, lines, pointers)
    source, tail = _address(xstrides, count, sizes), xshape[count:]
    depth, places = _tail(lines, tail, len(shape) + 1, sizes)
    for d in range(len(tail)):
        source += f" + t{d} * size(n, {len(sizes)})"
        sizes.append(xstrides[count + d])
    return _Gathered(pointers, lines, shape, tail, sizes, places, depth, f"load(x, {source})")


def _gather(lowering: _Lowering, node: Node) -> Row:
    read = _gathered(lowering, node)
    target = _flat(len(read.shape), read.sizes, node.aval.shape)
    read.lines.append("    " * read.depth + f"store(o, {target}, {read.load})")
    row = read.row(node, "gather")
    if read.shape:
        _divide(lowering, row, node, read.shape, node.aval.size * (MOVED if len(read.shape) < node.aval.ndim else FETCHED))
    return row


def _gather_sum(lowering: _Lowering, node: Node) -> Row:
    """Rows are added to the result as they are read, one after the other, as numpy adds along an axis that is not the innermost."""
    read = _gathered(lowering, node)
    lines, kept = read.lines, len(read.shape) - 1
    target = _flat(kept, read.sizes, node.aval.shape)
    lines.append("    " * read.depth + f"store(o, {target}, {plus(f'load(o, {target})', read.load, node.aval.dtype)})")
    zeros = ["    " * (kept + 1 + d) + f"for t{d} in range(size(n, {place})):" for d, place in enumerate(read.places)]
    zeros.append("    " * (kept + 1 + len(read.places)) + f"store(o, {target}, {literal(0, node.aval.dtype)})")
    first = next(k for k, line in enumerate(lines) if line.lstrip().startswith(f"for i{kept} "))
    lines[first:first] = zeros
    row = read.row(node, "gather_sum")
    if kept:
        _divide(lowering, row, node, read.shape, node.aval.size * read.shape[-1] * MOVED)
    return row


def _divide(lowering: _Lowering, row: Row, node: Node, shape: tuple[int, ...], nanoseconds: float) -> None:
    """Split a gather along the first axis of its index arrays, of this shape, which is the result's first too."""
    steps = [0, contiguous(node.aval.shape)[0] * node.aval.dtype.itemsize]
    for array in node.operands[1:]:
        if not isinstance(array, Literal):
            moves = len(array.aval.shape) == len(shape) and array.aval.shape[0] != 1
            steps.append(lowering.view(array).strides[0] * array.aval.dtype.itemsize if moves else 0)
    divide(row, nanoseconds, 0, steps)


def _scatter(lowering: _Lowering, node: Node, add: bool) -> Row:
    buffer, value = node.operands[0], node.operands[1]
    view = lowering.view(node)
    bshape, bstrides = buffer.aval.shape, view.strides
    dtype = dtype_name(node.aval.dtype)
    own = lowering.ref(view)
    pointers: list[Ref | str] = [own]
    lines: list[str] = []
    count = len(node.operands) - 2
    head = ["def kernel(p, n):", f"    o = pointer_{dtype}(p, 0)"]
    value_strides: tuple[int, ...] = ()
    if not isinstance(value, Literal):
        value_view = lowering.view(value)
        value_strides = value_view.strides
        given = lowering.ref(value_view)
        pointers.append(given)
        if given.home == own.home:
            head.append(f"    x = pointer_{dtype}(p, 1)")
        else:
            head = ["def kernel(p, n):", f"    o = scoped_{dtype}(p, 0, 0, 2)", f"    x = scoped_{dtype}(p, 1, 1, 2)"]
    shape, sizes = _indices(lowering, node, 2, bshape, lines, pointers)
    target = _address(bstrides, count, sizes)
    depth, _ = _tail(lines, bshape[count:], len(shape) + 1, sizes)
    for d in range(len(bshape) - count):
        target += f" + t{d} * size(n, {len(sizes)})"
        sizes.append(bstrides[count + d])
    if isinstance(value, Literal):
        text = literal(value.value, node.aval.dtype)
    else:
        full = (*shape, *bshape[count:])
        extra = len(full) - len(value.aval.shape)
        at = "0"
        for d, (extent, stride) in enumerate(zip(value.aval.shape, value_strides, strict=True)):
            if extent != 1 and stride != 0:
                place = d + extra
                at += f" + {f'i{place}' if place < len(shape) else f't{place - len(shape)}'} * size(n, {len(sizes)})"
                sizes.append(stride)
        text = f"load(x, {at})"
    indent = "    " * depth
    lines.append(f"{indent}at = {target}")
    lines.append(f"{indent}store(o, at, {plus('load(o, at)', text, node.aval.dtype)})" if add else f"{indent}store(o, at, {text})")
    text = _text(head, lines, sizes, len(shape), len(bshape) - count)
    cost = math.prod((*shape, *bshape[count:])) * FETCHED
    return Row(text, pointers, sizes, node.op.name if node.op else "scatter", cost=cost)


def _scatter_add(lowering: _Lowering, node: Node) -> Row:
    return _scatter(lowering, node, True)


def _scatter_update(lowering: _Lowering, node: Node) -> Row:
    return _scatter(lowering, node, False)


# ---- along one axis ----


def _along(lowering: _Lowering, node: Node, body: list[str], start: list[str], end: list[str]) -> Row:
    """Loops over the other axes, then along `axis`: body lines use `at` (operand) and `to` (result)."""
    xref, xshape, xstrides, _ = operand_of(lowering, node, 0)
    axis = node.params["axis"]
    out = node.aval
    ostrides = contiguous(out.shape)
    same = len(out.shape) == len(xshape)
    sizes: list[int] = [xshape[axis], xstrides[axis], ostrides[axis] if same else 0]
    dtype = dtype_name(node.operands[0].aval.dtype)
    lines = ["def kernel(p, n):", f"    x = pointer_{dtype}(p, 0)", f"    o = pointer_{dtype_name(out.dtype)}(p, 1)"]
    lines += ["    length = size(n, 0)", "    x_step = size(n, 1)", "    o_step = size(n, 2)"]
    depth = 1
    source, target = "0", "0"
    for d, extent in enumerate(xshape):
        if d == axis:
            continue
        lines.append("    " * depth + f"for i{d} in range(size(n, {len(sizes)})):")
        sizes.append(extent)
        source += f" + i{d} * size(n, {len(sizes)})"
        sizes.append(xstrides[d])
        target += f" + i{d} * size(n, {len(sizes)})"
        sizes.append(ostrides[d] if same else ostrides[d - (d > axis)])
        depth += 1
    indent = "    " * depth
    lines += [f"{indent}at = {source}", f"{indent}to = {target}", *[indent + line for line in start]]
    lines += [f"{indent}for k in range(length):", *[f"{indent}    {line}" for line in body], *[indent + line for line in end]]
    row = Row("\n".join([*lines, "    return 0", ""]), [xref, _result(lowering, node)], sizes, node.op.name if node.op else "")
    row.cost = math.prod(xshape) * CARRIED
    loops = range(3, len(sizes), 3)  # places of extents, each with the steps of operand and result behind it
    if loops:
        longest = max(loops, key=lambda place: sizes[place])
        widths = node.operands[0].aval.dtype.itemsize, out.dtype.itemsize
        divide(row, row.cost, longest, [sizes[longest + 1] * widths[0], sizes[longest + 2] * widths[1]])
    return row


def _running(lowering: _Lowering, node: Node, first: Any, combine: Callable[[str, str, np.dtype[Any]], str]) -> Row:
    dtype = node.aval.dtype
    body = [f"total = {combine('total', 'load(x, at)', dtype)}", "store(o, to, total)", "at += x_step", "to += o_step"]
    return _along(lowering, node, body, [f"total = {literal(first, dtype)}"], [])


def _cumsum(lowering: _Lowering, node: Node) -> Row:
    zero = {"f": -0.0, "c": complex(-0.0, -0.0)}.get(node.aval.dtype.kind, 0)  # adding to -0.0 keeps every bit
    return _running(lowering, node, zero, plus)


def _cumprod(lowering: _Lowering, node: Node) -> Row:
    return _running(lowering, node, 1, times)


def _arg(lowering: _Lowering, node: Node, beats: str) -> Row:
    body = ["v = load(x, at)", f"if v {beats} best or (v != v and best == best):", "    best = v", "    where = k", "at += x_step"]
    return _along(lowering, node, body, ["best = load(x, at)", "where = 0"], ["store(o, to, where)"])


def _argmax(lowering: _Lowering, node: Node) -> Row:
    return _arg(lowering, node, ">")


def _argmin(lowering: _Lowering, node: Node) -> Row:
    return _arg(lowering, node, "<")
