"""Regions of new memory that are written one after the other become one concatenation.

The adjoint of slices adds a cotangent to a region of zeros for each of them; programs write regions of `np.zeros` or `np.empty`. Where
the regions lie side by side along one axis, what is written is parts of a concatenation, with zeros in between: nothing is zeroed
first, and the nests that compute the parts write them where they belong. So is a value that is computed for this alone and changed
everywhere, and a padded value. Regions that overlap are left to `irgrad.passes.windows`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from irgrad.ir.aval import dtype_name
from irgrad.ir.graph import Graph, Literal, Node, Operand
from irgrad.ir.primitive import PURE, REGISTRY
from irgrad.ir.sizes import is_any
from irgrad.passes.forms import has_text
from irgrad.passes.result import PassResult, has_fuel

LEAST = 64  # elements of memory that is worth it
MOST = 12  # regions, and where they are those of a value that is computed, at most
FEW = 4
FILLED = 1 << 14  # bytes of a padded value that is filled whole first


@dataclass
class _Region:
    """A range along an axis, and what is written there, in order."""

    start: int
    count: int
    updates: list[Node]


@dataclass
class _Chain:
    """Updates of one value, up to the last, in regions along an axis."""

    last: Node
    base: Node
    axis: int
    regions: list[_Region]

    def extents(self, count: int) -> tuple[int, ...]:
        shape = self.last.aval.shape
        return (*shape[: self.axis], count, *shape[self.axis + 1 :])


def joins(graph: Graph) -> PassResult:
    """Rewrite every such chain of updates."""
    result = PassResult(graph)
    for node in reversed(graph.nodes()):
        if node not in graph or is_any() or node.aval.size < LEAST:
            continue
        if _is_padded(node) and has_fuel():
            _as_parts(graph, node)
            result.count("pads")
            continue
        if not _is_write(node):
            continue
        if any(position == 0 and _is_write(user) for user, position in graph.users(node)) and graph.num_users(node) == 1:
            continue
        chain = _chain(graph, node)
        if chain is not None and has_fuel():
            _join(graph, chain)
            result.count("joins")
    return result


def _is_write(node: Operand) -> bool:
    if not isinstance(node, Node) or node.op is None or node.op.name not in ("slice_add", "slice_update"):
        return False
    params = node.params
    return params.get("dynamic") is None and all(step == 1 or n == 1 for step, n in zip(params["step"], params["count"], strict=True))


def _chain(graph: Graph, last: Node) -> _Chain | None:
    """The chain of updates of new memory that ends with this one, its regions in order; None where there is none."""
    shape = last.aval.shape
    regions: dict[tuple[int, int], _Region] = {}
    axis: int | None = None
    node: Operand = last
    while _is_write(node):
        assert isinstance(node, Node)
        if node is not last and (graph.num_users(node) != 1 or graph.is_output(node)):
            return None
        count, start = node.params["count"], node.params["start"]
        partial = [k for k, (n, extent) in enumerate(zip(count, shape, strict=True)) if n != extent]
        value = node.operands[1]
        if len(partial) != 1 or axis not in (None, partial[0]) or len(regions) > MOST or value.aval.dtype != last.aval.dtype:
            return None
        (axis,) = partial
        if value.aval.shape != tuple(n for k, n in enumerate(count) if k not in node.params["drop"]):
            return None
        if count[axis]:
            regions.setdefault((start[axis], count[axis]), _Region(start[axis], count[axis], [])).updates.insert(0, node)
        node = node.operands[0]
    found = [regions[place] for place in sorted(regions)]
    if any(a.start + a.count > b.start for a, b in itertools.pairwise(found)):
        return None
    if not isinstance(node, Node) or node.op is None or axis is None or not _is_new(graph, node, found, shape[axis]):
        return None
    return _Chain(last, node, axis, found)


def _is_new(graph: Graph, node: Node, regions: list[_Region], extent: int) -> bool:
    """Is this memory of zeros, or memory that is written whole, or a value that is computed for this and changed everywhere?"""
    assert node.op is not None
    if node.op.name == "zeros":
        return True
    if sum(region.count for region in regions) != extent:
        return False
    if node.op.name == "empty":
        return all(_replaces(region.updates[0]) for region in regions)
    return is_loop(node) and graph.num_users(node) == 1 and not graph.is_output(node) and 1 < len(regions) <= FEW


def _join(graph: Graph, chain: _Chain) -> None:
    last, parts, at = chain.last, list[Operand](), 0
    end = _Region(last.aval.shape[chain.axis], 0, [])
    for region in [*chain.regions, end]:
        if region.start > at:
            parts.append(_filled(graph, last, "zeros", (), chain.extents(region.start - at)))
        if region is not end:
            parts.append(_part(graph, chain, region))
        at = region.start + region.count
    whole = parts[0]
    if len(parts) > 1 or isinstance(whole, Literal):
        whole = graph.add_from(last, REGISTRY["concatenate"], parts, {"axis": chain.axis})
    graph.replace_uses(last, whole)
    _drop(graph, last)


def _part(graph: Graph, chain: _Chain, region: _Region) -> Operand:
    """What is in a region in the end; it is added up in the shape of what is written first."""
    extents, first = chain.extents(region.count), region.updates[0]
    shape = first.operands[1].aval.shape
    total: Operand | None = None
    if is_loop(chain.base):
        start = tuple(region.start if axis == chain.axis else 0 for axis in range(len(extents)))
        place = {"start": start, "count": extents, "step": (1,) * len(extents), "drop": first.params["drop"]}
        total = graph.add_from(first, REGISTRY["slice"], (chain.base,), place, before=chain.last)
    for update in region.updates:
        value = _reshaped(graph, update, update.operands[1], shape, chain.last)
        if total is None or _replaces(update):
            total = value
        else:
            total = graph.add_from(update, REGISTRY["add"], (total, value), {}, before=chain.last)
    assert total is not None
    return _reshaped(graph, first, total, extents, chain.last)


def _reshaped(graph: Graph, origin: Node, value: Operand, shape: tuple[int, ...], before: Node) -> Operand:
    if value.aval.shape == shape:
        return value
    return graph.add_from(origin, REGISTRY["reshape"], (value,), {"shape": shape}, before=before)


def _replaces(update: Node) -> bool:
    return update.op is not None and update.op.name == "slice_update"


def _filled(graph: Graph, node: Node, name: str, operands: tuple[Operand, ...], shape: tuple[int, ...]) -> Node:
    return graph.add_from(node, REGISTRY[name], operands, {"shape": shape, "dtype": dtype_name(node.aval.dtype)})


def _is_padded(node: Node) -> bool:
    """Is this a padded value for which it is worth it? A small one with several margins is filled and written again."""
    if node.op is None or node.op.name != "pad":
        return False
    margins = sum(low > 0 or high > 0 for low, high in zip(node.params["low"], node.params["high"], strict=True))
    return margins == 1 or (margins > 1 and node.aval.nbytes > FILLED)


def _as_parts(graph: Graph, node: Node) -> None:
    """A padded value as joined values, along the last axis first."""
    x, value = node.operands
    for axis in reversed(range(node.aval.ndim)):
        shapes = [(*x.aval.shape[:axis], node.params[side][axis], *x.aval.shape[axis + 1 :]) for side in ("low", "high")]
        before, after = [[_filled(graph, node, "full", (value,), shape)] if shape[axis] else [] for shape in shapes]
        if before or after:
            x = graph.add_from(node, REGISTRY["concatenate"], (*before, x, *after), {"axis": axis})
    graph.replace_uses(node, x)
    graph.remove(node)


def is_loop(node: Node) -> bool:
    """Is this computed element by element?"""
    return node.op is not None and node.op.has(PURE) and has_text(node)


def _drop(graph: Graph, node: Operand) -> None:
    """Take out updates that nobody reads any more."""
    while isinstance(node, Node) and node.op is not None and not graph.num_users(node) and not graph.is_output(node):
        before = node.operands[0] if node.operands else None
        graph.remove(node)
        if before is None:
            break
        node = before
