"""Kernels around LAPACK: factorisations, solves, eigenvalues and singular values of stacks of matrices.

A kernel (`irgrad.codegen.fortran`) copies a matrix into column order in its work space, calls, and writes the packed result; what is
the same either way round is computed in place. A routine that reports failure makes the kernel answer FAILED: the call runs again
in Python, where numpy raises its error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from irgrad.codegen.fortran import FAILED, Kernel
from irgrad.codegen.lowered import Row
from irgrad.codegen.scalar import conversion, literal, plus, times
from irgrad.ir.aval import real_dtype
from irgrad.ir.graph import Node
from irgrad.ir.sizes import is_any
from irgrad.ops.blas import PREFIX, best_work, inverse_work

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering

FEW = 8  # rows of a system that is solved by loops
WIDE = 4  # right-hand sides that are worth vectors
INT64 = np.dtype(np.int64)


def row(lowering: _Lowering, node: Node, kind: str) -> Row:
    """The row of one node of linear algebra."""
    return KERNELS[kind](Kernel(lowering, node))


# ---- triangles ----


def _cholesky(k: Kernel) -> Row:
    """In place: the lower triangle by rows is the upper one by columns."""
    n = k.extent("rows", k.matrix[0])
    k.operand("a", 0)
    k.result()
    k.add(
        "at = b * rows * rows",
        "for i in range(rows):",
        "    for j in range(i + 1):",
        "        store(o, at + i * rows + j, load(a, at + i * rows + j))",
        "    for j in range(i + 1, rows):",
        f"        store(o, at + i * rows + j, {k.zero()})",
        k.check("potrf", k.char("U"), k.whole(n), k.at("o", "at"), k.whole(n)),
    )
    return k.row(k.matrix[0] ** 3 // 3)


class Triangle(NamedTuple):
    """A triangle by rows at `start` of `matrix`; transposed, it is solved as such."""

    matrix: str
    start: str
    lower: bool
    trans: bool
    unit: bool


def _solve_rows(k: Kernel, triangle: Triangle) -> list[str]:
    """Solve with a triangle for the right-hand sides by rows at `to` of the result.

    By columns these are x' = b' A'^-1 with A' the transposed triangle. Blocks of rows keep products of middle size below the
    size from which OpenBLAS wakes its threads: on a busy machine that costs a time slice.
    """
    matrix, start, lower, trans, unit = triangle
    ascending = lower != trans
    count, rest = k.variable("count"), k.variable("rest")
    columns, rows, flag = k.whole("columns"), k.whole("rows"), k.char("T" if trans else "N")
    sides = [k.char("R"), k.char("U" if lower else "L"), flag, k.char("U" if unit else "N"), columns, count, k.at("one")]
    solved = f"{k.at('o', 'to + first * columns')}"
    solve = k.call("trsm", *sides, k.at(matrix, f"{start} + first * (rows + 1)"), rows, solved, columns)
    block = k.at(matrix, f"{start} + {'other + first * rows' if trans else 'first + other * rows'}")
    minus, target = k.at("factors", "1"), k.at("o", "to + other * columns")
    update = k.call("gemm", k.char("N"), flag, columns, rest, count, minus, solved, columns, block, rows, k.at("factors"), target, columns)
    return [
        "for step in range((rows + width - 1) // width):",
        "    first = " + ("step * width" if ascending else "(rows - 1) // width * width - step * width"),
        "    size_of = min(width, rows - first)",
        "    other = " + ("first + size_of" if ascending else "0"),
        f"    {k.assign('count', 'size_of')}",
        f"    {k.assign('rest', 'rows - other' if ascending else 'first')}",
        *["    " + line for line in solve],
        f"    if {'other < rows' if ascending else 'first > 0'}:",
        *["        " + line for line in update],
    ]


def _is_few(k: Kernel) -> bool:
    """Is the system so small that a routine costs more in its calls than in its work?"""
    rows, columns = k.matrix[0], k.node.aval.shape[-1]
    return rows <= FEW and rows * rows * columns <= FEW**3 and k.dtype.kind == "f" and not is_any()


def _in_columns(k: Kernel, places: list[str], triangles: list[Triangle], targets: list[str]) -> list[str]:
    """A small system, one right-hand side after the other: rows of `x` at `places`, solved by triangles, go to `targets` of the result.

    The rows of a result do not overlap, so that each has a pointer of its own.
    """
    values = [f"v{i}" for i in range(len(places))]
    lines = [f"{value} = load(x, {place} + c)" for value, place in zip(values, places, strict=True)]
    for triangle in triangles:
        _substitute(triangle, values, lines)
    number = k.places.pop("o")
    for i, (value, target) in enumerate(zip(values, targets, strict=True)):
        k.places[f"o{i}"] = number
        lines.append(f"store(o{i}, {target} + c, {value})")
    loop = "range" if k.node.aval.shape[-1] >= WIDE else "singles"
    return [f"for c in {loop}(columns):", *["    " + line for line in lines]]


def _substitute(triangle: Triangle, values: list[str], lines: list[str]) -> None:
    """Solve with a small triangle, row after row: the variables of the rows become those of the solution."""
    count = len(values)
    order = range(count) if triangle.lower != triangle.trans else range(count - 1, -1, -1)

    def entry(i: int, j: int) -> str:
        return f"load({triangle.matrix}, {triangle.start} + {j * count + i if triangle.trans else i * count + j})"

    for step, i in enumerate(order):
        for j in order[:step]:
            lines.append(f"s{len(lines)} = {values[i]} - {entry(i, j)} * {values[j]}")
            values[i] = f"s{len(lines) - 1}"
        if not triangle.unit:
            lines.append(f"s{len(lines)} = {values[i]} / {entry(i, i)}")
            values[i] = f"s{len(lines) - 1}"


def _system(k: Kernel) -> None:
    """Pointers and extents of a system with right-hand sides `x`."""
    rows, columns = k.matrix[0], k.node.aval.shape[-1]
    k.extent("rows", rows)
    k.extent("columns", columns)
    k.extent("width", 16 if rows * columns >= 1024 and rows < 128 else rows)
    k.operand("x", 1)
    k.result()
    if _is_few(k):
        return
    k.one_and_zero("one")
    k.scratch("factors", 2)
    k.add(f"store(factors, 0, {literal(1, k.dtype)})", f"store(factors, 1, {literal(-1, k.dtype)})")


def _solve_triangular(k: Kernel) -> Row:
    params = k.node.params
    k.operand("a", 0)
    _system(k)
    if not params["unit"]:
        k.add("for i in range(rows):", f"    if load(a, b * rows * rows + i * rows + i) == {k.zero()}:", f"        return {FAILED}")
    triangle = Triangle("a", "b * rows * rows", params["lower"], params["trans"], params["unit"])
    k.add("to = b * rows * columns")
    if _is_few(k):
        rows = [f"to + {i} * columns" for i in range(k.matrix[0])]
        k.add(_in_columns(k, rows, [triangle], rows))
    else:
        k.add("for i in range(rows * columns):", "    store(o, to + i, load(x, to + i))", _solve_rows(k, triangle))
    return k.row(k.matrix[0] ** 2 * k.node.aval.shape[-1])


# ---- LU ----


def _lu(k: Kernel) -> Row:
    m, n = k.matrix
    k.extent("rows", m)
    k.extent("columns", n)
    k.extent("least", min(m, n))
    k.operand("a", 0)
    k.result()
    k.scratch("w", m * n)
    k.scratch("pivots", min(m, n), k.integer)
    k.add("to = b * (rows * columns + least + rows)", k.transposed("a", "b * rows * columns", "w", "rows", "columns"))
    k.add(k.check("getrf", k.whole("rows"), k.whole("columns"), k.at("w"), k.whole("rows"), k.at("pivots"), fails=""))
    k.add(k.by_rows("w", "rows", "o", "to", "rows", "columns"))
    if min(m, n) > FEW:  # the triangles of larger ones are solved by routines, which may multiply with inverses
        k.add(k.finite("w", "0", "rows * columns"))
    k.add(
        "to += rows * columns",
        "for i in range(least):",
        f"    store(o, to + i, {conversion('as_int64(load(pivots, i)) - 1', INT64, k.dtype)})",
        "to += least",
        "for i in range(rows):",
        f"    store(o, to + i, {conversion('i', INT64, k.dtype)})",
        "for i in range(least):",
        "    other = as_int64(load(pivots, i)) - 1",
        "    kept = load(o, to + i)",
        "    store(o, to + i, load(o, to + other))",
        "    store(o, to + other, kept)",
    )
    return k.row(m * n * min(m, n))


def _row_order(k: Kernel) -> Row:
    """Exchange i with pivots[i], one after the other."""
    *lead, n = k.node.aval.shape
    k.extent("batch", math.prod(lead))
    k.extent("rows", n)
    k.operand("pivots", 0)
    k.result()
    k.add("at = b * rows", "for i in range(rows):", "    store(o, at + i, i)", "for i in range(rows):")
    k.add("    j = as_int64(load(pivots, at + i))", "    if j < 0 or j >= rows:", f"        return {FAILED}")
    k.add("    v = load(o, at + i)", "    store(o, at + i, load(o, at + j))", "    store(o, at + j, v)")
    return k.row(4 * n)


def _solve(k: Kernel) -> Row:
    """By the packed factor: a[order] = L U."""
    trans = k.node.params["trans"]
    k.operand("f", 2)
    _system(k)
    index = conversion("load(f, at + {0})", k.dtype, INT64)
    k.add(
        "at = b * (rows * rows + 2 * rows)",
        "to = b * rows * columns",
        "for i in range(rows):",
        f"    if load(f, at + i * rows + i) == {k.zero()}:",
        f"        return {FAILED}",
    )
    triangles = [Triangle("f", "at", True, trans, True), Triangle("f", "at", False, trans, False)]
    if trans:
        triangles.reverse()
    if _is_few(k):
        count = k.matrix[0]
        k.add([f"j{i} = to + {index.format(count * count + count + i)} * columns" for i in range(count)])
        rows, ordered = [f"to + {i} * columns" for i in range(count)], [f"j{i}" for i in range(count)]
        k.add(_in_columns(k, rows, triangles, ordered) if trans else _in_columns(k, ordered, triangles, rows))
        return k.row(2 * k.matrix[0] ** 2 * k.node.aval.shape[-1])
    k.add("for i in range(rows):", f"    j = {'i' if trans else index.format('rows * rows + rows + i')}")
    k.add("    for c in range(columns):", "        store(o, to + i * columns + c, load(x, to + j * columns + c))")
    for triangle in triangles:
        k.add(_solve_rows(k, triangle))
    if trans:
        k.add(
            "for r in range(rows):",
            "    i = rows - 1 - r",
            f"    j = {index.format('rows * rows + i')}",
            "    if i != j:",
            "        for c in range(columns):",
            "            kept = load(o, to + i * columns + c)",
            "            store(o, to + i * columns + c, load(o, to + j * columns + c))",
            "            store(o, to + j * columns + c, kept)",
        )
    return k.row(2 * k.matrix[0] ** 2 * k.node.aval.shape[-1])


def _inverse(k: Kernel, name: str, start: str) -> tuple[list[str], list[str]]:
    """Factorise and invert the matrix of extent `rows` at `start` in place; a row order or a column order stays what it is."""
    n = k.matrix[0]
    best = inverse_work(n, k.dtype)
    k.scratch("pivots", n, k.integer)
    k.scratch("work", best)
    k.extent("length", best)
    size = k.whole("rows")
    factor = k.check("getrf", size, size, k.at(name, start), size, k.at("pivots"))
    return factor, k.check("getri", size, k.at(name, start), size, k.at("pivots"), k.at("work"), k.whole("length"))


def _inv(k: Kernel) -> Row:
    k.extent("rows", k.matrix[0])
    k.operand("a", 0)
    k.result()
    k.add("at = b * rows * rows", k.finite("a", "at", "rows * rows"))
    k.add("for i in range(rows * rows):", "    store(o, at + i, load(a, at + i))", *_inverse(k, "o", "at"))
    return k.row(2 * k.matrix[0] ** 3)


def _sign_and_log(k: Kernel, entry: str, swapped: str) -> list[str]:
    """Sign and log of the modulus of the product of the diagonal, as numpy accumulates them."""
    is_complex = k.dtype.kind == "c"
    size = f"hypot(real({entry}), imag({entry}))" if is_complex else f"fabs({entry})"
    one, zero = literal(1, k.dtype), literal(0, real_dtype(k.dtype))
    minus = f"sign = {literal(-1, k.dtype)} * sign" if is_complex else "sign = -sign"
    turn = times("sign", f"({entry} / size_of)", k.dtype) if is_complex else f"select({entry} < 0, -sign, sign)"
    return [
        f"sign = {one}",
        f"total = {zero}",
        "for i in range(rows):",
        f"    if {swapped} != i:",
        f"        {minus}",
        f"    size_of = {size}",
        f"    if size_of == {zero}:",
        f"        sign = {literal(0, k.dtype)}",
        "        total = -" + literal(math.inf, real_dtype(k.dtype)),
        "        break",
        f"    sign = {turn}",
        f"    total = {plus('total', 'log(size_of)', real_dtype(k.dtype))}",
    ]


def _determinant(k: Kernel, packed: bool) -> Row:
    k.extent("rows", k.matrix[0])
    k.operand("f", 1)
    k.result()
    swapped = conversion("load(f, at + rows * rows + i)", k.dtype, INT64)
    k.add("at = b * (rows * rows + 2 * rows)")
    k.add(_sign_and_log(k, "load(f, at + i * rows + i)", swapped))
    if packed:
        k.add("store(o, 2 * b, sign)", f"store(o, 2 * b + 1, {conversion('total', real_dtype(k.dtype), k.dtype)})")
    else:
        k.add(f"store(o, b, {times('sign', conversion('exp(total)', real_dtype(k.dtype), k.dtype), k.dtype)})")
    return k.row(20 * k.matrix[0])


def _cofactor(k: Kernel) -> Row:
    """det(a) a^-T; close to singular it answers FAILED, and Python takes the singular values."""
    n = k.matrix[0]
    k.extent("rows", n)
    k.operand("a", 0)
    k.result()
    k.scratch("w", n * n)
    real = real_dtype(k.dtype)
    zero = literal(0, real)
    factor, invert = _inverse(k, "w", "0")

    def largest_column_sum(name: str) -> list[str]:
        entry = "load(w, j * rows + i)"
        size = f"hypot(real({entry}), imag({entry}))" if k.dtype.kind == "c" else f"fabs({entry})"
        return [
            f"{name} = {zero}",
            "for j in range(rows):",
            f"    s = {zero}",
            "    for i in range(rows):",
            f"        s = {plus('s', size, real)}",
            f"    {name} = select(s > {name}, s, {name})",
        ]

    limit = literal(10.0 / math.sqrt(float(np.finfo(k.dtype).eps)), real)
    k.add(k.transposed("a", "b * rows * rows", "w", "rows", "rows"), largest_column_sum("before"), factor)
    k.add(_sign_and_log(k, "load(w, i * rows + i)", "as_int64(load(pivots, i)) - 1"), invert, largest_column_sum("after"))
    k.add(
        f"if not before * after < {limit}:",
        f"    return {FAILED}",
        f"d = {times('sign', conversion('exp(total)', real, k.dtype), k.dtype)}",
        "for i in range(rows * rows):",
        f"    store(o, b * rows * rows + i, {times('d', 'load(w, i)', k.dtype)})",
    )
    return k.row(2 * n**3)


# ---- eigenvalues ----


def _eigen(k: Kernel, vectors: bool) -> Row:
    """By divide and conquer (syevd, heevd), or scipy's default (syevr, heevr)."""
    n = k.matrix[0]
    is_complex, real = k.dtype.kind == "c", real_dtype(k.dtype)
    relative = k.node.params.get("driver") == "evr"
    k.extent("rows", n)
    k.operand("a", 0)
    k.result()
    k.scratch("w", n * n)
    k.scratch("values", n, real)
    name = ("he" if is_complex else "sy") + ("evr" if relative else "evd")
    jobs = ("V", "A") if relative else ("V" if vectors else "N",)
    matrix, values = ("L", n, None, n), (*([None] * 8), n, None) if relative else (None,)
    asked = [k.dtype, *([real] if is_complex else []), k.integer]
    best = best_work(f"{PREFIX[k.dtype.name]}{name}", *jobs, *matrix, *values, *asked, integer=k.integer)
    work, whole, reals = best[0], best[-1], best[1] if is_complex else 0
    work, whole, reals = max(work, 26 * n, 1 + 6 * n + 2 * n * n), max(whole, 10 * n, 3 + 5 * n), max(reals, 24 * n, 1 + 5 * n + 2 * n * n)
    spaces = [("work", work, k.dtype)] + ([("reals", reals, real)] if is_complex else []) + [("wholes", whole, k.integer)]
    tail: list[str] = []
    for space, count, dtype in spaces:
        k.scratch(space, count, dtype)
        tail += [k.at(space), k.whole(k.extent(f"num_{space}", count))]
    size, triangle = k.whole("rows"), k.char("L" if k.node.params["lower"] else "U")
    if relative:
        k.scratch("z", n * n)
        k.scratch("support", 2 * n, k.integer)
        k.scratch("found", 2, k.integer)
        k.scratch("bounds", 2, real)
        k.add(f"store(bounds, 0, {literal(0, real)})")
        zero = k.at("bounds")
        found = [k.at("found"), k.at("values"), k.at("z"), size, k.at("support")]
        call = k.check(name, k.char("V"), k.char("A"), triangle, size, k.at("w"), size, zero, zero, k.whole(1), size, zero, *found, *tail)
    else:
        call = k.check(name, k.char("V" if vectors else "N"), triangle, size, k.at("w"), size, k.at("values"), *tail)
    k.add(k.transposed("a", "b * rows * rows", "w", "rows", "rows"), call)
    k.add("to = b * (rows + rows * rows)" if vectors else "to = b * rows", "for i in range(rows):")
    k.add(f"    store(o, to + i, {conversion('load(values, i)', real, k.node.aval.dtype)})")
    if vectors:
        k.add(k.by_rows("z" if relative else "w", "rows", "o", "to + rows", "rows", "rows"))
    return k.row((9 if vectors else 2) * n**3)


