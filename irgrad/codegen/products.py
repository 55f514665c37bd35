"""Kernels of matrix products: BLAS by an address that comes through the pointer table; a few numbers have kernels of their
extents, 1.2 to 5 times as fast as a call. Products of several matrices, and with factors, are in `irgrad.codegen.chains`, stacks in
`irgrad.codegen.stacks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.codegen.lowered import Ref, Row
from irgrad.codegen.scalar import literal, plus, times
from irgrad.ir.graph import Literal, Node
from irgrad.ir.plan import View, layout_of
from irgrad.ir.sizes import is_any
from irgrad.ops.blas import PREFIX

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering

FEW, NARROW = 512, 16  # multiplications of a product with its extents in the text, and the largest of these
WIDE = 32  # where one operand is a vector
LOOPS = 1024  # of a vector with a matrix of any size, below which loops beat it
SHORT = 8  # terms of sums that are written out whatever the layout is
SMALL = 100  # multiplications of others below which loops beat the call of a BLAS routine


def operand_of(lowering: _Lowering, node: Node, position: int) -> tuple[Ref, tuple[int, ...], tuple[int, ...], View]:
    """Memory, shape and strides of an operand, and its view."""
    operand = node.operands[position]
    assert not isinstance(operand, Literal)
    view = lowering.view(operand)
    return lowering.ref(view), operand.aval.shape, view.strides, view


_LOOPS = """
    for i in range(rows):
        for j in range(columns):
            total = {zero}
            for k in range(inner):
                total = {add}
            store(o, i * columns + j, total)
"""

_BY_ROWS = """
    for i in range(rows):
        total = {zero}
        for k in range(inner):
            total = add_any_order(total, load(x, i * x0 + k) * load(y, k))
        store(o, i, total)
"""

_BY_COLUMNS = """
    for j in range(columns):
        store(o, j, {zero})
    whole = inner - inner % 4
    for k in range(0, whole, 4):
        f0 = load(x, k)
        f1 = load(x, k + 1)
        f2 = load(x, k + 2)
        f3 = load(x, k + 3)
        for j in range(columns):
            at = k * y0 + j
            store(o, j, load(o, j) + f0 * load(y, at) + f1 * load(y, at + y0) + f2 * load(y, at + 2 * y0) + f3 * load(y, at + 3 * y0))
    for k in range(whole, inner):
        f0 = load(x, k)
        for j in range(columns):
            store(o, j, load(o, j) + f0 * load(y, k * y0 + j))
"""

_GEMM = """
        # row-major o = x y is column-major o' = y' x'
        t = stack(16)
        put(t, 0, columns)
        put(t, 1, rows)
        put(t, 2, inner)
        put(t, 3, {ldy})
        put(t, 4, {ldx})
        put(t, 5, max(columns, 1))
        put(t, 6, {flagy})
        put(t, 7, {flagx})
        call_blas(size(p, 3), (t + 48, t + 56, t, t + 8, t + 16, size(p, 4), size(p, 1), t + 24, size(p, 0), t + 32,
                               size(p, 4) + {width}, size(p, 2), t + 40))
"""

_GEMV = """
        t = stack(16)
        put(t, 0, {m})
        put(t, 1, {n})
        put(t, 2, {ld})
        put(t, 3, max({step}, 1))
        put(t, 4, 1)
        put(t, 5, {flag})
        call_blas(size(p, 3), (t + 40, t, t + 8, size(p, 4), size(p, {matrix}), t + 16, size(p, {vector}), t + 24,
                               size(p, 4) + {width}, size(p, 2), t + 32))
"""

HEAD = """def kernel(p, n):
    x = pointer_{dtype}(p, 0)
    y = pointer_{dtype}(p, 1)
    o = pointer_{dtype}(p, 2)
    rows = size(n, 0)
    columns = size(n, 1)
    inner = size(n, 2)
    x0 = size(n, 3)
    x1 = size(n, 4)
    y0 = size(n, 5)
    y1 = size(n, 6)
