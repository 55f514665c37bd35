"""Sums of windows: additions of one value, or of a few, to several regions of a buffer become one nest that gathers.

The adjoint of a stencil adds the cotangent to a shifted region for each slice that the stencil reads: as many passes over the buffer.
Here the value is written once, into memory with zeros around it, and each element of the buffer reads its terms there, through one
view (`window`) a region. Zeros of one end of a row serve the next one too: rows of the padded value are as long as those of the
buffer, and the gathering nest is one flat loop. Nothing depends on where the regions are, which may be data.

A term that is a multiple of another by -1 or by a finite number is a multiple of its window; zero times anything else may be nan. Sums
keep their order. Runs behind legalization.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from irgrad.ir.aval import dtype_name
from irgrad.ir.graph import Graph, Literal, Node, Operand
from irgrad.ir.primitive import REGISTRY, UPDATE
from irgrad.ir.recording import TINY
from irgrad.passes.result import PassResult, has_fuel

FILLED = 1 << 14  # bytes of a padded value that is filled with zeros whole, before it is written; of larger ones the margins are
Multiple: TypeAlias = tuple[Node, Literal | None]
Term: TypeAlias = tuple[Node, list[Literal | None]]  # a value and the factors that it is multiplied by, last to first
_FLOATS = frozenset({"float32", "float64", "complex64", "complex128"})


def windows(graph: Graph) -> PassResult:
    """Let sums of windows be gathered."""
    result = PassResult(graph)
    if sum(node.op is not None and node.op.name == "slice_add" for node in graph.nodes()) < 2:
        return result
    for node in reversed(graph.nodes()):
        if node not in graph:
            continue
        chain = _chain(graph, node)
        if len(chain) < 2:
            continue
        terms = _terms(chain)
        if _is_worth(chain, len({source.index for source, _ in terms})) and has_fuel():
            _gather(graph, chain, terms)
            result.count("windows")
    return result


def _is_window(node: Operand) -> bool:
    """Is this an addition of an array to a region of one that is larger by less than a half along each axis?"""
    if not isinstance(node, Node) or node.op is None or node.op.name != "slice_add" or node.aval.dtype.name not in _FLOATS:
        return False
    count, value = node.params["count"], node.operands[1]
    whole = not node.params["drop"] and set(node.params["step"]) == {1} and value.aval.shape == count and isinstance(value, Node)
    return whole and value.aval.size > TINY and value.aval.dtype == node.aval.dtype


def _chain(graph: Graph, last: Node) -> list[Node]:
    """The additions of equal extents that end with this one, in order; none where another one goes on from it."""
    if not _is_window(last) or any(position == 0 and _is_next(user, last) for user, position in graph.users(last)):
        return []
    found = [last]
    before = last.operands[0]
    while _is_window(before) and isinstance(before, Node) and _is_next(last, before):
        if graph.num_users(before) != 1 or graph.is_output(before):
            break
        found.append(before)
        before = before.operands[0]
    return found[::-1]


def _is_next(node: Node, before: Node) -> bool:
    return _is_window(node) and node.params["count"] == before.params["count"]


def _terms(chain: list[Node]) -> list[Term]:
    """What each addition adds, as multiples of values that are as few as possible, and as near as possible to what is added."""
    multiples = [_multiple(addition.operands[1]) for addition in chain]
    shared: dict[int, set[int]] = {}  # last value -> what all multiples of it go through
    for multiple in multiples:
        passed = {value.index for value, _ in multiple}
        shared[multiple[-1][0].index] = shared.get(multiple[-1][0].index, passed) & passed
    found: list[Term] = []
    for multiple in multiples:
        common = shared[multiple[-1][0].index]
        at = next(k for k, (value, _) in enumerate(multiple) if value.index in common)
        found.append((multiple[at][0], [factor for _, factor in multiple[1 : at + 1]]))
    return found


def _multiple(value: Operand) -> list[Multiple]:
    """A value, what it is a multiple of, and so on; each with the factor that makes the one before of it (None is -1)."""
    assert isinstance(value, Node)
    found: list[Multiple] = [(value, None)]
    while value.op is not None:
        source = _factor(value)
        if source is None:
            break
        found.append(source)
        value = source[0]
    return found


def _factor(value: Node) -> Multiple | None:
    """What a value is a multiple of, by -1 or by a finite number."""
    assert value.op is not None
    if value.op.name == "neg":
        source: Operand = value.operands[0]
        return (source, None) if isinstance(source, Node) else None
    if value.op.name != "mul":
        return None
    for factor, source in (value.operands, value.operands[::-1]):
        alike = isinstance(source, Node) and source.aval.shape == value.aval.shape and source.aval.dtype == value.aval.dtype
        if alike and isinstance(source, Node) and isinstance(factor, Literal) and factor.aval.size == 1 and factor.aval.dtype.kind == "f":
            return (source, factor) if math.isfinite(float(factor.value)) else None
    return None


def _padded_shape(shape: tuple[int, ...], count: tuple[int, ...]) -> tuple[int, ...]:
    """Room for the value behind as many rows of zeros as it can be shifted by, and one more where it can be shifted along a row."""
    return (2 * shape[0] - count[0] + (shape[1:] != count[1:]), *shape[1:])


def _is_worth(chain: list[Node], sources: int) -> bool:
    """Does it move fewer elements? An addition loads the value and the region and stores this."""
    shape, count = chain[0].aval.shape, chain[0].params["count"]
    padded = sources * (math.prod(_padded_shape(shape, count)) + math.prod(count))
    return padded + (len(chain) + 2) * math.prod(shape) < 3 * len(chain) * math.prod(count)


def _gather(graph: Graph, chain: list[Node], terms: list[Term]) -> None:
    last = chain[-1]
    shape, count = last.aval.shape, last.params["count"]
    sources = {source.index: source for source, _ in terms}
    behind = _behind(graph, list(sources.values()), last)
    padded = {index: _pad(graph, last, source, shape, count, behind) for index, source in sources.items()}
    total: Operand = chain[0].operands[0]
    for addition, (source, factors) in zip(chain, terms, strict=True):
        params: dict[str, Any] = {"start": addition.params["start"], "shape": shape}
        if addition.params.get("dynamic") is not None:
            params["dynamic"] = addition.params["dynamic"]
        term = graph.add_from(addition, REGISTRY["window"], (padded[source.index],), params, before=last)
        for factor in reversed(factors):
            if factor is None:
                term = graph.add_from(addition, REGISTRY["neg"], (term,), {}, before=last)
            else:
                term = graph.add_from(addition, REGISTRY["mul"], (factor, term), {}, before=last)
        total = graph.add_from(addition, REGISTRY["add"], (total, term), {}, before=last)
    base = chain[0].operands[0]
    assert isinstance(total, Node)
    if isinstance(base, Node) and _is_replaced(graph, base, total):
        region: dict[str, Any] = {"start": (0,) * len(shape), "count": shape, "step": (1,) * len(shape), "drop": ()}
        total = graph.add_from(last, REGISTRY["slice_update"], (base, total), region)
    graph.replace_uses(last, total)
    _drop(graph, last)


def _is_replaced(graph: Graph, base: Node, total: Node) -> bool:
    """May the sum take the memory of what it starts from, as an update does whose base nobody else reads?"""
    owned = base.op.has(UPDATE) if base.op is not None else base.name.startswith("e")
    return owned and not graph.is_output(base) and graph.num_users(base) <= 2 and total.aval.dtype == base.aval.dtype


def _pad(graph: Graph, origin: Node, source: Node, shape: tuple[int, ...], count: tuple[int, ...], behind: Node) -> Node:
    """The value with zeros around it. The memory is there first of all, so that the value is written by the nest that computes it."""
    whole = _padded_shape(shape, count)
    front = whole[0] - shape[0]
    dtype = dtype_name(origin.aval.dtype)
    first = graph.nodes()[0]
    nbytes = math.prod(whole) * origin.aval.dtype.itemsize
    if nbytes <= FILLED:
        buffer = graph.add_from(origin, REGISTRY["zeros"], (), {"shape": whole, "dtype": dtype}, before=first)
    else:
        buffer = graph.add_from(origin, REGISTRY["empty"], (), {"shape": whole, "dtype": dtype}, before=first)
        for start, extent in _margins(whole, front, count):
            buffer = _write(graph, origin, buffer, Literal(origin.aval.dtype.type(0)), start, extent, first)
    return _write(graph, origin, buffer, source, (front, *(0,) * (len(count) - 1)), count, behind)


def _margins(whole: tuple[int, ...], front: int, count: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Starts and extents of what is zero: rows in front and behind, and what follows the value along each other axis."""
    found = []
    behind = whole[0] - front - count[0]
    for start, extent in ((0, front), (front + count[0], behind)):
        if extent:
            found.append(((start, *(0,) * (len(whole) - 1)), (extent, *whole[1:])))
    for axis in range(1, len(whole)):
        if whole[axis] > count[axis]:
            inner = (*count[:axis], whole[axis] - count[axis], *whole[axis + 1 :])
            found.append(((front, *(0,) * (axis - 1), count[axis], *(0,) * (len(whole) - axis - 1)), inner))
    return found


def _write(graph: Graph, origin: Node, buffer: Node, value: Operand, start: tuple[int, ...], extent: tuple[int, ...], before: Node) -> Node:
    region: dict[str, Any] = {"start": start, "count": extent, "step": (1,) * len(start), "drop": ()}
    return graph.add_from(origin, REGISTRY["slice_update"], (buffer, value), region, before=before)


def _behind(graph: Graph, sources: list[Node], last: Node) -> Node:
    """The node in front of which the values are written: what follows when they are all computed, so that one nest does both."""
    made = {source.index for source in sources}
    latest = next((node for node in reversed(graph.nodes()) if node.index in made), None)
    return last if latest is None or latest.next is None else latest.next


def _drop(graph: Graph, node: Node) -> None:
    """Take out a node that nobody uses, and what only it used."""
    if node.op is None or graph.num_users(node) or graph.is_output(node):
        return
    operands = [operand for operand in node.operands if isinstance(operand, Node)]
    graph.remove(node)
    for operand in operands:
        if operand in graph:
            _drop(graph, operand)