# ---- singular values ----


def _singular(k: Kernel, job: str) -> tuple[int, int, int]:
    """Copy the matrix and call gesdd: values in `values`, bases by columns in `u` and `vt`."""
    m, n = k.matrix
    least, most = min(m, n), max(m, n)
    is_complex, real = k.dtype.kind == "c", real_dtype(k.dtype)
    left, right = (m, n) if job == "A" else (least, least)
    k.extent("rows", m)
    k.extent("columns", n)
    k.extent("least", least)
    k.scratch("w", m * n)
    k.scratch("values", least, real)
    sizes = (m, n, None, m, None, None, m, None, right)
    best = best_work(f"{PREFIX[k.dtype.name]}gesdd", job, *sizes, k.dtype, *([None] * (1 + is_complex)), integer=k.integer)[0]
    k.scratch("u", m * left if job != "N" else 1)
    k.scratch("vt", right * n if job != "N" else 1)
    k.scratch("wholes", 8 * least, k.integer)
    best = max(best, 4 * least * least + 6 * least + most + least if job != "N" else 3 * least + max(most, 7 * least))
    k.scratch("work", best)
    k.extent("length", best)
    arguments = [k.at("work"), k.whole("length")]
    if is_complex:
        k.scratch("reals", max(7 * least, 5 * least * least + 5 * least, 2 * most * least + 2 * least * least + least), real)
        arguments.append(k.at("reals"))
    k.add(k.transposed("a", "b * rows * columns", "w", "rows", "columns"))
    k.extent("right", right)
    size = [k.whole("rows"), k.whole("columns"), k.at("w"), k.whole("rows"), k.at("values"), k.at("u"), k.whole("rows"), k.at("vt")]
    k.add(k.check("gesdd", k.char(job), *size, k.whole("right"), *arguments, k.at("wholes")))
    return m, n, left