"""


def matrix_of(shape: tuple[int, ...], strides: tuple[int, ...], left: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """A vector as a row (left operand) or a column (right operand)."""
    if len(shape) == 2:
        return (shape[0], shape[1]), (strides[0], strides[1])
    return ((1, shape[0]), (0, strides[0])) if left else ((shape[0], 1), (strides[0], 0))


def dot(lowering: _Lowering, node: Node) -> Row:
    return _product(lowering, node, 0, "one_zero", literal(0, node.aval.dtype))


def dot_add(lowering: _Lowering, node: Node) -> Row:
    """The product added to the result's memory, or subtracted from it."""
    signs = "minus_one" if node.params["negative"] else "one_one"
    return _product(lowering, node, 1, signs, "load(o, i * columns + j)")


def dot_more(lowering: _Lowering, node: Node) -> Row:
    """The product added to what there is of the result already: a sum over part of the terms."""
    return _product(lowering, node, 0, "one_one", "load(o, i * columns + j)")


def _product(lowering: _Lowering, node: Node, first: int, factors: str, initial: str) -> Row:
    """The product of the operands from `first` on; `factors` scale it and the result's memory, `initial` is that in loops."""
    xref, xshape, xstrides, _ = operand_of(lowering, node, first)
    yref, yshape, ystrides, _ = operand_of(lowering, node, first + 1)
    (rows, inner), xs = matrix_of(xshape, xstrides, True)
    (_, columns), ys = matrix_of(yshape, ystrides, False)
    dtype = node.aval.dtype.name
    text = HEAD.format(dtype=dtype)
    sizes = [rows, columns, inner, *xs, *ys]
    pointers: list[Ref | str] = [xref, yref, lowering.ref(lowering.view(node))]
    x_layout, y_layout = layout_of((rows, inner), xs), layout_of((inner, columns), ys)
    if is_few((rows, inner, columns), node.aval.dtype):
        lines = few((rows, inner, columns), xs, ys, node.aval.dtype, factors)
        return Row(kernel_of(lines, node.aval.dtype), pointers, sizes, node.op.name if node.op else "", 2 * rows * columns * inner)
    term = times("load(x, i * x0 + k * x1)", "load(y, k * y0 + j * y1)", node.aval.dtype)
    more = plus("total", f"(-({term}))" if factors == "minus_one" else term, node.aval.dtype)
    loops = _LOOPS.format(zero=initial, add=more)
    if dtype in PREFIX and any(x_layout) and any(y_layout):
        routine, blas = blas_call(len(xshape), len(yshape), x_layout[0], y_layout[0], node.aval.dtype)
        limit = SMALL
        by_vectors = _by_vectors(len(xshape), len(yshape), xs, ys) if is_any() and factors == "one_zero" else ""
        if by_vectors and dtype in ("float32", "float64"):
            limit, loops = LOOPS, by_vectors.format(zero=initial)
            for k, name in enumerate("xyo"):
                text = text.replace(f"pointer_{dtype}(p, {k})", f"scoped_{dtype}(p, {k}, {int(name == 'o')}, 2)")
        if is_any() or rows * columns * inner < limit:
            indented = "".join(f"    {line}\n" if line else "" for line in loops.splitlines())
            text += f"    if rows * columns * inner < {limit}:\n{indented}    else:\n{blas}    return 0\n"
        else:  # one text for all sizes that are not small: loops would only take time to compile
            lines = [line.removeprefix("    ") for line in blas.strip("\n").splitlines()]
            text += "\n".join([*lines, "    return 0", ""])
        pointers += [f"{PREFIX[dtype]}{routine}", f"{factors}_{dtype}"]
    else:
        text += loops.lstrip("\n") + "    return 0\n"
    return Row(text, pointers, sizes, node.op.name if node.op else "", 2 * rows * columns * inner)


def _by_vectors(x_rank: int, y_rank: int, xs: tuple[int, int], ys: tuple[int, int]) -> str:
    """Loops of any extents over a matrix by rows and a vector, along the rows; empty for other operands."""
    if y_rank == 1 and xs[1] == ys[0] == 1:
        return _BY_ROWS
    return _BY_COLUMNS if x_rank == 1 and xs[1] == ys[1] == 1 else ""


def is_few(extents: tuple[int, int, int], dtype: np.dtype[Any]) -> bool:
    """Are they matrices of a few real numbers?"""
    rows, inner, columns = extents
    work, wide = rows * inner * columns, max(extents)
    vector = min(rows, columns) == 1
    real = dtype.name in ("float32", "float64") and not is_any()
    return real and work > 0 and (wide <= WIDE if vector else work <= FEW and wide <= NARROW)


