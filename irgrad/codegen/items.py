"""Kernels of clusters of items: one loop over a stack, whose turn computes small arrays on variables, one for each number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.codegen import split
from irgrad.codegen.folds import fold, folded
from irgrad.codegen.lowered import Row
from irgrad.codegen.nest import Nest, NestText
from irgrad.codegen.scalar import literal, operand_dtypes
from irgrad.ir.graph import Literal, Node, Operand
from irgrad.ir.plan import Cluster, View, is_view
from irgrad.ops.index import region

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering

Names = Any  # an object array of variable names, shaped like an item
RATE = 0.1  # nanoseconds a multiplication


def row(lowering: _Lowering, cluster: Cluster) -> Row:
    """The row of a cluster of items, in chunks where it is large."""
    return _Items(lowering, cluster).row()


class _Items:
    def __init__(self, lowering: _Lowering, cluster: Cluster) -> None:
        assert cluster.space is not None
        self.lowering, self.cluster = lowering, cluster
        self.stack, self.depth = cluster.space, len(cluster.space)
        self.writer = lowering.writer(cluster, True)
        self.nest = Nest(self.stack, ())
        self.inside = {node.index for node in cluster.inside}
        self.values: dict[int, Names] = {}
        self.accesses: dict[tuple[Any, ...], int] = {}
        self.loads: dict[tuple[int, int], str] = {}

    def row(self) -> Row:
        for node in self.cluster.inside:
            self.values[node.index] = made = self.value(node)
            if node.index in self.lowering.plan.stored:
                self.store(node, made)
        writer = self.writer
        self.nest.body.extend(writer.lines)
        text = NestText(self.nest, 0)
        lines, sizes = text.write()
        what = " ".join(dict.fromkeys(node.op.name for node in self.cluster.inside if node.op is not None))
        source = writer.source([line.removeprefix("    ") for line in lines])
        made = Row(source, writer.table, sizes, what, math.prod(self.stack) * len(writer.lines))
        steps = [0] * len(writer.table)
        for number, access in enumerate(self.nest.accesses):
            pointer = int(access.pointer[1:])
            steps[pointer] = text.axes[0][2][number] * self.widths[pointer]
        split.divide(made, self.nanoseconds(), 0, steps)
        return made

    @property
    def widths(self) -> dict[int, int]:
        """Bytes of an element behind each pointer."""
        return {int(name[1:]): np.dtype(key[1]).itemsize for key, name in self.writer.pointers.items() if isinstance(key, tuple)}

    def nanoseconds(self) -> float:
        total, memory = 0.0, 0
        for node in self.cluster.inside:
            if node.op is not None and node.op.name == "batch_dot":
                total += RATE * node.aval.size * node.operands[0].aval.shape[-1]
            else:
                total += max(o.aval.size for o in (node, *node.operands)) * split.nanoseconds(node)
            memory += node.aval.nbytes * (node.index in self.lowering.plan.stored)
        return total + split.NEAR * 2 * memory

    # -- memory --

    def access(self, view: View, dtype: np.dtype[Any], strides: tuple[int, ...]) -> int:
        key = (view.where, dtype.name, strides)
        if key not in self.accesses:
            pointer = self.writer.pointer(View(view.root, strides, view.offset, view.terms), dtype)
            self.accesses[key] = self.nest.access(pointer, strides)
        return self.accesses[key]

    def place(self, number: int, offset: int) -> str:
        pointer = self.nest.accesses[number].pointer
        return f"{pointer}, @{number}@{f' + {offset}' if offset > 0 else f' - {-offset}' if offset else ''}"

    def load(self, operand: Node, rank: int) -> Names:
        """An item of an operand in memory, of which the last `rank` axes at most are those of an item."""
        view, shape = self.lowering.view(operand), operand.aval.shape
        self.lowering.check_read(operand, view)
        first = max(len(shape) - rank, 0)
        outer = (0,) * (self.depth - first) + tuple(0 if n == 1 else s for n, s in zip(shape[:first], view.strides[:first], strict=True))
        number = self.access(view, operand.aval.dtype, outer)
        made = np.empty(shape[first:], object)
        for index in np.ndindex(*made.shape):
            offset = sum(i * s for i, s in zip(index, view.strides[first:], strict=True))
            if (number, offset) not in self.loads:
                self.loads[number, offset] = self.writer.let(f"load({self.place(number, offset)})")
            made[index] = self.loads[number, offset]
        return made

    def store(self, node: Node, made: Names) -> None:
        view = self.lowering.view(node)
        number = self.access(view, node.aval.dtype, view.strides[: self.depth])
        for index in np.ndindex(*made.shape):
            offset = sum(i * s for i, s in zip(index, view.strides[self.depth :], strict=True))
            self.writer.lines.append(f"store({self.place(number, offset)}, {made[index]})")

    # -- values --

    def names(self, operand: Operand, rank: int, dtype: np.dtype[Any]) -> Names:
        """The variables of an operand's item."""
        if isinstance(operand, Literal):
            made = np.empty(np.shape(operand.value), object)
            made[...] = literal(operand.value, dtype)
            return made
        known = self.values.get(operand.index)
        if known is None and self.is_seen(operand):
            known = self.values[operand.index] = self.seen(operand, rank)
        return self.load(operand, rank) if known is None else known

    def is_seen(self, operand: Node) -> bool:
        """Is it a view of items that this loop computes?"""
        return is_view(operand) and self.lowering.view(operand).root.index in self.inside

    def seen(self, node: Node, rank: int) -> Names:
        """An item through a view."""
        source, params, depth = node.operands[0], node.params, self.depth
        x = self.names(source, source.aval.ndim - depth, source.aval.dtype)
        assert node.op is not None
        if node.op.name == "transpose":
            return x.transpose([axis - depth for axis in params["axes"][depth:]])
        if node.op.name == "reshape":
            return x.reshape(node.aval.shape[depth:])
        if node.op.name == "broadcast_to":
            return np.broadcast_to(x, node.aval.shape[depth:])
        parts = (params[name][depth:] for name in ("start", "count", "step"))
        found = x[region(*parts, tuple(axis - depth for axis in params["drop"]))]
        made = np.empty(node.aval.shape[depth:], object)
        made[...] = found
        return made

    def value(self, node: Node) -> Names:
        assert node.op is not None
        is_reduction = node.op.name.startswith("reduce_")
        rank = (node.operands[0] if is_reduction else node).aval.ndim - self.depth
        operands = [self.names(o, rank, dtype) for o, dtype in zip(node.operands, operand_dtypes(node), strict=True)]
        if is_reduction:
            return self.reduced(node, operands[0])
        return self.product(node, *operands) if node.op.name == "batch_dot" else self.elementwise(node, operands)

    def elementwise(self, node: Node, operands: list[Names]) -> Names:
        made = np.empty(node.aval.shape[self.depth :], object)
        spread = [np.broadcast_to(o, made.shape) for o in operands]
        known: dict[tuple[str, ...], str] = {}
        for index in np.ndindex(*made.shape):
            texts = tuple(str(o[index]) for o in spread)
            if texts not in known:
                known[texts] = self.writer.let(self.writer.text(node, list(texts)))
            made[index] = known[texts]
        return made

    def product(self, node: Node, x: Names, y: Names) -> Names:
        return self.writer.matrix_product(x, y, node.aval.dtype)

    def reduced(self, node: Node, x: Names) -> Names:
        dtype = node.operands[0].aval.dtype
        axes = tuple(axis - self.depth for axis in node.params["axes"])
        flat = np.moveaxis(x, axes, range(len(axes))).reshape((math.prod(x.shape[a] for a in axes), *node.aval.shape[self.depth :]))
        made = np.empty(node.aval.shape[self.depth :], object)
        initial, combine = fold(node, dtype)
        for index in np.ndindex(*made.shape):
            column = [folded(node, str(flat[(i, *index)]), dtype) for i in range(len(flat))]
            total = column[0] if column else initial
            for each in column[1:]:
                total = combine(total, each)
            made[index] = self.writer.let(total)
        return made