def _svd(k: Kernel) -> Row:
    k.operand("a", 0)
    k.result()
    m, n, left = _singular(k, "A" if k.node.params["full"] else "S")
    k.extent("left", left)
    k.add(
        "to = b * (rows * left + least + right * columns)",
        k.by_rows("u", "rows", "o", "to", "rows", "left"),
        "to += rows * left",
        "for i in range(least):",
        f"    store(o, to + i, {conversion('load(values, i)', real_dtype(k.dtype), k.dtype)})",
        k.by_rows("vt", "right", "o", "to + least", "right", "columns"),
    )
    return k.row(8 * m * n * min(m, n))


def _svdvals(k: Kernel) -> Row:
    k.operand("a", 0)
    k.result()
    m, n, _ = _singular(k, "N")
    k.add("for i in range(least):", "    store(o, b * least + i, load(values, i))")
    return k.row(4 * m * n * min(m, n))


def _pinv(k: Kernel) -> Row:
    """V S^-1 U^H over the singular values above the cutoff; by columns its transpose, conj(U S^-1 V^H)."""
    k.operand("a", 0)
    k.result()
    m, n, _ = _singular(k, "S")
    real = real_dtype(k.dtype)
    k.one_and_zero("one")
    over = f"{literal(1, real)} / s"
    k.add(
        f"limit = {times(literal(k.node.params['rcond'], real), 'load(values, 0)', real)}",
        "for j in range(least):",
        "    s = load(values, j)",
        f"    s = {over} if s > limit else {literal(0, real)}",
        "    for i in range(rows):",
        f"        store(u, j * rows + i, {times('load(u, j * rows + i)', conversion('s', real, k.dtype), k.dtype)})",
        "to = b * rows * columns",
        k.call(
            "gemm", k.char("N"), k.char("N"), k.whole("rows"), k.whole("columns"), k.whole("least"), k.at("one"), k.at("u"),
            k.whole("rows"), k.at("vt"), k.whole("right"), k.at("one", "1"), k.at("o", "to"), k.whole("rows"),
        ),
    )  # fmt: skip
    if k.dtype.kind == "c":
        k.add("for i in range(rows * columns):", "    store(o, to + i, conj(load(o, to + i)))")
    return k.row(10 * m * n * min(m, n))


