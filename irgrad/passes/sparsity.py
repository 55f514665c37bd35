"""Which entries of values depend on which entries of the differentiated ones, by construction.

The pattern of a value has, for each entry, the set of columns (entries of the marked values, numbered through) that it may depend on. It
follows from operations, shapes and static params alone: entrywise operations, moves, sums and products have exact rules; any other
operation, and indices that are data, stand for all entries along their axes or for all entries. So a pattern holds for every
call of the program, and what is not in it is zero whatever the values are.

Patterns are compressed sparse rows. One that grows too large to help is `FULL`: every entry may depend on every column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from irgrad.ir.primitive import ELEMENTWISE, REDUCTION, VIEW, NonDiff, Primitive
from irgrad.ir.value import Value
from irgrad.ops.index import region_of

MAX_ENTRIES = 1 << 20  # of a pattern
FULL_ENTRIES = 1 << 10
MAX_WINDOW = 64  # entries of a correlation's kernel that are followed one by one

Shape = tuple[int, ...]
Indices = np.ndarray[Any, np.dtype[np.int64]]


class Pattern:
    """Columns of entry i, ascending: ``columns[starts[i]:starts[i + 1]]``, out of `width`. `full` says that it is all of them for each."""

    __slots__ = ("columns", "full", "size", "starts", "width")

    def __init__(self, starts: Indices, columns: Indices, width: int) -> None:
        self.starts = starts
        self.columns = columns
        self.width = width
        self.size = len(starts) - 1
        self.full = len(columns) == self.size * width

    def entries(self) -> tuple[Indices, Indices]:
        """Row and column of each entry."""
        return np.repeat(np.arange(self.size), np.diff(self.starts)), self.columns


FULL = Pattern(np.zeros(1, np.int64), np.zeros(0, np.int64), 0)


def from_entries(rows: Indices, columns: Indices, size: int, width: int) -> Pattern:
    """The pattern with these entries, in any order and any number of times each."""
    keys = _distinct(rows * width + columns)
    return _ordered(keys // width, keys % width, size, width)


def _distinct(keys: Indices) -> Indices:
    """In ascending order, as np.unique has them, which imports numpy.ma (1.4 MB) from numpy 2.3 on."""
    keys = np.sort(keys)
    new = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    return keys[new]


def _ordered(rows: Indices, columns: Indices, size: int, width: int) -> Pattern:
    starts = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=size), out=starts[1:])
    return _kept(Pattern(starts, columns, width))


def take(pattern: Pattern, places: Indices) -> Pattern:
    """The pattern of entries read from `places`; those from -1 depend on nothing."""
    if pattern is FULL:
        return FULL
    counts = np.append(np.diff(pattern.starts), 0)[places]
    total = int(counts.sum())
    if total > MAX_ENTRIES:
        return FULL
    starts = np.zeros(len(places) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    offsets = np.repeat(pattern.starts[places] - starts[:-1], counts) + np.arange(total)
    return _kept(Pattern(starts, pattern.columns[offsets], pattern.width))


def _kept(pattern: Pattern) -> Pattern:
    """The pattern, unless it is too large to help: beyond a few full rows."""
    count = len(pattern.columns)
    return FULL if count > (FULL_ENTRIES + 8 * pattern.width if pattern.full else MAX_ENTRIES) else pattern


def grouped(pattern: Pattern, groups: Indices, count: int) -> Pattern:
    """The pattern of `count` values, of which number ``groups[i]`` is made of entry i among others."""
    if pattern is FULL:
        return FULL
    rows, columns = pattern.entries()
    return from_entries(groups[rows], columns, count, pattern.width)


class Finder:
    """Patterns of the values of a tape, by index; None for values that no derivative flows into."""

    def __init__(self, tape: Sequence[Any], start: int, stop: int, marks: Sequence[Any]) -> None:
        self.tape = tape
        self.found: dict[int, Pattern] = {}
        self.kind = type(tape[start]) if stop > start else Value
        self.kept: dict[Any, tuple[Any, Pattern]] = {}  # broadcasts and unions, with what they were made of: equal ones are one object
        self.flow: dict[tuple[Primitive, int], bool] = {}
        offset = 0
        self.width = sum(int(np.size(mark.value)) for mark in marks)
        for mark in marks:
            size = int(np.size(mark.value))
            self.found[mark.index] = Pattern(np.arange(size + 1), np.arange(offset, offset + size), self.width)
            offset += size
        marked = set(self.found)
        for i in range(start, stop):
            if i not in marked:
                self.visit(i)

    def visit(self, index: int) -> None:
        node = self.tape[index]
        op = node.op
        if op is None:
            return
        found, kind = self.found, self.kind
        sources = {k: found[o.index] for k, o in enumerate(node.operands) if type(o) is kind and o.index in found}
        if not sources:
            return
        for k in list(sources):
            if not self.flows(op, k):
                del sources[k]
        value = node.value
        if not sources or (value.dtype if hasattr(value, "dtype") else np.result_type(value)).kind not in "fc":
            return
        if op.traits & ELEMENTWISE:
            rule: Rule = _entrywise
        elif op.traits & VIEW:
            rule = _moved
        elif op.traits & REDUCTION:
            rule = _reduced
        else:
            rule = RULES.get(op.name, _anything)
        found[index] = rule(self, node, sources)

    def flows(self, op: Primitive, k: int) -> bool:
        key = op, k
        known = self.flow.get(key)
        if known is None:
            known = self.flow[key] = flows(op, k)
        return known

    def spread(self, pattern: Pattern, shape: Shape, to: Shape) -> Pattern:
        """The pattern of a value of one shape broadcast to another."""
        if shape == to or pattern is FULL:
            return pattern
        key = (id(pattern), shape, to)
        if key not in self.kept:
            self.kept[key] = pattern, take(pattern, np.broadcast_to(numbers(shape), to).ravel())
        return self.kept[key][1]

    def union(self, patterns: Sequence[Pattern]) -> Pattern:
        """What entries depend on that depend on all of these."""
        first = patterns[0]
        if all(each is first for each in patterns):
            return first
        if any(each is FULL for each in patterns):
            return FULL
        key = tuple(map(id, patterns))
        if key not in self.kept:
            found = [each.entries() for each in patterns]
            rows, columns = np.concatenate([r for r, _ in found]), np.concatenate([c for _, c in found])
            self.kept[key] = patterns, from_entries(rows, columns, first.size, first.width)
        return self.kept[key][1]


Rule = Callable[[Finder, Any, Mapping[int, Pattern]], Pattern]


def flows(op: Primitive, k: int) -> bool:
    """Can a derivative flow through operand `k` in either mode?"""
    return any(
        type(rules) is not NonDiff and not (type(rules) is tuple and k < len(rules) and rules[k] is None) for rules in (op.vjp, op.jvp)
    )


def numbers(shape: Shape) -> Indices:
    """The places of the entries of an array, in C order."""
    return np.arange(math.prod(shape)).reshape(shape)


def shape_of(node: Any, k: int) -> Shape:
    operand = node.operands[k]
    return np.shape(operand.value if isinstance(operand, Value) or hasattr(operand, "value") else operand)


def _entrywise(f: Finder, node: Any, sources: Mapping[int, Pattern]) -> Pattern:
    shape = np.shape(node.value)
    return f.union([f.spread(pattern, shape_of(node, k), shape) for k, pattern in sources.items()])


def _anything(f: Finder, node: Any, sources: Mapping[int, Pattern]) -> Pattern:
    """Each entry depends on all that the operands depend on."""
    size = int(np.size(node.value))
    if any(pattern is FULL for pattern in sources.values()):
        return FULL
    whole = [grouped(pattern, np.zeros(pattern.size, np.int64), 1) for pattern in sources.values()]
    return take(f.union(whole), np.zeros(size, np.int64))


def _moved(f: Finder, node: Any, sources: Mapping[int, Pattern]) -> Pattern:
    """Of an operation that only moves entries: done to their numbers."""
    operands: list[Any] = []
    total = 0
    for k in range(len(node.operands)):
        shape = shape_of(node, k)
        operands.append(numbers(shape) + total if k in sources else np.full(shape, -1))
        total += operands[-1].size if k in sources else 0
    if any(pattern is FULL for pattern in sources.values()):
        return FULL
    places = np.asarray(node.op.evaluate(*operands, **node.params)).ravel()
    return take(_stacked([sources[k] for k in sorted(sources)]), places)


def _stacked(patterns: Sequence[Pattern]) -> Pattern:
    """The patterns of several values one behind the other."""
    if len(patterns) == 1:
        return patterns[0]
    counts = np.concatenate([np.diff(each.starts) for each in patterns])
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return Pattern(starts, np.concatenate([each.columns for each in patterns]), patterns[0].width)


def _added(f: Finder, node: Any, sources: Mapping[int, Pattern]) -> Pattern:
    """A region of a buffer is added to."""
    parts = [sources[0]] if 0 in sources else []
    if 1 in sources:
        if sources[1] is FULL:
            return FULL
        places = np.full(shape_of(node, 0), -1)
        region = region_of(node.params)
        places[region] = np.broadcast_to(numbers(shape_of(node, 1)), places[region].shape)
        parts.append(take(sources[1], places.ravel()))
    return f.union(parts)


def _reduced(f: Finder, node: Any, sources: Mapping[int, Pattern]) -> Pattern:
    return _folded(f, sources[0], shape_of(node, 0), node.params["axes"])


def _folded(f: Finder, pattern: Pattern, shape: Shape, axes: Sequence[int]) -> Pattern:
    """The pattern of sums over `axes`."""
    rest = tuple(1 if k in axes else n for k, n in enumerate(shape))
    groups = np.broadcast_to(numbers(rest), shape).ravel()
    return grouped(pattern, groups, math.prod(rest))


def _along(name: str) -> Rule:
    """Of an operation in which each entry depends on all along some axes, whose lengths may change."""

    def rule(f: Finder, node: Any, sources: Mapping[int, Pattern]) -> Pattern:
        given = node.params[name]
        axes = tuple(given) if isinstance(given, tuple) else (given,)
        shape = shape_of(node, 0)
        rest = tuple(1 if k in axes else n for k, n in enumerate(shape))
        return f.spread(_folded(f, sources[0], shape, axes), rest, np.shape(node.value))

    return rule


def _product(f: Finder, node: Any, sources: Mapping[int, Pattern]) -> Pattern:
    """A matrix product, or one of stacks of matrices."""
    shape = np.shape(node.value)
    left, right = shape_of(node, 0), shape_of(node, 1)
    parts: list[Pattern] = []
    if 0 in sources:
        rest = (*left[:-1], *(1,) * (len(right) > 1))
        parts.append(f.spread(_folded(f, sources[0], left, (len(left) - 1,)), rest, shape))
    if 1 in sources:
        axis = max(len(right) - 2, 0)
        rest = (*right[:-2], *(1,) * (len(left) > 1), *right[axis + 1 :])
        parts.append(f.spread(_folded(f, sources[1], right, (axis,)), rest, shape))
    return f.union(parts)


def _gathered(f: Finder, node: Any, sources: Mapping[int, Pattern]) -> Pattern:
    """Read at indices that are data: each entry depends on all along the indexed axes."""
    shape, count = shape_of(node, 0), len(node.operands) - 1
    return f.spread(_folded(f, sources[0], shape, range(count)), shape[count:], np.shape(node.value))


def _scattered(f: Finder, node: Any, sources: Mapping[int, Pattern]) -> Pattern:
    """Written or added at indices that are data."""
    shape, count = shape_of(node, 0), len(node.operands) - 2
    parts = [sources[0]] if 0 in sources else []
    if 1 in sources:
        given, rest = shape_of(node, 1), shape[count:]
        kept = given[max(len(given) - len(rest), 0) :]
        lead = len(given) - len(kept)
        parts.append(f.spread(_folded(f, sources[1], given, range(lead)), kept, shape))
    return f.union(parts)


def _correlated(f: Finder, node: Any, sources: Mapping[int, Pattern]) -> Pattern:
    """Each entry depends on a window of the signals and on its kernel."""
    x, w, shape = shape_of(node, 0), shape_of(node, 1), np.shape(node.value)
    parts: list[Pattern] = []
    if 0 in sources:
        if math.prod(w[2:]) > MAX_WINDOW or sources[0] is FULL:
            return _anything(f, node, sources)
        summed = _folded(f, sources[0], x, (1,))
        signals = numbers((x[0], 1, *x[2:]))
        low, high = (node.params.get(name) or (0,) * len(x[2:]) for name in ("low", "high"))
        signals = np.pad(signals, ((0, 0), (0, 0), *zip(low, high, strict=True)), constant_values=-1)
        for place in np.ndindex(*w[2:]):
            window = tuple(slice(k, k + n) for k, n in zip(place, shape[2:], strict=True))
            parts.append(take(summed, np.broadcast_to(signals[:, :, *window], shape).ravel()))
    if 1 in sources:
        kernels = _folded(f, sources[1], w, range(1, len(w)))
        parts.append(f.spread(kernels, (w[0], *(1,) * (len(shape) - 2)), shape))
    return f.union(parts)


RULES: dict[str, Rule] = {
    "full": lambda f, node, sources: f.spread(sources[0], (), np.shape(node.value)),
    "concatenate": _moved,
    "pad": _moved,
    "slice_update": _moved,
    "slice_add": _added,
    "gather": _gathered,
    "scatter_add": _scattered,
    "scatter_update": _scattered,
    "cumsum": _along("axis"),
    "cumprod": _along("axis"),
    "sort": _along("axis"),
    "fft": _along("axes"),
    "rfft": _along("axis"),
    "irfft": _along("axis"),
    "dot": _product,
    "batch_dot": _product,
    "correlate": _correlated,
}


# ---- colours ----


class Colouring:
    """Groups of rows of a pattern that share no column, so that one walk serves a group: the colour of each row, -1 of rows without."""

    __slots__ = ("colours", "count", "is_whole")

    def __init__(self, colours: Indices, count: int, is_whole: bool = True) -> None:
        self.colours = colours
        self.count = count
        self.is_whole = is_whole  # has each row a colour?


def chosen(rows: Indices, size: int) -> Colouring:
    """A colour of its own for each of some rows."""
    colours = np.full(size, -1, np.int64)
    colours[rows] = np.arange(len(rows))
    return Colouring(colours, len(rows), False)


def dense_rows(counts: Indices) -> tuple[Indices, int]:
    """The longest rows, so many that they and the entries of the longest row left are fewest; and how many these are."""
    order = np.argsort(-counts, kind="stable")
    totals = np.arange(len(counts)) + counts[order]
    number = int(np.argmin(totals))
    return np.sort(order[:number]), int(totals[number])


MAX_GREEDY = 1 << 17  # entries of a pattern that is coloured row by row


def colour(rows: Indices, columns: Indices, size: int, width: int) -> Colouring | None:
    """Colours for the rows of a pattern with these entries, ordered by row: few, not always the fewest. None where none are found.

    No row shares a column: one colour. Bands: row i has colour ``i mod k`` for the least k possible. Otherwise greedy, in order
    of rows (Curtis, Powell and Reid, 1974).
    """
    if not len(rows):
        return Colouring(np.zeros(size, np.int64), 1)
    least = int(np.bincount(columns, minlength=width).max())
    if least == 1:
        return Colouring(np.zeros(size, np.int64), 1)
    if least * 2 > size:
        return None
    colours = np.arange(size) % least
    keys = colours[rows] * width + columns
    if len(_distinct(keys)) == len(keys):
        return Colouring(colours, least)
    return _greedy(rows, columns, size, width) if len(rows) <= MAX_GREEDY else None


def _greedy(rows: Indices, columns: Indices, size: int, width: int) -> Colouring:
    used = [0] * width  # colours of the rows that have this column, as bits
    colours = np.zeros(size, np.int64)
    starts = np.searchsorted(rows, np.arange(size + 1)).tolist()
    listed = columns.tolist()
    count = 1
    for row in range(size):
        mine = listed[starts[row] : starts[row + 1]]
        taken = 0
        for column in mine:
            taken |= used[column]
        bit = ~taken & (taken + 1)
        for column in mine:
            used[column] |= bit
        colours[row] = number = bit.bit_length() - 1
        count = max(count, number + 1)
    return Colouring(colours, count)