def few(
    extents: tuple[int, int, int], xs: tuple[int, int], ys: tuple[int, int], dtype: np.dtype[Any], factors: str, stack: bool = False
) -> list[str]:
    """Lines with the extents in them, in vectors along a row or a column of the result; in a stack, from `xb`, `yb` and `ob` on.

    Sums are written out where that makes vectors of what is read, and short ones anyway: columns far apart are transposed on the way.
    """
    rows, inner, columns = extents

    def entry(name: str, at: tuple[str, str], strides: tuple[int, int], shape: tuple[int, int]) -> str:
        parts = [f"{name}b"] if stack else []
        for axis, (place, step) in enumerate(zip(at, strides, strict=True)):
            if place != "0" and shape[axis] > 1 and step:
                written = step == 1 or (step == shape[1 - axis] and step <= WIDE)  # in the text: matrices without gaps
                parts.append(place if step == 1 else f"{place} * {step if written else f'{name}{axis}'}")
        return f"load({name}, {' + '.join(parts) or '0'})"

    def term(k: str) -> str:
        return times(entry("x", ("i", k), xs, (rows, inner)), entry("y", (k, "j"), ys, (inner, columns)), dtype)

    inside = "    " * ((rows > 1) + (columns > 1))
    lines = [f"for i in {f'range({rows})' if columns > 1 else _vectors(rows)}:"] if rows > 1 else []
    lines += ["    " * (rows > 1) + f"for j in {_vectors(columns)}:"] if columns > 1 else []
    place = entry("o", ("i", "j"), (columns, 1), (rows, columns))
    sign, total = "-" if factors == "minus_one" else "+", "" if factors == "one_zero" else place
    by_vectors = (ys[1] == 1 and columns > 1) or (xs[0] == 1 and columns == 1)
    if by_vectors or inner <= SHORT:
        for k in range(inner):
            lines.append(f"{inside}t{k} = {f'{total} {sign} ' if total else ''}{term(str(k))}")
            total = f"t{k}"
    else:
        lines += [f"{inside}total = {literal(0, dtype)}", f"{inside}for k in {_vectors(inner)}:"]
        lines += [f"{inside}    total = add_any_order(total, {term('k')})"]
        total = f"{total} {sign} total" if total else "total"
    lines.append(f"{inside}{place.replace('load', 'store')[:-1]}, {total})")
    return lines


def _vectors(extent: int) -> str:
    """A range in whole vectors; what is left over is worth being unrolled (5 to 7 numbers: 1.3 to 1.5 times as fast)."""
    return f"{'range' if extent % 4 else 'lanes'}({extent})"


def kernel_of(lines: list[str], dtype: np.dtype[Any]) -> str:
    """The kernel around lines of `few`."""
    head = [f"{name} = scoped_{dtype.name}(p, {k}, {int(name == 'o')}, 2)" for k, name in enumerate("xyo")]
    head += [f"{name} = size(n, {k})" for k, name in enumerate(("x0", "x1", "y0", "y1"), 3) if any(f"* {name}" in line for line in lines)]
    return "\n".join(["def kernel(p, n):", *["    " + line for line in [*head, *lines]], "    return 0", ""])


def blas_call(x_rank: int, y_rank: int, x_rows: bool, y_rows: bool, dtype: np.dtype[Any]) -> tuple[str, str]:
    """Routine and text of its call, for operands stored by rows (or by columns)."""
    width = dtype.itemsize
    ldx = "max(x0, inner, 1)" if x_rows else "max(x1, rows, 1)"
    ldy = "max(y0, columns, 1)" if y_rows else "max(y1, inner, 1)"
    plain, turned = ord("N"), ord("T")
    if x_rank == 2 and y_rank == 2:
        flags = {"flagx": plain if x_rows else turned, "flagy": plain if y_rows else turned}
        return "gemm", _GEMM.format(width=width, ldx=ldx, ldy=ldy, **flags)
    if y_rank == 1:
        m, n = ("inner", "rows") if x_rows else ("rows", "inner")
        return "gemv", _GEMV.format(m=m, n=n, ld=ldx, step="y0", flag=turned if x_rows else plain, matrix=0, vector=1, width=width)
    m, n = ("columns", "inner") if y_rows else ("inner", "columns")
    return "gemv", _GEMV.format(m=m, n=n, ld=ldy, step="x1", flag=plain if y_rows else turned, matrix=1, vector=0, width=width)
