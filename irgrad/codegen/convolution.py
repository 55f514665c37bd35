"""The kernel of `correlate`: direct loops, the innermost over the longer of result and kernel.

Along a long result it adds one weight times a run of the signal; along a long kernel it accumulates products in a register. Sums
are in the order of the loops: within the bound n eps |x| |w| of a dot product. Both run in blocks that stay in the first cache.
With a margin the loops run over the places where there is a signal; a chunk knows where it starts by the pointer that stayed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.codegen.lowered import Ref, Row
from irgrad.codegen.scalar import literal, plus, times
from irgrad.codegen.split import divide
from irgrad.ir.graph import Literal, Node
from irgrad.ir.plan import View, contiguous

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering


BLOCK = 1024
PAIR = 0.1  # nanoseconds of a product and a sum of float64


class _Text:
    """Lines of nested loops, and the sizes they read."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.sizes: list[int] = []
        self.depth = 1

    def size(self, value: int) -> str:
        self.sizes.append(value)
        return f"size(n, {len(self.sizes) - 1})"

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def loop(self, name: str, extent: str) -> None:
        self.line(f"for {name} in range({extent}):")
        self.depth += 1

    def blocks(self, name: str, extent: str) -> None:
        """Over the first indices of blocks."""
        self.line(f"for {name} in range(0, {extent}, {BLOCK}):")
        self.depth += 1

    def within(self, name: str, block: str, extent: str, bounds: tuple[str, str] | None = None) -> None:
        """Over one block, or the part of it inside of bounds."""
        first, last = block, f"min({block} + {BLOCK}, {extent})"
        if bounds is not None:
            first, last = f"max({first}, {bounds[0]})", f"min({last}, {bounds[1]})"
        self.line(f"for {name} in range({first}, {last}):")
        self.depth += 1


def correlate(lowering: _Lowering, node: Node) -> Row:
    """The row of a correlation."""
    views = [_view(lowering, node, position) for position in (0, 1)]
    (x_shape, x), (w_shape, w) = ((node.operands[i].aval.shape, view.strides) for i, view in enumerate(views))
    shape, dtype = node.aval.shape, node.aval.dtype
    o = contiguous(shape)
    along_result = shape[-1] >= w_shape[-1]
    text = _Text()
    steps = {"x": [text.size(s) for s in x], "w": [text.size(s) for s in w], "o": [text.size(s) for s in o]}
    extents = {"o": [text.size(n) for n in shape], "m": [text.size(n) for n in w_shape]}
    deep = text.size(x_shape[1])
    low = node.params.get("low")
    if low is not None:
        _margins(text, low, x_shape[2:], dtype.itemsize)
    for name in ("x", "w", "o"):
        for axis, step in enumerate(steps[name]):
            text.line(f"{name}{axis} = {step}")
    text.loop("a", extents["o"][0])
    text.loop("b", extents["o"][1])
    _loops(text, extents, deep, x, w, dtype, low is not None, along_result)
    pointer = f"scoped_{dtype.name}"  # the result is new memory
    head = ["def kernel(p, n):", *(f"    {name} = {pointer}(p, {i}, {int(name == 'o')}, 2)" for i, name in enumerate("xwo"))]
    pointers: list[Ref | str] = [lowering.ref(view) for view in (*views, lowering.view(node))]
    if low is not None:
        pointers.append(pointers[2])
    flops = 2 * math.prod(shape) * math.prod(w_shape[1:])
    row = Row("\n".join([*head, *text.lines, "    return 0", ""]), pointers, text.sizes, "correlate", flops)
    _divide(row, x, w, o, node, along_result)
    return row


