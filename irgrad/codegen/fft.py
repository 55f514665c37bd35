"""Kernels around numpy's own loops of Fourier transforms (`irgrad.ops.fft_loops`): along one axis, for any strides.

A loop takes a batch of signals; the longest of the other axes is the batch, loops of the kernel run over what is left of them. Large
batches run in chunks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from irgrad.codegen.lowered import Ref, Row
from irgrad.codegen.split import divide
from irgrad.ir.graph import Literal, Node
from irgrad.ir.plan import contiguous
from irgrad.ops.fft import signal_dtype, transform

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering

KINDS = frozenset({"fft", "rfft", "irfft"})
POINT = 0.7  # nanoseconds a point and halving
CALL = 100  # nanoseconds of a signal besides
BATCH = 0  # place of the batch in the size table


def row(lowering: _Lowering, node: Node) -> Row:
    """The row of a transform along one axis. Its operand has the dtype that the loop takes."""
    x = node.operands[0]
    assert not isinstance(x, Literal)
    assert node.op is not None
    view = lowering.view(x)
    axis = node.params["axes"][0] if node.op.name == "fft" else node.params["axis"]
    have, count = x.aval.shape[axis], node.aval.shape[axis]
    points = max(have, count) if node.op.name != "irfft" else node.params["n"]
    name, factor = transform(node.op.name, points, node.params)
    real = signal_dtype(node.aval.dtype)
    steps_in = [stride * x.aval.dtype.itemsize for stride in view.strides]
    steps_out = [stride * node.aval.dtype.itemsize for stride in contiguous(node.aval.shape)]
    others = _merged([(n, steps_in[k], steps_out[k]) for k, n in enumerate(node.aval.shape) if k != axis])
    batch, *outer = sorted(others, key=lambda each: -each[0]) or [(1, 0, 0)]
    bits = int.from_bytes(np.array(factor(real), real).tobytes(), "little")
    sizes = [batch[0], have, count, batch[1], batch[2], steps_in[axis], steps_out[axis], bits]
    sizes += [number for each in outer for number in each]
    routine = f"fft:{name}.{real.char}"
    pointers: list[Ref | str] = [lowering.ref(view), lowering.ref(lowering.view(node)), routine, f"{routine}.data"]
    signals = math.prod(n for n, _, _ in others)
    work = signals * points * max(math.log2(points), 1.0)
    made = Row(_text(len(outer)), pointers, sizes, node.op.name, int(2.5 * work))
    divide(made, work * POINT + signals * CALL, BATCH, [batch[1], batch[2], 0, 0])
    return made


def _merged(axes: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Extents with steps, neighbours as one where both sides walk on alike."""
    made: list[tuple[int, int, int]] = []
    for n, a, b in axes:
        if n == 1:
            continue
        if made and made[-1][1] == a * n and made[-1][2] == b * n:
            made[-1] = (made[-1][0] * n, a, b)
        else:
            made.append((n, a, b))
    return made


def _text(loops: int) -> str:
    """The kernel with so many loops around the batch. A table on the stack has what numpy's loop reads.

    These are the addresses of operand, factor and result, the numbers of signals and of points, the steps, and behind them the factor.
    """
    lines = [
        "def kernel(p, n):",
        "    # arguments: operand, factor, result; dimensions: signals, points; steps; the factor",
        "    t = stack(16)",
    ]
    lines += ["    put(t, 1, t + 88)", *[f"    put(t, {3 + k}, size(n, {k}))" for k in range(4)], "    put(t, 7, 0)"]
    lines += [f"    put(t, {4 + k}, size(n, {k}))" for k in range(4, 8)]
    depth = 1
    for k in range(loops):
        lines.append("    " * depth + f"for i{k} in range(size(n, {8 + 3 * k})):")
        depth += 1
    for place, pointer, word in ((0, 0, 9), (2, 1, 10)):
        offset = "".join(f" + i{k} * size(n, {word + 3 * k})" for k in range(loops))
        lines.append("    " * depth + f"put(t, {place}, size(p, {pointer}){offset})")
    lines.append("    " * depth + "call_blas(size(p, 2), (t, t + 24, t + 48, size(p, 3)))")
    return "\n".join([*lines, "    return 0", ""])
