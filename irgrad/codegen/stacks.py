"""Kernels of stacks of matrix products: one product after the other, in loops over the axes of the stack.

Operands have any strides along the stack, 0 where one matrix is that of many products, and one unit stride in each matrix, so that
transposes, slices and broadcasts of stacks are read where they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from irgrad.codegen.lowered import Ref, Row
from irgrad.codegen.products import HEAD, SMALL, blas_call, few, is_few, kernel_of, operand_of
from irgrad.codegen.scalar import literal, plus, times
from irgrad.codegen.split import divide
from irgrad.ir.aval import dtype_name
from irgrad.ir.graph import Node
from irgrad.ir.plan import contiguous, layout_of
from irgrad.ops.blas import PREFIX

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering

RATE = 10.0  # multiplications a nanosecond, about
CALL = 50.0  # nanoseconds a product besides
FIRST = 7  # sizes in front of those of the stack: extents and strides of the matrices
LARGE = 1 << 20  # multiplications of one product from which BLAS has threads of its own


def batch_dot(lowering: _Lowering, node: Node) -> Row:
    """The row of a stack of products."""
    xref, xshape, xall, _ = operand_of(lowering, node, 0)
    yref, yshape, yall, _ = operand_of(lowering, node, 1)
    extents = rows, inner, columns = xshape[-2], xshape[-1], yshape[-1]
    xs, ys = (xall[-2], xall[-1]), (yall[-2], yall[-1])
    axes = _merged(xshape[:-2], xall[:-2], yall[:-2], contiguous(node.aval.shape)[:-2])
    dtype = node.aval.dtype
    sizes = [rows, columns, inner, *xs, *ys, *[number for axis in axes for number in axis]]
    pointers: list[Ref | str] = [xref, yref, lowering.ref(lowering.view(node))]
    work, batch = rows * inner * columns, math.prod(axis[0] for axis in axes)
    if is_few(extents, dtype):
        text = kernel_of(_loops(len(axes), few(extents, xs, ys, dtype, "one_zero", stack=True)), dtype)
    else:
        lines = _plain(node)
        if dtype.name in PREFIX and work >= SMALL:
            vector = 1 if columns == 1 or rows == 1 else 2
            ranks = (2, vector) if columns == 1 else (vector, 2)
            routine, call = blas_call(*ranks, layout_of((rows, inner), xs)[0], layout_of((inner, columns), ys)[0], dtype)
            for k, name in enumerate("xyo"):
                call = call.replace(f"size(p, {k})", f"size(p, {k}) + {name}b * {dtype.itemsize}")
            lines = [line.removeprefix("        ") for line in call.strip("\n").splitlines()]
            pointers += [f"{PREFIX[dtype.name]}{routine}", f"one_zero_{dtype.name}"]
        text = HEAD.format(dtype=dtype_name(dtype)) + "".join(f"    {line}\n" for line in [*_loops(len(axes), lines), "return 0"])
    row = Row(text, pointers, sizes, "batch_dot", 2 * batch * work)
    if work < LARGE and axes:
        divide(row, batch * (CALL + work / RATE), FIRST, [step * dtype.itemsize for step in axes[0][1:]] + [0] * (len(pointers) - 3))
    return row


def _merged(shape: tuple[int, ...], *strides: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Axes of a stack, extents and steps of operands and result: one axis of all that follow each other everywhere."""
    axes: list[tuple[int, ...]] = []
    for axis in zip(shape, *strides, strict=True):
        if axis[0] == 1:
            continue
        if axes and all(outer == axis[0] * step for outer, step in zip(axes[-1][1:], axis[1:], strict=True)):
            axes[-1] = (axes[-1][0] * axis[0], *axis[1:])
        else:
            axes.append(axis)
    return axes


def _loops(count: int, lines: list[str]) -> list[str]:
    """`lines` in loops over the stack."""
    made = ["    " * k + f"for b{k} in range(size(n, {FIRST + 4 * k})):" for k in range(count)]
    for j, name in enumerate("xyo", 1):
        steps = " + ".join(f"b{k} * size(n, {FIRST + 4 * k + j})" for k in range(count))
        made.append("    " * count + f"{name}b = {steps or '0'}")
    return made + ["    " * count + line for line in lines]


def _plain(node: Node) -> list[str]:
    term = times("load(x, xb + i * x0 + k * x1)", "load(y, yb + k * y0 + j * y1)", node.aval.dtype)
    return [
        "for i in range(rows):",
        "    for j in range(columns):",
        f"        total = {literal(0, node.aval.dtype)}",
        "        for k in range(inner):",
        f"            total = {plus('total', term, node.aval.dtype)}",
        "        store(o, ob + i * columns + j, total)",
    ]