def _loops(
    text: _Text,
    extents: dict[str, list[str]],
    deep: str,
    x: tuple[int, ...],
    w: tuple[int, ...],
    dtype: np.dtype[Any],
    margin: bool,
    along_result: bool,
) -> None:
    """The result of one signal and one kernel: zeros, and what the rows of the kernel add."""
    zero, count = literal(0, dtype), len(x) - 2
    start = text.depth
    text.line("base = a * o0 + b * o1")
    for k in range(count):
        text.loop(f"i{k}", extents["o"][2 + k])
    text.line(f"store(o, base + {_at('i', 'o', count - 1)}i{count - 1}, {zero})")
    text.depth = start
    text.loop("d", deep)
    outer = count - 1
    for k in range(outer):
        text.loop(f"m{k}", extents["m"][2 + k])
    for k in range(outer):
        if not margin:
            text.loop(f"i{k}", extents["o"][2 + k])
        else:
            text.line(f"for i{k} in range(max(0, low{k} - m{k}), min({extents['o'][2 + k]}, low{k} + n{k} - m{k})):")
            text.depth += 1
    moved = ["" if not margin else f" - low{k}" for k in range(count)]
    text.line(f"xs = a * x0 + d * x1{''.join(f' + (i{k} + m{k}{moved[k]}) * x{k + 2}' for k in range(outer))}")
    text.line(f"ws = b * w0 + d * w1{''.join(f' + m{k} * w{k + 2}' for k in range(outer))}")
    text.line(f"os = base{''.join(f' + i{k} * o{k + 2}' for k in range(outer))}")
    _rows(text, extents, x[-1], w[-1], dtype, margin, along_result)


def _rows(text: _Text, extents: dict[str, list[str]], x: int, w: int, dtype: np.dtype[Any], margin: bool, along_result: bool) -> None:
    """Rows of the signal and of the kernel, of these strides, to a row of the result."""
    last = len(extents["o"]) - 3
    last_x = "" if x == 1 else f" * x{last + 2}"  # a unit stride is text: the vectoriser asks
    last_w = "" if w == 1 else f" * w{last + 2}"
    shift = "m" if not margin else f"(m - low{last})"
    if along_result:
        text.blocks("c", extents["o"][-1])
        text.loop("m", extents["m"][-1])
        text.line(f"weight = load(w, ws + m{last_w})")
        text.line(f"first = xs + {shift}{last_x}")
        text.within("i", "c", extents["o"][-1], None if not margin else (f"low{last} - m - at", f"low{last} + n{last} - m - at"))
        term = times("weight", f"load(x, first + i{last_x})", dtype)
        text.line(f"store(o, os + i, {plus('load(o, os + i)', term, dtype)})")
    else:
        text.blocks("c", extents["m"][-1])
        text.loop("i", extents["o"][-1])
        text.line(f"first = xs + {'i' if not margin else f'(i - low{last})'}{last_x}")
        text.line(f"total = {literal(0, dtype)}")
        text.within("m", "c", extents["m"][-1], None if not margin else (f"low{last} - i - at", f"low{last} + n{last} - i - at"))
        term = times(f"load(x, first + m{last_x})", f"load(w, ws + m{last_w})", dtype)
        add = "add_any_order(total, {})" if dtype.kind in "fc" else "{}"
        text.line(f"total = {add.format(term if dtype.kind in 'fc' else plus('total', term, dtype))}")
        text.depth -= 1
        text.line(f"store(o, os + i, {plus('load(o, os + i)', 'total', dtype)})")


def _margins(text: _Text, low: tuple[int, ...], lengths: tuple[int, ...], width: int) -> None:
    """How long the signal is and what is in front of it, and how far along the last axis a chunk is."""
    for k, (a, n) in enumerate(zip(low, lengths, strict=True)):
        text.line(f"low{k} = {text.size(a)}")
        text.line(f"n{k} = {text.size(n)}")
    text.line(f"at = (size(p, 2) - size(p, 3)) // {width}")


def _divide(row: Row, x: tuple[int, ...], w: tuple[int, ...], o: tuple[int, ...], node: Node, along_result: bool) -> None:
    """Chunks of signals, of kernels or of places, of which there are most; the extents of the result stand behind all strides."""
    shape, width = node.aval.shape, node.aval.dtype.itemsize
    along = [(shape[0], 1, 0, [x[0], 0, o[0]]), (shape[1], 1, 1, [0, w[0], o[1]])]
    if along_result:
        along.append((shape[-1] // BLOCK, BLOCK, len(shape) - 1, [x[-1], 0, o[-1]]))
    _, unit, axis, steps = max(along, key=lambda each: each[0])
    if len(row.pointers) > 3:
        steps = [*steps, 0 if axis == len(shape) - 1 else steps[2]]
    divide(row, row.flops * PAIR * width / 8, len(x) + len(w) + len(o) + axis, [step * width for step in steps], unit)


def _view(lowering: _Lowering, node: Node, position: int) -> View:
    operand = node.operands[position]
    assert not isinstance(operand, Literal)
    return lowering.view(operand)


def _at(index: str, name: str, count: int) -> str:
    return "".join(f"{index}{k} * {name}{k + 2} + " for k in range(count))
