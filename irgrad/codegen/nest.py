"""One loop nest as text.

The nest runs over a space; every memory access is a pointer and strides over the axes of that space. Axes are merged where every
access allows, so that most elementwise kernels are one flat loop; extents and outer strides are run-time sizes, while the class
of each innermost stride (0, 1, other) is text, because the vectoriser needs it.

A nest whose totals are in variables may have several stages: code once a row, then a loop over the row, in one loop over the rows.

Sums keep numpy's pairwise bound: within blocks of 128 elements LLVM may reassociate, block sums combine pairwise by a binary
counter (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.2).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from irgrad.codegen.ahead import fetched
from irgrad.ir.plan import contiguous
from irgrad.ir.sizes import is_any

BLOCK = 128
LINE = 64  # elements of a line buffer that a loop fills; it has room for a block
NARROW = 3  # totals side by side that have variables (more make a vector), in nests of at least
MANY = 1024  # elements; what else is kept inside of the loops that add up has at most
VECTORS = (4, 8, 16)  # elements along an innermost loop that are a few vectors
FEW = 16  # elements, and all of it
STATEMENTS = 320
NEAR = 256  # strides up to this are text where rows are unrolled
LONG = 3  # functions one behind the other that a loop over at least
LARGE = 1 << 15  # elements does for two vectors at a time, so that they do not only wait for each other
_WRITTEN = re.compile(r"\btanh\(")  # functions that are arithmetic (`irgrad.codegen.polynomial`)
_DEFINED = re.compile(r"(v\d+) = ")
_VARIABLE = re.compile(r"\bv\d+\b")


@dataclass(slots=True)
class Access:
    """A pointer read or written in the nest, with strides (elements) over the axes of the space."""

    pointer: str
    strides: tuple[int, ...]
    local: bool = False  # memory of one panel of columns, which each uses again


@dataclass(slots=True)
class Reduction:
    """An accumulator: `combine(acc, value)` text, initial text, and where totals go."""

    name: str
    kind: str  # "sum" for blocked summation, "fold" otherwise
    dtype: str
    initial: str
    value: str
    combine: Callable[[str, str], str]
    out: int | None = None  # number of the access that stores the totals


@dataclass(slots=True)
class Stage:
    """Code once a row, the body of a loop over the row, the totals of that loop: lines with ``@k@`` for the index of access k."""

    row: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    reductions: list[Reduction] = field(default_factory=list)

    def accesses(self) -> set[int]:
        """Numbers of the accesses in the body."""
        return {int(k) for line in self.body for k in line.split("@")[1::2]}


@dataclass
class Nest:
    """What goes into a nest before it is text: accesses by number, and stages; `body` and `reductions` are those of the last."""

    space: tuple[int, ...]
    reduced: tuple[int, ...]
    unrolled: bool = False  # no loops over the reduced axes
    panel: int = 0  # columns that go through the stages together
    accesses: list[Access] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=lambda: [Stage()])
    starts: list[tuple[int, str]] = field(default_factory=list)  # accesses along a row, and what is there before the first row

    def access(self, pointer: str, strides: tuple[int, ...], local: bool = False) -> int:
        self.accesses.append(Access(pointer, strides, local))
        return len(self.accesses) - 1

    @property
    def body(self) -> list[str]:
        return self.stages[-1].body

    @property
    def reductions(self) -> list[Reduction]:
        return self.stages[-1].reductions

    @property
    def num_reductions(self) -> int:
        return sum(len(stage.reductions) for stage in self.stages)

    @property
    def has_rows(self) -> bool:
        return len(self.stages) > 1 or bool(self.stages[0].row or self.starts)


class NestText:
    """Writes a nest: lines of Python, and the sizes its text reads in order from `first` on."""

    def __init__(self, nest: Nest, first: int, streamed: dict[int, str] | None = None) -> None:
        self.nest = nest
        self.streamed = streamed or {}  # accesses, and their pointers, that are written by lines of the cache
        self.first = first
        self.sizes: list[int] = []
        self.head: list[str] = []
        self.lines: list[str] = []
        self.axes = self._merged()
        self.extents = [self._size(f"n{i}", extent) for i, (extent, _, _) in enumerate(self.axes)]
        self.inner_kept = bool(self.axes) and not self.axes[-1][1]
        self.is_vector = self._is_vector()
        self.in_pairs = self._is_long()
        if self.is_vector or self._is_short():
            self.extents[-1] = str(self.axes[-1][0])
        self.strides: dict[tuple[int, int], str] = {}
        self.known = self._known_strides()

    def _size(self, name: str, value: int) -> str:
        self.head.append(f"{name} = size(n, {self.first + len(self.sizes)})")
        self.sizes.append(value)
        return name

    def _known_strides(self) -> set[int]:
        """Small steps of what the innermost loop writes: as text they are not zero, so that it may write vectors."""
        written = [int(line.split("@")[1]) for stage in self.nest.stages for line in stage.body if line.startswith("store(")]
        return {s for s in (self.axes[-1][2][k] for k in written if self.axes and not is_any()) if 1 < abs(s) <= FEW}

    def _merged(self) -> list[tuple[int, bool, list[int]]]:
        """Axes as (extent, reduced, stride per access) after dropping axes of 1, sorting by stride and merging neighbours."""
        nest = self.nest
        axes: list[tuple[int, bool, list[int]]] = []
        order = sorted(range(len(nest.space)), key=lambda axis: -sum(abs(a.strides[axis]) for a in nest.accesses))
        if nest.panel:  # the last axis is that of the columns side by side
            last = max(axis for axis, n in enumerate(nest.space) if n != 1)
            order = [*[axis for axis in order if axis != last], last]
        elif nest.has_rows:
            order.sort(key=lambda axis: axis in nest.reduced)
        for axis in order:
            extent = nest.space[axis]
            if extent == 1 or (nest.unrolled and axis in nest.reduced):
                continue
            strides = [a.strides[axis] for a in nest.accesses]
            reduced = axis in nest.reduced
            if axes and axes[-1][1] == reduced and all(o == s * extent for o, s in zip(axes[-1][2], strides, strict=True)):
                axes[-1] = (axes[-1][0] * extent, reduced, strides)
            else:
                axes.append((extent, reduced, strides))
        if nest.panel:
            axes[:-1] = sorted(axes[:-1], key=lambda a: a[1])
        elif nest.num_reductions and axes and axes[-1][1]:  # totals in registers: kept axes outside
            axes.sort(key=lambda a: a[1])
        return axes

    @property
    def can_stream(self) -> bool:
        """Is the innermost loop one that may fill lines of the cache (`irgrad.codegen.streams`)?"""
        in_memory = self.nest.num_reductions and self.inner_kept and not self.nest.has_rows
        return bool(self.axes) and not self.nest.unrolled and not self.nest.panel and not in_memory

    def write(self) -> tuple[list[str], list[int]]:
        for pointer in self.streamed.values():
            self.head.append(f"line_{pointer} = line({pointer})")
        if self.nest.unrolled:
            self._loops(range(len(self.axes)), 1, {}, self._unrolled)
        elif self.nest.panel:
            self._in_panels()
        elif self.nest.num_reductions and self.inner_kept and not self.nest.has_rows:
            if self._is_narrow():
                self._accumulate_narrow()
            else:
                self._accumulate_in_memory()
        elif self.nest.num_reductions or self.nest.has_rows:
            self._accumulate_in_registers()
        else:
            self._loops(range(len(self.axes)), 1, {}, self._body)
        if self.streamed:
            self.lines.append("    fence()")
        return self.head + self.lines, self.sizes

    # -- loops -------------------------------------------------------------------------------------------------------

    def _line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def _loops(
        self, axes: range, depth: int, bases: dict[int, str], body: Callable[[int, dict[int, str]], None], only: set[int] | None = None
    ) -> None:
        """Open loops over `axes`, keep each access's base, and write the body inside."""
        if not axes:
            body(depth, bases)
            return
        axis = axes[0]
        last = len(axes) == 1
        streamed = self._streamed(axis, only)
        if streamed:
            self._in_lines(axis, depth, bases, streamed, lambda d: body(d, self._advance(axis, d, bases, True, only)))
            return
        self._line(depth, f"for i{axis} in {self._range(axis)}:")
        body_bases = self._advance(axis, depth + 1, bases, last, only)
        self._loops(axes[1:], depth + 1, body_bases, body, only)

    def _streamed(self, axis: int, only: set[int] | None) -> list[int]:
        """The accesses that the loop over an axis writes by lines of the cache."""
        if axis != len(self.axes) - 1:
            return []
        return [number for number in self.streamed if only is None or number in only]

    def _in_lines(self, axis: int, depth: int, bases: dict[int, str], streamed: list[int], body: Callable[[int], None]) -> None:
        """The innermost loop, in parts that fit into the line buffers."""
        extent = self.extents[axis]
        self._line(depth, f"for j{axis} in range(0, {extent}, {LINE}):")
        self.lines += fetched(self.nest.body, axis, self.axes[axis][2], bases, depth + 1)
        self._line(depth + 1, f"for i{axis} in {'pairs' if self.in_pairs else 'range'}(j{axis}, min(j{axis} + {LINE}, {extent})):")
        body(depth + 2)
        self._move_lines(axis, depth + 1, bases, streamed, LINE)

    def _move_lines(self, axis: int, depth: int, bases: dict[int, str], streamed: list[int], length: int) -> None:
        for number in streamed:
            pointer = self.streamed[number]
            at = f"{bases[number]} + j{axis}" if number in bases else f"j{axis}"
            self._line(depth, f"stream({pointer}, {at}, line_{pointer}, min({length}, {self.extents[axis]} - j{axis}))")

    def _advance(self, axis: int, depth: int, bases: dict[int, str], last: bool, only: set[int] | None) -> dict[int, str]:
        new = dict(bases)
        made: dict[tuple[str, int], str] = {}
        for number in range(len(self.nest.accesses)):
            if only is not None and number not in only:
                continue
            stride = self.axes[axis][2][number]
            if stride == 0:
                continue
            base = bases.get(number)
            key = (base or "", stride)
            known = made.get(key)
            if known is not None:
                new[number] = known
                continue
            innermost = axis == len(self.axes) - 1
            if stride == 1 and innermost:
                term = f"i{axis}"
            else:
                term = f"i{axis} * {self._stride(axis, number, stride)}"
            expression = term if base is None else f"{base} + {term}"
            if last and (base is None or stride == 1) and stride == 1 and innermost:
                made[key] = new[number] = expression if base is None else f"({expression})"
            else:
                name = f"b{number}_{axis}"
                self._line(depth, f"{name} = {expression}")
                made[key] = new[number] = name
        return new

    def _stride(self, axis: int, number: int, stride: int) -> str:
        if self.nest.unrolled and abs(stride) <= NEAR:  # known to LLVM, elements of neighbouring rows are loaded together
            return str(stride)
        if axis == len(self.axes) - 1 and stride in self.known:
            return str(stride)
        known = self.strides.get((number, axis))
        if known is None:
            known = self.strides[number, axis] = self._size(f"s{number}_{axis}", stride)
        return known

    def _body(self, depth: int, bases: dict[int, str]) -> None:
        self._write(self.nest.body, depth, bases)

    def _write(self, lines: list[str], depth: int, bases: dict[int, str]) -> None:
        for line in lines:
            self._line(depth, self._fill(line, bases))

    def _fill(self, line: str, bases: dict[int, str]) -> str:
        parts = line.split("@")
        if self.streamed and line.startswith("store(") and int(parts[1]) in self.streamed:
            innermost = len(self.axes) - 1
            return f"store(line_{self.streamed[int(parts[1])]}, i{innermost} - j{innermost}{parts[2]}"
        for k in range(1, len(parts), 2):
            parts[k] = bases.get(int(parts[k]), "0")
        return "".join(parts)

    # -- rows without loops ------------------------------------------------------------------------------------------

    def _unrolled(self, depth: int, bases: dict[int, str]) -> None:
        """The body of a loop over short rows: variables of its own for each element."""
        nest = self.nest
        places = list(itertools.product(*[range(nest.space[axis]) for axis in nest.reduced]))
        varying: set[str] = set()  # variables that differ between the elements of a row
        for stage in nest.stages:
            self._write(stage.row, depth, bases)
            once, lines = self._shared(stage.body, varying, lambda k: any(nest.accesses[k].strides[axis] for axis in nest.reduced))
            self._write(once, depth, bases)
            for r in stage.reductions:
                self._line(depth, f"{r.name} = {r.initial}")
            for number, place in enumerate(places):
                at = {k: self._offset(k, place, bases) for k in range(len(nest.accesses))}
                self._write([_own(line, varying, number) for line in lines], depth, at)
                for r in stage.reductions:
                    self._line(depth, f"{r.name} = {r.combine(r.name, _own(r.value, varying, number))}")
            for r in stage.reductions:
                if r.out is not None:
                    self._line(depth, f"store({nest.accesses[r.out].pointer}, {bases.get(r.out, '0')}, {r.name})")

    def _offset(self, number: int, place: tuple[int, ...], bases: dict[int, str]) -> str:
        """Where an access finds an element of the row."""
        near, parts = 0, [bases[number]] if number in bases else []
        for axis, k in zip(self.nest.reduced, place, strict=True):
            stride = self.nest.accesses[number].strides[axis]
            if abs(stride) <= NEAR:
                near += k * stride
            elif k:
                name = self._far(number, axis, stride)
                parts.append(f"{k} * {name}")
        return " + ".join([*parts, str(near)] if near or not parts else parts)

    def _far(self, number: int, axis: int, stride: int) -> str:
        known = self.strides.get((number, ~axis))
        if known is None:
            known = self.strides[number, ~axis] = self._size(f"r{number}_{axis}", stride)
        return known

    # -- reductions --------------------------------------------------------------------------------------------------

    def _accumulate_in_memory(self) -> None:
        """Totals along the innermost axis: initialise them, then add whole rows (numpy's own order)."""
        kept = [a for a, (_, reduced, _) in enumerate(self.axes) if not reduced]
        outs = {r.out for r in self.nest.reductions if r.out is not None}

        def start(depth: int, bases: dict[int, str]) -> None:
            for r in self.nest.reductions:
                self._line(depth, f"store({self.nest.accesses[r.out or 0].pointer}, {bases.get(r.out or 0, '0')}, {r.initial})")

        self._chosen_loops(kept, 1, {}, start, outs)

        def step(depth: int, bases: dict[int, str]) -> None:
            self._body(depth, bases)
            for r in self.nest.reductions:
                pointer, at = self.nest.accesses[r.out or 0].pointer, bases.get(r.out or 0, "0")
                self._line(depth, f"{r.name} = load({pointer}, {at})")
                self._line(depth, f"store({pointer}, {at}, {r.combine(r.name, r.value)})")

        self._loops(range(len(self.axes)), 1, {}, step)

    def _is_short(self) -> bool:
        """Is the innermost of several loops no vector, and worth writing with its length, so that LLVM does away with it?"""
        limit = FEW if self.nest.unrolled else NARROW
        many = len(self.axes) > 1 and not is_any() and math.prod(n for n, _, _ in self.axes) >= MANY
        return many and self.axes[-1][0] <= limit and self.inner_kept

    def _is_vector(self) -> bool:
        """Is the innermost of several loops whole vectors, and worth writing with its length, so that LLVM makes them of it?"""
        many = len(self.axes) > 1 and not is_any() and math.prod(n for n, _, _ in self.axes) >= MANY
        return many and self.axes[-1][0] in VECTORS and self.inner_kept and not self.nest.unrolled

    def _is_long(self) -> bool:
        """Do the elements of a large nest each go through several functions, one behind the other?"""
        nest = self.nest
        if nest.num_reductions or nest.has_rows or nest.unrolled or math.prod(n for n, _, _ in self.axes) < LARGE:
            return False
        depths: dict[str, int] = {}
        for line in nest.body:
            name = _DEFINED.match(line)
            if name:
                depths[name[1]] = max((depths.get(v, 0) for v in _VARIABLE.findall(line[name.end() :])), default=0) + bool(
                    _WRITTEN.search(line)
                )
        return max(depths.values(), default=0) >= LONG

    def _range(self, axis: int) -> str:
        if axis < len(self.axes) - 1:
            return f"range({self.extents[axis]})"
        return f"{'lanes' if self.is_vector else 'pairs' if self.in_pairs else 'range'}({self.extents[axis]})"

    def _is_narrow(self) -> bool:
        """Are there a few totals side by side along the innermost axis, and few others that are added up together?"""
        extent, _, _ = self.axes[-1]
        first = next((a for a, (_, reduced, _) in enumerate(self.axes) if reduced), len(self.axes))
        together = math.prod(n for n, reduced, _ in self.axes[first:-1] if not reduced)
        statements = (len(self.nest.body) + len(self.nest.reductions)) * extent
        many = not is_any() and math.prod(n for n, _, _ in self.axes) >= MANY
        return first < len(self.axes) and extent <= NARROW and together <= FEW and statements <= STATEMENTS and many

    def _accumulate_narrow(self) -> None:
        """Totals in variables, one for each element of the innermost axis: the other kept axes outside, then those that are added up."""
        kept = [a for a, (_, reduced, _) in enumerate(self.axes[:-1]) if not reduced]
        inner = [a for a, (_, reduced, _) in enumerate(self.axes) if reduced]
        extent, _, steps = self.axes[-1]
        everything = set(range(len(self.nest.accesses)))
        varying: set[str] = set()
        once, lines = self._shared(self.nest.body, varying, lambda k: bool(steps[k]))

        def at(k: int, number: int, bases: dict[int, str]) -> str:
            step = steps[number] * k
            far = f"{k} * {self._stride(len(self.axes) - 1, number, steps[number])}" if abs(steps[number]) > NEAR else str(step)
            return " + ".join([*([bases[number]] if number in bases else []), *([far] if step or number not in bases else [])])

        def add(depth: int, bases: dict[int, str]) -> None:
            self._write(once, depth, bases)
            for k in range(extent):
                places = {number: at(k, number, bases) for number in everything}
                self._write([_own(line, varying, k) for line in lines], depth, places)
                for r in self.nest.reductions:
                    name, value = f"{r.name}_{k}", _own(r.value, varying, k)
                    self._line(
                        depth, f"{name} = add_any_order({name}, {value})" if r.kind == "sum" else f"{name} = {r.combine(name, value)}"
                    )

        def totals(depth: int, bases: dict[int, str]) -> None:
            for r in self.nest.reductions:
                for k in range(extent):
                    self._line(depth, f"{r.name}_{k} = {r.initial}")
            self._chosen_loops(inner, depth, bases, add, everything)
            for r in self.nest.reductions:
                for k in range(extent):
                    assert r.out is not None
                    self._line(depth, f"store({self.nest.accesses[r.out].pointer}, {at(k, r.out, bases)}, {r.name}_{k})")

        self._chosen_loops(kept, 1, {}, totals, everything)

    def _shared(self, body: list[str], varying: set[str], moves: Callable[[int], bool]) -> tuple[list[str], list[str]]:
        """Lines that are the same for elements side by side, and the others, with variables `varying`; `moves` tells of accesses."""
        once: list[str] = []
        lines: list[str] = []
        for line in body:
            name = _DEFINED.match(line)
            if name and varying.isdisjoint(_VARIABLE.findall(line)) and not any(moves(int(k)) for k in line.split("@")[1::2]):
                once.append(line)
            else:
                lines.append(line)
                varying |= {name[1]} if name else set()
        return once, lines

    def _chosen_loops(
        self, axes: list[int], depth: int, bases: dict[int, str], body: Callable[[int, dict[int, str]], None], only: set[int]
    ) -> None:
        if not axes:
            body(depth, bases)
            return
        axis = axes[0]
        self._line(depth, f"for i{axis} in {self._range(axis)}:")
        self._chosen_loops(axes[1:], depth + 1, self._advance(axis, depth + 1, bases, len(axes) == 1, only), body, only)

    def _accumulate_in_registers(self) -> None:
        """Totals in scalar variables: kept axes outside, reduced axes inside, the innermost in blocks."""
        count = sum(not reduced for _, reduced, _ in self.axes)
        inner = range(count, len(self.axes))
        length = math.prod(self.axes[axis][0] for axis in inner)

        def stages(depth: int, bases: dict[int, str]) -> None:
            for stage in self.nest.stages:
                self._write(stage.row, depth, bases)
                if stage.body or stage.reductions:
                    self._stage(stage, inner, length, depth, bases)
                for r in stage.reductions:
                    if r.out is not None:
                        self._line(depth, f"store({self.nest.accesses[r.out].pointer}, {bases.get(r.out, '0')}, {r.name})")

        def start(depth: int, bases: dict[int, str]) -> None:
            for number, initial in self.nest.starts:
                self._line(depth, f"store({self.nest.accesses[number].pointer}, {bases.get(number, '0')}, {initial})")

        if self.nest.starts:
            self._loops(inner, 1, {}, start, {number for number, _ in self.nest.starts})
        for r in [r for stage in self.nest.stages for r in stage.reductions]:
            if r.kind == "sum" and length > BLOCK:
                self.head.append(f"part_{r.name} = scratch_{r.dtype}(0)")
        self._loops(range(count), 1, {}, stages)

    def _in_panels(self) -> None:
        """All stages of some columns side by side, then those of the next: kept axes outside, then panels, reduced axes, the columns."""
        inner, width = len(self.axes) - 1, self.nest.panel
        extent = self.extents[inner]
        kept, reduced = ([a for a in range(inner) if self.axes[a][1] is is_reduced] for is_reduced in (False, True))
        moving = {number for number, access in enumerate(self.nest.accesses) if not access.local}

        def panel(depth: int, bases: dict[int, str]) -> None:
            self._line(depth, f"for q in range(0, {extent}, {width}):")
            self._line(depth + 1, f"w = min({width}, {extent} - q)")
            placed = dict(bases)
            for number in sorted(moving):
                stride = self.axes[inner][2][number]
                if stride:
                    term = "q" if stride == 1 else f"q * {self._stride(inner, number, stride)}"
                    self._line(depth + 1, f"q{number} = {bases[number]} + {term}" if number in bases else f"q{number} = {term}")
                    placed[number] = f"q{number}"
            for stage in self.nest.stages:
                self._panel_stage(stage, reduced, depth + 1, placed)

        self._chosen_loops(kept, 1, {}, panel, moving)

    def _panel_stage(self, stage: Stage, reduced: list[int], depth: int, bases: dict[int, str]) -> None:
        """Code once a column, then a loop over the columns for each of their elements, with totals in memory."""
        outs = {r.out for r in stage.reductions if r.out is not None}
        only = stage.accesses() | outs
        inner = len(self.axes) - 1

        def columns(depth: int, bases: dict[int, str], only: set[int]) -> dict[int, str]:
            self._line(depth, f"for i{inner} in range(w):")
            return self._advance(inner, depth + 1, bases, True, only)

        def start(places: dict[int, str]) -> None:
            for r in stage.reductions:
                self._line(depth + 1, f"store({self.nest.accesses[r.out or 0].pointer}, {places.get(r.out or 0, '0')}, {r.initial})")

        def add(depth: int, bases: dict[int, str]) -> None:
            places = columns(depth, bases, only)
            self._write(stage.body, depth + 1, places)
            for r in stage.reductions:
                pointer, at = self.nest.accesses[r.out or 0].pointer, places.get(r.out or 0, "0")
                self._line(depth + 1, f"{r.name} = load({pointer}, {at})")
                self._line(depth + 1, f"store({pointer}, {at}, {r.combine(r.name, r.value)})")

        if stage.row:
            once = {int(k) for line in stage.row for k in line.split("@")[1::2]}
            self._write(stage.row, depth + 1, columns(depth, bases, once))
        if stage.reductions:
            start(columns(depth, bases, outs))
        if stage.body or stage.reductions:
            self._chosen_loops(reduced, depth, bases, add, only)

    def _stage(self, stage: Stage, inner: range, length: int, depth: int, bases: dict[int, str]) -> None:
        """One loop over a row, with its totals."""
        sums = [r for r in stage.reductions if r.kind == "sum" and inner]
        blocked = sums if length > BLOCK else []
        only = stage.accesses() if len(self.nest.stages) > 1 else None
        for r in stage.reductions:
            if r not in blocked:
                self._line(depth, f"{r.name} = {r.initial}")
        if blocked:
            self._line(depth, "count = 0")
        if not inner:
            self._fold(stage, depth, bases, sums)
        else:
            self._loops(inner[:-1], depth, bases, lambda d, b: self._blocks(stage, inner[-1], d, b, sums, blocked, only), only)
        for r in blocked:
            self._line(depth, f"{r.name} = collect(part_{r.name}, count, {r.initial})")

    def _fold(self, stage: Stage, depth: int, bases: dict[int, str], sums: list[Reduction]) -> None:
        self._write(stage.body, depth, bases)
        for r in stage.reductions:
            if r in sums:
                self._line(depth, f"{r.name} = add_any_order({r.name}, {r.value})")
            else:
                self._line(depth, f"{r.name} = {r.combine(r.name, r.value)}")

    def _blocks(
        self,
        stage: Stage,
        axis: int,
        depth: int,
        bases: dict[int, str],
        sums: list[Reduction],
        blocked: list[Reduction],
        only: set[int] | None,
    ) -> None:
        extent = self.extents[axis]
        streamed = self._streamed(axis, stage.accesses())

        def fold(depth: int) -> None:
            self._fold(stage, depth, self._advance(axis, depth, bases, True, only), sums)

        if not blocked and streamed:
            self._in_lines(axis, depth, bases, streamed, fold)
            return
        if not blocked:
            self._line(depth, f"for i{axis} in range({extent}):")
            fold(depth + 1)
            return
        self._line(depth, f"for j{axis} in range(0, {extent}, {BLOCK}):")
        for r in blocked:
            self._line(depth + 1, f"{r.name} = {r.initial}")
        self._line(depth + 1, f"for i{axis} in range(j{axis}, min(j{axis} + {BLOCK}, {extent})):")
        fold(depth + 2)
        self._move_lines(axis, depth + 1, bases, streamed, BLOCK)
        self._line(depth + 1, "count += 1")
        for r in blocked:
            self._line(depth + 1, f"push(part_{r.name}, count, {r.name})")


def _own(text: str, varying: set[str], number: int) -> str:
    """`text` with the variables of the number-th element of a row."""
    return _VARIABLE.sub(lambda name: f"{name[0]}_{number}" if name[0] in varying else name[0], text)


def copy_kernel(strides: tuple[int, ...], shape: tuple[int, ...], name: str, is_apart: bool) -> tuple[str, list[int]]:
    """Text and sizes of a kernel that copies an array of the dtype `name` with these strides into a contiguous one."""
    nest = Nest(shape, ())
    a, b = nest.access("p0", strides), nest.access("p1", contiguous(shape))
    nest.body.extend([f"v1 = load(p0, @{a}@)", f"store(p1, @{b}@, v1)"])  # as lowering writes it
    lines, sizes = NestText(nest, 0).write()
    name = name if name != "float16" else "int16"  # bits of a dtype that kernels do not compute with
    heads = [f"scoped_{name}(p, {k}, {k}, 2)" if is_apart else f"pointer_{name}(p, {k})" for k in (0, 1)]
    head = ["def kernel(p, n):", *[f"    p{k} = {text}" for k, text in enumerate(heads)]]
    return "\n".join([*head, *[line if line.startswith("    ") else f"    {line}" for line in lines], "    return 0", ""]), sizes