# ---- QR ----


def _qr(k: Kernel) -> Row:
    m, n = k.matrix
    least = min(m, n)
    width = m if k.node.params["full"] else least
    k.extent("rows", m)
    k.extent("columns", n)
    k.extent("least", least)
    k.extent("width", width)
    k.operand("a", 0)
    k.result()
    prefix = PREFIX[k.dtype.name]
    best = max(best_work(f"{prefix}geqrf", m, n, None, m, None, k.dtype, integer=k.integer)[0], 64 * width)
    k.extent("length", best)
    k.scratch("w", m * max(n, width))
    k.scratch("tau", least)
    k.scratch("work", best)
    rest = [k.at("w"), k.whole("rows"), k.at("tau"), k.at("work"), k.whole("length")]
    k.add(k.transposed("a", "b * rows * columns", "w", "rows", "columns"))
    k.add(k.check("geqrf", k.whole("rows"), k.whole("columns"), *rest))
    k.add(
        "to = b * (rows * width + width * columns)",
        "at = to + rows * width",
        "for i in range(width):",
        "    for j in range(columns):",
        f"        store(o, at + i * columns + j, load(w, j * rows + i) if j >= i else {k.zero()})",
        k.check("ungqr" if k.dtype.kind == "c" else "orgqr", k.whole("rows"), k.whole("width"), k.whole("least"), *rest),
        k.by_rows("w", "rows", "o", "to", "rows", "width"),
    )
    return k.row(4 * m * n * least)


KERNELS: dict[str, Callable[[Kernel], Row]] = {
    "cholesky": _cholesky,
    "cofactor": _cofactor,
    "det": lambda k: _determinant(k, False),
    "eigh": lambda k: _eigen(k, True),
    "eigvalsh": lambda k: _eigen(k, False),
    "inv": _inv,
    "lu": _lu,
    "pinv": _pinv,
    "qr": _qr,
    "row_order": _row_order,
    "slogdet": lambda k: _determinant(k, True),
    "solve": _solve,
    "solve_triangular": _solve_triangular,
    "svd": _svd,
    "svdvals": _svdvals,
}

__all__ = ["KERNELS", "row"]
