"""Kernels of products of several matrices, and of products with a factor (`irgrad.ops.products`).

A kernel is a sequence of BLAS calls over work space. Where the order is not the one that was written, the result is looked through: with
anything in it that is not finite it is computed again as written, so that infinities and nan are where numpy has them. A factor is
given to BLAS where it is neither zero nor extreme; elsewhere BLAS would leave out 0 * inf, or overflow early, and numbers are scaled
one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from irgrad.codegen.lowered import Ref, Row
from irgrad.codegen.products import SMALL, matrix_of, operand_of
from irgrad.codegen.scalar import literal, plus, times
from irgrad.ir.aval import real_dtype
from irgrad.ir.graph import Literal, Node
from irgrad.ir.plan import contiguous, layout_of
from irgrad.ops.blas import PREFIX
from irgrad.ops.products import Tree, is_scaled

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering

MODERATE = {"float32": (1e-10, 1e10), "float64": (1e-100, 1e100)}  # factors that BLAS gets


@dataclass(frozen=True, slots=True)
class Matrix:
    """Memory of a kernel as a matrix: its pointer, extents and strides in elements."""

    pointer: int
    shape: tuple[int, int]
    strides: tuple[int, int]

    @property
    def by_rows(self) -> bool:
        return layout_of(self.shape, self.strides)[0]

    @property
    def leading(self) -> int:
        """What BLAS calls the leading dimension."""
        rows, columns = self.shape
        return max(self.strides[0], columns, 1) if self.by_rows else max(self.strides[1], rows, 1)


def product(lowering: _Lowering, node: Node) -> Row:
    return _Kernel(lowering, node, 0).product()


def product_add(lowering: _Lowering, node: Node) -> Row:
    return _Kernel(lowering, node, 1).added()


class _Kernel:
    """Text and tables of one kernel while it is written."""

    def __init__(self, lowering: _Lowering, node: Node, first: int) -> None:
        self.lowering, self.node, self.first = lowering, node, first
        self.dtype = node.aval.dtype
        self.name = self.dtype.name
        self.pointers: list[Ref | str] = []
        self.work: list[tuple[int, int]] = []  # pointer, offset in the work space
        self.room = 0
        self.sizes: list[int] = []
        self.lines: list[str] = []
        self.flops = 0
        self.factor: str = node.params["factor"]
        self.negative: bool = node.params["negative"]
        self.out = self.pointer(lowering.ref(lowering.view(node)))
        if self.factor:
            self.read_factor(node.operands[-1])

    # -- tables --

    def pointer(self, ref: Ref | str) -> int:
        if ref in self.pointers:
            return self.pointers.index(ref)
        self.pointers.append(ref)
        return len(self.pointers) - 1

    def size(self, value: int) -> str:
        self.sizes.append(value)
        return f"n{len(self.sizes) - 1}"

    def scratch(self, count: int) -> int:
        self.work.append((self.pointer(Ref(("buffer", -1), len(self.work))), self.room))
        self.room += -(-count * self.dtype.itemsize // 64) * 64
        return self.work[-1][0]

    def operand(self, position: int) -> Matrix:
        ref, shape, strides, _ = operand_of(self.lowering, self.node, position + self.first)
        left = position == 0
        extents, steps = matrix_of(shape, strides, left)
        return Matrix(self.pointer(ref), extents, steps)

    def read_factor(self, factor: Node | Literal) -> None:
        """`f` is the factor, `a` what BLAS multiplies with."""
        if isinstance(factor, Literal):
            self.add(f"f = {literal(factor.value, self.dtype)}")
        else:
            ref = self.lowering.ref(self.lowering.view(factor))
            self.add(f"f = load(p{self.pointer(ref)}, 0)")
        self.add(f"a = {literal(1, self.dtype)} / f" if self.factor == "div" else "a = f")

    # -- text --

    def add(self, *lines: str, depth: int = 1) -> None:
        self.lines += ["    " * depth + line for line in lines]

    def scaled(self, value: str, signed: bool = True) -> str:
        """The text of a number with the factor and the sign."""
        text = {"": value, "mul": f"f * ({value})", "div": f"({value}) / f"}[self.factor]
        return f"-({text})" if self.negative and signed else text

    def moderate(self) -> str:
        low, high = (literal(bound, self.dtype) for bound in MODERATE[self.name])
        return f"fabs(a) > {low} and fabs(a) < {high}"

    def each(self, out: int, count: int, text: str, depth: int) -> None:
        """Replace each number `x` in memory."""
        self.add(f"for i in range({self.size(count)}):", f"    x = load(p{out}, i)", f"    store(p{out}, i, {text})", depth=depth)

    def multiply(self, x: Matrix, y: Matrix, out: int, depth: int, factors: str = "") -> Matrix:
        """out = x y, with `factors` (the text of an address) of the product and of what is there; loops where it is small."""
        (rows, inner), columns = x.shape, y.shape[1]
        self.flops += 2 * rows * inner * columns
        made = Matrix(out, (rows, columns), (columns, 1))
        if rows * inner * columns < SMALL or inner == 1:
            self.loops(x, y, out, depth)
            return made
        one = factors or f"size(p, {self.pointer(f'one_zero_{self.name}')})"
        width = self.dtype.itemsize
        if rows > 1 and columns > 1:
            flags = [ord("N" if m.by_rows else "T") for m in (x, y)]
            values = [self.size(n) for n in (columns, rows, inner, y.leading, x.leading, columns)]
            lines = [f"put(t, {k}, {value})" for k, value in enumerate(values)]
            lines += [f"put(t, 6, {flags[1]})", f"put(t, 7, {flags[0]})"]
            call = f"(t + 48, t + 56, t, t + 8, t + 16, {one}, size(p, {y.pointer}), t + 24, size(p, {x.pointer}), t + 32, "
            self.add(*lines, f"call_blas(size(p, {self.routine('gemm')}), {call}{one} + {width}, size(p, {out}), t + 40))", depth=depth)
            return made
        matrix, vector = (x, y) if columns == 1 else (y, x)
        step = max(y.strides[0] if columns == 1 else x.strides[1], 1) if inner > 1 else 1
        # by columns, where BLAS looks from, a matrix by rows is its transpose
        m, n = matrix.shape[::-1] if matrix.by_rows else matrix.shape
        flag = ord("T") if (columns == 1) == matrix.by_rows else ord("N")
        values = [self.size(value) for value in (m, n, matrix.leading, step, 1)]
        lines = [f"put(t, {k}, {value})" for k, value in enumerate(values)]
        call = f"(t + 40, t, t + 8, {one}, size(p, {matrix.pointer}), t + 16, size(p, {vector.pointer}), t + 24, "
        lines += [f"put(t, 5, {flag})", f"call_blas(size(p, {self.routine('gemv')}), {call}{one} + {width}, size(p, {out}), t + 32))"]
        self.add(*lines, depth=depth)
        return made

    def routine(self, name: str) -> int:
        return self.pointer(f"{PREFIX[self.name]}{name}")

    def loops(self, x: Matrix, y: Matrix, out: int, depth: int) -> None:
        (rows, inner), columns = x.shape, y.shape[1]
        x0, x1, y0, y1 = (self.size(s) for s in (*x.strides, *y.strides))
        at = f"i * {self.size(columns)} + j"
        lines = [f"for i in range({self.size(rows)}):", f"    for j in range({self.size(columns)}):"]
        if inner == 1:
            lines += [f"        store(p{out}, {at}, {times(f'load(p{x.pointer}, i * {x0})', f'load(p{y.pointer}, j * {y1})', self.dtype)})"]
        else:
            term = times(f"load(p{x.pointer}, i * {x0} + k * {x1})", f"load(p{y.pointer}, k * {y0} + j * {y1})", self.dtype)
            lines += [f"        total = {literal(0, self.dtype)}", f"        for k in range({self.size(inner)}):"]
            lines += [f"            total = {plus('total', term, self.dtype)}", f"        store(p{out}, {at}, total)"]
        self.add(*lines, depth=depth)

    def compute(self, tree: Tree, out: int | None, depth: int, factors: str = "") -> Matrix:
        """The value of a tree, in memory `out` if it is given."""
        if isinstance(tree, int):
            return self.operand(tree)
        if is_scaled(tree):
            x = self.compute(tree[1], None, depth)
            made = Matrix(self.scratch(math.prod(x.shape)), x.shape, contiguous(x.shape))  # type: ignore[arg-type]
            s0, s1 = (self.size(s) for s in x.strides)
            value = self.scaled(f"load(p{x.pointer}, i * {s0} + j * {s1})", signed=False)
            self.add(
                f"for i in range({self.size(x.shape[0])}):",
                f"    for j in range({self.size(x.shape[1])}):",
                f"        store(p{made.pointer}, i * {self.size(x.shape[1])} + j, {value})",
                depth=depth,
            )
            return made
        for place in (0, 1):
            if self.is_outer(tree[place]) and self.extents(tree)[place ^ 1] == 1:
                return self.outer_times(tree[place], self.compute(tree[place ^ 1], None, depth), out, depth, place == 1)
        x, y = (self.compute(part, None, depth) for part in tree)
        if out is None:
            out = self.scratch(x.shape[0] * y.shape[1])
        return self.multiply(x, y, out, depth, factors)

    def is_outer(self, tree: Tree) -> bool:
        """Is a part of the order as written an outer product of two operands, perhaps scaled?"""
        plain = tree[1] if is_scaled(tree) else tree
        return not isinstance(plain, int) and all(isinstance(part, int) for part in plain) and self.extents(plain[0])[1] == 1

    def outer_times(self, tree: Tree, vector: Matrix, out: int | None, depth: int, turned: bool) -> Matrix:
        """An outer product times a vector behind it (in front of it where `turned`), without memory for the matrix."""
        column, row = (self.operand(part) for part in (tree[1] if is_scaled(tree) else tree))
        rows, columns = column.shape[0], row.shape[1]
        length, terms = (columns, rows) if turned else (rows, columns)
        shape, strides = ((1, length), (length, 1)) if turned else ((length, 1), (1, 1))
        made = Matrix(self.scratch(length) if out is None else out, shape, strides)
        c0, r1, v0 = (self.size(s) for s in (column.strides[0], row.strides[1], vector.strides[1 if turned else 0]))
        i, k = ("k", "i") if turned else ("i", "k")
        entry = times(f"load(p{column.pointer}, {i} * {c0})", f"load(p{row.pointer}, {k} * {r1})", self.dtype)
        entry = self.scaled(entry, signed=False) if is_scaled(tree) else entry
        other = f"load(p{vector.pointer}, k * {v0})"
        term = times(other, f"({entry})", self.dtype) if turned else times(f"({entry})", other, self.dtype)
        self.add(
            f"for i in range({self.size(length)}):",
            f"    total = {literal(0, self.dtype)}",
            f"    for k in range({self.size(terms)}):",
            f"        total = {plus('total', term, self.dtype)}",
            f"    store(p{made.pointer}, i, total)",
            depth=depth,
        )
        self.flops += 3 * rows * columns
        return made

    # -- kernels --

    def product(self) -> Row:
        order, written = self.node.params["order"], self.node.params["written"]
        if written is None:
            self.in_order(order, 1)
            return self.row()
        real = real_dtype(self.dtype)
        zero, nan = literal(0, real), literal(math.nan, real)
        self.add(f"check = select({self.moderate()}, {zero}, {nan})" if self.factor else f"check = {zero}")
        self.add("if check == check:")
        self.in_order(order, 2, checked=True)
        self.add(f"for i in range({self.size(self.node.aval.size)}):", f"    x = load(p{self.out}, i)", depth=2)
        nothing = "x - x" if self.dtype.kind == "f" else "(real(x) - real(x)) + (imag(x) - imag(x))"  # or nan
        self.add(f"    check = add_any_order(check, {nothing})", depth=2)
        flops = self.flops
        self.add("if check != check:")
        last = is_scaled(written)
        self.compute(written[1] if last else written, self.out, 2)
        if last or self.negative:
            self.each(self.out, self.node.aval.size, self.scaled("x") if last else "-x", 2)
        self.flops = flops
        return self.row()

    def in_order(self, order: Tree, depth: int, checked: bool = False) -> None:
        """The products in the order of their cost, the factor and the sign with the last one."""
        count = self.node.aval.size
        if not self.factor and not self.negative:
            self.compute(order, self.out, depth)
            return
        if not self.factor:
            self.compute(order, self.out, depth, f"size(p, {self.pointer(f'minus_zero_{self.name}')})")
            if self.is_loops(order):
                self.each(self.out, count, "-x", depth)
            return
        if self.is_loops(order) or self.is_vector(order):
            self.compute(order, self.out, depth)
            self.each(self.out, count, self.scaled("x"), depth)
            return
        factors = self.scratch(2)
        sign = "-" if self.negative else ""
        given = f"{sign}a" if checked else f"select({self.moderate()}, {sign}a, {literal(1, self.dtype)})"
        self.add(f"store(p{factors}, 0, {given})", f"store(p{factors}, 1, {literal(0, self.dtype)})", depth=depth)
        self.compute(order, self.out, depth, f"size(p, {factors})")
        if not checked:
            self.add(f"if not ({self.moderate()}):", depth=depth)
            self.each(self.out, count, self.scaled("x"), depth + 1)

    def extents(self, tree: Tree) -> tuple[int, int]:
        if isinstance(tree, int):
            shape = self.node.operands[tree + self.first].aval.shape
            return matrix_of(shape, (0,) * len(shape), tree == 0)[0]
        if is_scaled(tree):
            return self.extents(tree[1])
        return (self.extents(tree[0])[0], self.extents(tree[1])[1])

    def is_loops(self, order: Tree) -> bool:
        """Is the last product one of loops?"""
        (rows, inner), (_, columns) = self.extents(order[0]), self.extents(order[1])
        return rows * inner * columns < SMALL or inner == 1

    def is_vector(self, order: Tree) -> bool:
        return 1 in self.extents(order)

    def added(self) -> Row:
        """A product times the factor into memory: by the call of a matrix product, or from work space."""
        x, y = self.operand(0), self.operand(1)
        count, apart = self.node.aval.size, self.is_loops((0, 1)) or self.is_vector((0, 1))
        sign = "-" if self.negative else "+"
        if not apart:
            factors = self.scratch(2)
            self.add(f"store(p{factors}, 0, {'-a' if self.negative else 'a'})", f"store(p{factors}, 1, {literal(1, self.dtype)})")
            self.add(f"if {self.moderate()}:")
            self.multiply(x, y, self.out, 2, f"size(p, {factors})")
            self.add("else:")
        flops, depth = self.flops, 1 if apart else 2
        work = self.scratch(count)
        self.multiply(x, y, work, depth)
        value = self.scaled(f"load(p{work}, i)", signed=False)
        self.each(self.out, count, f"x {sign} {value}", depth)
        self.flops = flops or self.flops
        return self.row()

    def row(self) -> Row:
        home = self.lowering.scratch(self.room) if self.work else ("buffer", -1)
        for number, offset in self.work:
            self.pointers[number] = Ref(home, offset)
        head = [f"p{k} = pointer_{self.name}(p, {k})" for k, ref in enumerate(self.pointers) if isinstance(ref, Ref)]
        head += [f"n{k} = size(n, {k})" for k in range(len(self.sizes))]
        head += ["t = stack(16)"] if any("call_blas(" in line for line in self.lines) else []
        text = "\n".join(["def kernel(p, n):", *["    " + line for line in head], *self.lines, "    return 0", ""])
        return Row(text, self.pointers, self.sizes, self.node.op.name if self.node.op is not None else "product", self.flops)


__all__ = ["MODERATE", "product", "product_add"]
