"""Nests with stages: code once a row (or column), and where values of a row are while several loops run over it.

Totals and code once a row are variables. In panels, where many columns go through the stages side by side, they are in memory, an
element for each column, and loops load what they need of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from irgrad.codegen.nest import Nest, Stage
from irgrad.codegen.scalar import literal, operand_dtypes
from irgrad.ir.graph import Literal, Node, Operand
from irgrad.ir.plan import View, contiguous
from irgrad.ir.primitive import VIEW

if TYPE_CHECKING:
    import numpy as np

    from irgrad.codegen.lower import _Writer


def row_layout(space: tuple[int, ...], reduced: tuple[int, ...], panel: int) -> tuple[int, tuple[int, ...]]:
    """Elements and strides of a value that is kept for the length of a row, or for that of the columns of a panel."""
    length = tuple(n if axis in reduced else 1 for axis, n in enumerate(space))
    steps = tuple(s if axis in reduced else 0 for axis, s in enumerate(contiguous(length)))
    if not panel:
        return math.prod(length), steps
    kept = contiguous(tuple(1 if axis in reduced else n for axis, n in enumerate(space)))
    strides = tuple(panel * s if axis in reduced else kept[axis] for axis, s in enumerate(steps))
    return panel * math.prod(length), strides


def stages(writer: _Writer, nest: Nest) -> None:
    """The stages of a nest with rows: what is computed once a row, and what each loop over the row computes."""
    cluster = writer.cluster
    for node in cluster.inside:
        if node.index in cluster.row_buffers:
            writer.lowering.row_buffer(node, cluster)
    for number, loop in enumerate(cluster.loops):
        if number:
            nest.stages.append(Stage())
        writer.adding &= cluster.by_column  # the totals of the loop before are complete
        if not cluster.unrolled:  # else every element has its variables
            writer.inside = {k: name for k, name in writer.inside.items() if k in writer.by_row}
            writer.inside_loads = {}
        for node in cluster.inside:
            if node.index in cluster.by_row and cluster.stage[node.index] == number:
                once_a_row(writer, nest, node)
        if nest.panel:
            writer.inside = {}
        for node in cluster.inside:
            if node.index in loop:
                writer.in_nest(nest, node)


def once_a_row(writer: _Writer, nest: Nest, node: Node) -> None:
    """Code in front of a stage's loop."""
    assert node.op is not None
    operands = [row_operand(writer, nest, node, o, d) for o, d in zip(node.operands, operand_dtypes(node), strict=True)]
    name = writer.fresh()
    nest.stages[-1].row.append(f"{name} = {operands[0] if node.op.has(VIEW) else writer.text(node, operands)}")
    writer.inside[node.index] = name
    if not nest.panel:
        writer.by_row.add(node.index)
    if node.index in writer.plan.stored and node.aval.size != 1:
        writer.lowering.wrote(node)
        number = row_access(writer, nest, node, writer.lowering.view(node), node)
        nest.stages[-1].row.append(f"store({nest.accesses[number].pointer}, @{number}@, {name})")


def row_operand(writer: _Writer, nest: Nest, node: Node, operand: Operand, dtype: np.dtype[Any]) -> str:
    """The text of an operand of code once a row."""
    if isinstance(operand, Literal):
        return literal(operand.value, dtype)
    writer.check_total(operand)
    known = row_name(writer, operand)
    if known is not None:
        return known
    if operand.aval.size == 1:
        return str(writer.names(operand, dtype).reshape(-1)[0])
    view = writer.lowering.view(operand)
    writer.lowering.check_read(operand, view)
    number = row_access(writer, nest, node, view, operand)
    name = writer.fresh()
    nest.stages[-1].row.append(f"{name} = load({nest.accesses[number].pointer}, @{number}@)")
    return name


def row_name(writer: _Writer, operand: Node) -> str | None:
    """The variable that holds a value of the row, read as it is or through views."""
    view = writer.plan.views.get(operand.index)
    root = operand if view is None or operand.index in writer.plan.parts else view.root
    by_row = writer.cluster.by_row if writer.cluster.panel else writer.by_row
    return writer.inside.get(root.index) if root.index in by_row else None


def row_access(writer: _Writer, nest: Nest, node: Node, view: View, operand: Node) -> int:
    """An access by rows: the axes of `node` that are not 1 are those of the space that are not reduced."""
    shape, extra = operand.aval.shape, node.aval.ndim - operand.aval.ndim
    steps = iter(
        0 if axis < extra or shape[axis - extra] == 1 else view.strides[axis - extra] for axis, n in enumerate(node.aval.shape) if n != 1
    )
    strides = tuple(0 if n == 1 or axis in nest.reduced else next(steps) for axis, n in enumerate(nest.space))
    return nest.access(writer.pointer(view, operand.aval.dtype), strides)


def strides_of_total(node: Node, ndim: int) -> tuple[int, ...]:
    """Where the entries of a reduction's result lie, over the axes of what it reduces."""
    steps = iter(contiguous(node.aval.shape))
    return tuple(0 if axis in node.params["axes"] else next(steps) for axis in range(ndim))


def across(writer: _Writer, nest: Nest, node: Node, value: str, initial: str, combine: Any) -> None:
    """A total over the rows, in memory: each row is added to it."""
    number = nest.access(writer.pointer(writer.lowering.view(node), node.aval.dtype), strides_of_total(node, len(nest.space)))
    nest.starts.append((number, initial))
    name, pointer = writer.fresh(), nest.accesses[number].pointer
    nest.body.append(f"{name} = load({pointer}, @{number}@)")
    nest.body.append(f"store({pointer}, @{number}@, {combine(name, value)})")
