"""Innermost loops as vectors, written here instead of by LLVM's vectoriser, which takes most of the time of compiling a kernel.

A loop whose iterations do not depend on one another, but for totals, becomes a loop over whole vectors and, for the iterations left
over, one over vectors of which a mask says what lanes count. Both put the same operations on each element, so that a value does not
depend on its position. What is not understood (choices between statements, functions without a vector form) is left to LLVM's
vectoriser; so are processors without masks. Writes at places that are data are no vectors for LLVM either: those loops are plain ones.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from functools import cache, lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from irgrad.codegen import processor, vector
from irgrad.codegen.llvm.groups import Group
from irgrad.codegen.llvm.kinds import FLOATS, LLVM, MEMORY, Number, Pointer, Serial, Unsupported, cast
from irgrad.codegen.llvm.lanes import Many, Place, Step, Wider, is_whole, lanes_of
from irgrad.codegen.llvm.moves import LaneWriter, Near
from irgrad.codegen.llvm.tree import walk
from irgrad.codegen.llvm.writer import I64, Type, Value

if TYPE_CHECKING:
    from irgrad.codegen.llvm.function import Function

FOLDS = {"add_any_order": "fadd", "greatest": "maximum", "least": "minimum"}
# what does not pay for elements an unknown distance apart to be written as vectors
CHEAP = re.compile(r"load|store|select|greatest|least|m(ax|in)imum|add_any_order|fabs|sign|sqrt|is\w+|as_\w+|real|imag|conj|complex")
COPIES = re.compile(r"  (%\w+ = (getelementptr|load) |store )")
NEUTRAL = {"fadd": -0.0, "maximum": float("-inf"), "minimum": float("inf")}
ENOUGH = 16  # statements in a turn of a loop with totals: shorter bodies are written several times, for sums need not wait for each other
MOST = 4
FEWEST = 4  # lanes
FEW = 4  # statements of a body that may copy memory
LONG = 40  # statements of a body that gathers, and is written once, under a mask in every turn


def is_possible() -> bool:
    """Has the processor masks, and is LLVM one whose text is known?"""
    return vector.width() == 512 and _is_known()


@cache
def _is_known() -> bool:
    from irgrad.codegen.llvm.binding import KNOWN

    return processor.version_of("llvmlite").startswith(KNOWN)


class Total:
    """A variable that the iterations of a loop add to."""

    def __init__(self, name: str, kind: str, fold: str) -> None:
        self.name = name
        self.kind = kind
        self.fold = fold

    def together(self, type_: Type, a: str, b: str) -> str:
        """The instruction that joins two parts."""
        if self.fold == "fadd":
            return f"fadd reassoc {type_.name} {a}, {b}"
        lanes: Any = type_
        return f"call {type_.name} @llvm.{self.fold}.v{lanes.count}f{type_.width}({type_.name} {a}, {type_.name} {b})"


def vectorised(function: Function, statement: ast.For, start: Value, stop: Value) -> bool:
    """Write a loop as vectors, where it can be."""
    inside = {type(node) for each in statement.body for node in walk(each)}
    if inside & {ast.For, ast.While, ast.Return, ast.Break}:  # no loop that can be vectors, for LLVM neither
        return False
    if _kind(statement) == "singles" or _is_scattered(statement):
        return False
    name = statement.target.id if isinstance(statement.target, ast.Name) else ""
    if function.module.may_have_vectors and is_possible() and name not in (*function.kept, *function.loop_names, *function.assigned):
        w, names, count = function.w, function.names, function.w.count
        lanes = vector.width() // (64 if _is_wide(function, statement) else 32)
        extent = int(stop.text) - int(start.text) if w.is_constant(start) and w.is_constant(stop) else lanes
        while lanes // 2 >= max(extent, FEWEST):
            lanes //= 2
        while lanes >= FEWEST:
            try:
                loop, made = _written(function, statement, start, stop, lanes)
            except Wider:
                w.count = count
                lanes //= 2
                continue
            except Serial:
                w.count = count
                return False
            except Unsupported:
                w.count = count
                break
            finally:
                function.w, function.names = w, names
            w.lines += made
            w.block = loop.after
            loop.end()
            function.module.num_vector_loops += 1
            return True
    function.module.num_plain_loops += 1
    return False


def _is_wide(function: Function, statement: ast.For) -> bool:
    """Does a loop move 64-bit numbers alone?"""
    used = {node.id for each in statement.body for node in walk(each) if isinstance(node, ast.Name)}
    pointers = [value for name in used if isinstance(value := function.names.get(name), Pointer)]
    return bool(pointers) and all(MEMORY[pointer.element].width == 64 for pointer in pointers)


def _written(function: Function, statement: ast.For, start: Value, stop: Value, lanes: int) -> tuple[_Loop, list[str]]:
    """A loop in so many lanes, and its text: written again where elements are near one another, which is known behind it."""
    w, names, count = function.w, function.names, function.w.count
    is_known = w.is_constant(start) and w.is_constant(stop)
    is_long, is_chain = len(statement.body) >= LONG and not is_known, _kind(statement) == "pairs"
    called = [node.func for each in statement.body for node in walk(each) if isinstance(node, ast.Call)]
    scatters = any(isinstance(name, ast.Name) and not CHEAP.fullmatch(name.id) for name in called)
    groups: list[Group | None] | None = None
    for _ in range(2):
        lane_writer = LaneWriter(w, lanes, vector.width(), is_long, is_chain)
        lane_writer.groups, lane_writer.scatters = groups, scatters
        loop = _Loop(function, statement, start, stop, lane_writer)
        try:
            made = loop.lines()
        except Near as found:
            groups = found.groups
            function.w, function.names, w.count = w, names, count
            if not is_known:
                continue
        if is_known and (groups or any(a.place and not a.place.is_dense and is_whole(a.place.step) for a in lane_writer.accesses)):
            break  # LLVM may read them in front of a loop around this one
        return loop, made
    raise Unsupported("elements near one another")


class _Loop:
    """One loop on its way into vectors."""

    def __init__(self, function: Function, statement: ast.For, start: Value, stop: Value, w: LaneWriter) -> None:
        self.function = function
        self.body = statement.body
        self.least = 2 if w.is_chain else 1
        assert isinstance(statement.target, ast.Name)
        self.counter = statement.target.id
        self.start = start
        self.stop = stop
        self.w = w
        known = w.is_constant(start) and w.is_constant(stop)
        self.extent = int(stop.text) - int(start.text) if known else 1 << 30
        self.totals = self._totals()
        self.results: list[str] = []
        self.after = ""

    def _totals(self) -> list[Total]:
        """The variables that are added to. Raises Unsupported where another one outlives an iteration."""
        found: dict[str, Total] = {}
        own = self._own()
        for each in self.body:
            name, value = _assigned(each)
            if name in self.function.kept and name not in own:
                if name in found or not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name):
                    raise Unsupported("a variable of several iterations")
                fold, kind = FOLDS.get(value.func.id), self.function.kinds.get(name, "")
                first = value.args[0]
                if fold is None or kind not in FLOATS or not isinstance(first, ast.Name) or first.id != name:
                    raise Unsupported("a variable of several iterations")
                found[name] = Total(name, kind, fold)
        read = [name for each in self.body for name, is_read in _names(each) if is_read]
        if any(read.count(name) != 1 for name in found):
            raise Unsupported("a total that iterations read")
        return list(found.values())

    def _own(self) -> set[str]:
        """Variables that are set anew in each iteration, and read in this loop alone."""
        reads: Counter[str] = Counter()
        fresh: set[str] = set()
        for each in self.body:
            found = _names(each)
            reads.update([name for name, is_read in found if is_read])
            fresh |= {name for name, is_read in found if not is_read and not reads[name]}
        everywhere = _reads(self.function.definition)
        return {name for name in fresh if reads[name] == everywhere[name]}

    # -- the body --

    def _copy(self, first: str, olds: list[str], mask: str = "") -> tuple[list[str], list[str]]:
        """The lines of one copy of the body, and what the totals are behind it."""
        f, w = self.function, self.w
        w.begin(first)
        if mask:
            left = w.each(f"sub i64 {self.stop.text}, {first}", I64).name
            left = w.each(f"trunc i64 {left} to i32", I64).name
            lines, known = w.lines, w.masked(left)
            w.begin(first, known)
            w.lines = lines
        outer, f.w = f.names, w
        f.names = {**outer, self.counter: Number("int64", Step(I64(0), 0, I64(1)))}
        new = dict(zip([t.name for t in self.totals], olds, strict=True))
        by_name = {t.name: t for t in self.totals}
        kinds: dict[str, str] = {}
        try:
            for each in self.body:
                name, value = _assigned(each)
                total = by_name.get(name)
                if total is None and name in f.kept:
                    number = f.number(value)
                    if kinds.setdefault(name, number.kind) != number.kind:
                        raise Unsupported("a variable of several kinds")
                    f.names[name] = number
                elif total is None:
                    f.statements([each])
                else:
                    assert isinstance(value, ast.Call)
                    new[name] = self._fold(total, new[name], f.number(value.args[1]))
            w.flush()
        finally:
            f.w, f.names = w.around, outer
        w.find_groups()
        return w.lines, list(new.values())

    def _fold(self, total: Total, old: str, value: Number) -> str:
        w = self.w
        if value.im is not None:
            raise Unsupported("a total of complex numbers")
        type_ = lanes_of(LLVM[total.kind], w.lanes)
        if total.fold != "fadd":
            symbol = f"@llvm.{total.fold}.v{type_.count}f{type_.width}"
            w.module.declare(symbol, f"{type_.name} {symbol}({type_.name}, {type_.name})")
        new = w.each(total.together(type_, old, w.many(cast(w, value, total.kind).re)), type_)
        if w.mask:
            new = w.each(f"select <{w.lanes} x i1> {w.mask}, {type_.name} {new.name}, {type_.name} {old}", type_)
        return new.name

    # -- the loops around it --

    def lines(self) -> list[str]:
        """Text from the block before the loop to the one behind it; `results` are then the totals' vectors."""
        w, outer = self.w, self.w.around
        short = self._short() if not self.totals and self.extent <= MOST * w.lanes else []
        moved = short or (self._moved() if not self.totals and len(self.body) <= FEW else [])
        if moved:
            return moved
        moved = self._once() if w.is_long and self.least == 1 else []
        if moved:
            return moved
        copies = self._copies()
        before, main, rest, some, done = (outer.label(name) for name in ("vectors", "vector.body", "middle.block", "some", "done"))
        self.after = outer.label("after")
        end, i, j = (f"%{outer.label(name)}" for name in ("end", "i", "j"))
        types = [lanes_of(LLVM[t.kind], w.lanes) for t in self.totals]
        neutral = [w.many(LLVM[t.kind](NEUTRAL[t.fold])) for t in self.totals]
        phis, turns, made = self._main(copies, i, before, main, neutral, types)
        last = [f"%{outer.label('t')}" for _ in self.totals]
        masked, new = self._copy(j, last, "some")
        joined, join = self._joined(made, neutral, types, before, main)
        self.results = [f"%{outer.label('t')}" for _ in self.totals]
        w.check(copies)
        again = f"i1 {j}m" if copies > 1 else "i1 false"  # one copy leaves less than a vector
        notes = w.module.vector_loop(), w.module.vector_loop() if copies > 1 else ""
        start, stop, count = self.start.text, self.stop.text, f"%{before}c"
        text = [f"  %{before}n = icmp slt i64 {start}, {stop}", f"  br i1 %{before}n, label %{before}, label %{self.after}", f"{before}:"]
        text += [*w.before, f"  {count} = sub i64 {stop}, {start}", f"  {count}w = and i64 {count}, {-copies * w.lanes}"]
        text += [f"  {end} = add i64 {start}, {count}w", f"  {count}m = icmp ne i64 {count}w, 0"]
        text += [f"  br i1 {count}m, label %{main}, label %{rest}", f"{main}:", f"  {i} = phi i64 [{start}, %{before}], [{i}n, %{main}]"]
        text += [*phis, *turns, f"  {i}n = add nsw i64 {i}, {copies * w.lanes}", f"  {i}m = icmp slt i64 {i}n, {end}"]
        text += [f"  br i1 {i}m, label %{main}, label %{rest}{notes[0]}", f"{rest}:", *join, f"  {end}m = icmp slt i64 {end}, {stop}"]
        text += [f"  br i1 {end}m, label %{some}, label %{done}", f"{some}:", f"  {j} = phi i64 [{end}, %{rest}], [{j}n, %{some}]"]
        text += _nodes(types, last, joined, rest, new, some)
        text += [*masked, f"  {j}n = add nsw i64 {j}, {w.lanes}", f"  {j}m = icmp slt i64 {j}n, {stop}"]
        text += [f"  br {again}, label %{some}, label %{done}{notes[1]}", f"{done}:"]
        return [*text, *_nodes(types, self.results, joined, rest, new, some), *self._stored(types)]

    def _once(self) -> list[str]:
        """One loop whose vectors all have a mask, which gathers take as they are: half of the text. Nothing for a loop without them."""
        w, outer = self.w, self.w.around
        before, main, done = (outer.label(name) for name in ("vectors", "vector.body", "middle.block"))
        self.after, j = outer.label("after"), f"%{outer.label('j')}"
        types = [lanes_of(LLVM[t.kind], w.lanes) for t in self.totals]
        olds = [f"%{outer.label('t')}" for _ in self.totals]
        masked, self.results = self._copy(j, olds, main)
        if all(access.place is None or access.place.is_dense for access in w.accesses):
            return []
        w.check()
        neutral = [w.many(LLVM[t.kind](NEUTRAL[t.fold])) for t in self.totals]
        start, stop = self.start.text, self.stop.text
        text = [f"  %{before}n = icmp slt i64 {start}, {stop}", f"  br i1 %{before}n, label %{before}, label %{self.after}"]
        text += [f"{before}:", *w.before, f"  br label %{main}", f"{main}:", f"  {j} = phi i64 [{start}, %{before}], [{j}n, %{main}]"]
        text += [*_nodes(types, olds, neutral, before, self.results, main), *masked]
        text += [f"  {j}n = add nsw i64 {j}, {w.lanes}", f"  {j}m = icmp slt i64 {j}n, {stop}"]
        text += [f"  br i1 {j}m, label %{main}, label %{done}{w.module.vector_loop()}", f"{done}:"]
        return [*text, *self._stored(types)]

    def _short(self) -> list[str]:
        """A few vectors whose number is known: no loop."""
        w, lines = self.w, [""]  # of LLVM's text, which may have empty ones
        first, whole = int(self.start.text), self.extent // w.lanes
        self.after = w.around.label("after")
        if self.extent <= 0:
            return lines
        for k in range(whole):
            lines += self._copy(str(first + k * w.lanes), [])[0]
        if self.extent > whole * w.lanes:
            lines += self._copy(str(first + whole * w.lanes), [], "some")[0]
        w.check()
        return [*w.before, *lines]

    def _moved(self) -> list[str]:
        """A loop that only copies memory, or fills it with zeros, as a call of the system's function; nothing for another one."""
        w, outer = self.w, self.w.around
        lines, _ = self._copy(self.start.text, [])
        if len(w.stored) != 1 or any(not COPIES.match(line) for line in lines):
            return []
        value, element, place = w.stored[0]
        source = w.loaded.get(value.name) if isinstance(value, Many) else None
        zero = w.is_constant(value) and value.text in ("0", "false", element(0).text)
        if (source is None and not zero) or not place.is_dense or w.is_shared(math.inf):
            return []
        before, self.after = outer.label("before"), outer.label("after")
        start, stop, n, to = self.start.text, self.stop.text, f"%{before}n", f"%{before}t"
        at = self._at(place), "" if source is None else self._at(source)
        text = [f"  {n}m = icmp slt i64 {start}, {stop}", f"  br i1 {n}m, label %{before}, label %{self.after}", f"{before}:", *w.before]
        text += [f"  {n} = sub i64 {stop}, {start}", f"  {n}b = mul i64 {n}, {max(element.width // 8, 1)}"]
        text.append(f"  {to} = getelementptr {element.name}, ptr {place.row}, i64 {at[0]}")
        if source is None:
            w.module.declare("@llvm.memset.p0.i64", "void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            return [*text, f"  call void @llvm.memset.p0.i64(ptr {to}, i8 0, i64 {n}b, i1 false)"]
        w.module.declare("@llvm.memcpy.p0.p0.i64", "void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        text.append(f"  {to}f = getelementptr {element.name}, ptr {source.row}, i64 {at[1]}")
        return [*text, f"  call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {to}f, i64 {n}b, i1 false)"]

    def _at(self, place: Place) -> str:
        """Where the first of consecutive elements is in its row."""
        return self.w._base(Step(self.start, place.offset, I64(1))).text  # noqa: SLF001

    def _copies(self) -> int:
        """How often the body is written in one turn of the loop over whole vectors."""
        found = max(1, min(MOST, ENOUGH // len(self.body), self.extent // self.w.lanes)) if self.totals else self.least
        return 1 << (found.bit_length() - 1)  # for a mask to cut the count by

    def _main(
        self, copies: int, i: str, before: str, main: str, neutral: list[str], types: list[Any]
    ) -> tuple[list[str], list[str], list[list[str]]]:
        """Nodes and lines of the loop over whole vectors, and the totals of each copy behind it."""
        outer = self.w.around
        phis: list[str] = []
        turns: list[list[str]] = []
        made: list[list[str]] = []
        for k in range(copies):
            first = f"%{outer.label('i')}"
            olds = [f"%{outer.label('t')}" for _ in self.totals]
            lines, new = self._copy(first, olds)
            turns.append([f"  {first} = add nsw i64 {i}, {k * self.w.lanes}", *lines])
            made.append(new)
            for type_, old, none, last in zip(types, olds, neutral, new, strict=True):
                phis.append(f"  {old} = phi {type_.name} [{none}, %{before}], [{last}, %{main}]")
        # line by line in turns: a processor sees some hundred instructions ahead, and copies need not wait for each other
        return phis, [line for lines in zip_longest(*turns, fillvalue="") for line in lines if line], made

    def _joined(self, made: list[list[str]], neutral: list[str], types: list[Any], before: str, main: str) -> tuple[list[str], list[str]]:
        """The totals of all copies together, behind the loop over whole vectors, and the lines that make them."""
        outer = self.w.around
        nodes: list[str] = []
        sums: list[str] = []
        joined: list[str] = []
        for t, (total, type_, none) in enumerate(zip(self.totals, types, neutral, strict=True)):
            parts = []
            for new in made:
                part = f"%{outer.label('t')}"
                nodes.append(f"  {part} = phi {type_.name} [{none}, %{before}], [{new[t]}, %{main}]")
                parts.append(part)
            while len(parts) > 1:
                one = f"%{outer.label('t')}"
                sums.append(f"  {one} = {total.together(type_, parts[0], parts[1])}")
                parts = [*parts[2:], one]
            joined.append(parts[0])
        return joined, nodes + sums

    def _stored(self, types: list[Any]) -> list[str]:
        """Add the lanes of each total to its variable."""
        f, outer = self.function, self.w.around
        kept, outer.lines = outer.lines, []
        for total, type_, vector_ in zip(self.totals, types, self.results, strict=True):
            element, old = type_.element, f.read(total.name)
            letters = f"v{type_.count}f{type_.width}"
            if total.fold == "fadd":
                symbol = f"@llvm.vector.reduce.fadd.{letters}"
                outer.module.declare(symbol, f"{element.name} {symbol}({element.name}, {type_.name})")
                one = outer.emit(
                    f"call reassoc {element.name} {symbol}({element.name} {element(-0.0).text}, {type_.name} {vector_})", element
                )
                new = outer.add_any_order(old.re, one)
            else:
                symbol = f"@llvm.vector.reduce.f{total.fold}.{letters}"
                outer.module.declare(symbol, f"{element.name} {symbol}({type_.name})")
                new = outer.intrinsic(total.fold, old.re, outer.emit(f"call {element.name} {symbol}({type_.name} {vector_})", element))
            f.bind(total.name, Number(total.kind, new))
        made, outer.lines = outer.lines, kept
        return made

    def end(self) -> None:
        """Go on behind the loop."""
        outer = self.w.around
        outer.open = True
        outer.start(self.after)


@lru_cache(maxsize=64)  # a loop may be tried with several numbers of lanes
def _names(statement: Any) -> list[tuple[str, bool]]:
    """The names in a statement, and for each whether it is read there, or written."""
    return [(node.id, isinstance(node.ctx, ast.Load)) for node in walk(statement) if isinstance(node, ast.Name)]


def _kind(statement: ast.For) -> str:
    """The word for a loop: `range`, `lanes`, `pairs` (long chains, two vectors at a time) or `singles` (few iterations, no vectors)."""
    return statement.iter.func.id if isinstance(statement.iter, ast.Call) and isinstance(statement.iter.func, ast.Name) else ""


def _is_scattered(statement: ast.For) -> bool:
    """Does a loop write at places that it has read from memory, of which two may be one?"""
    places: set[str] = set()
    for each in statement.body:
        calls = [node for node in walk(each) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        for call in calls:
            if call.func.id == "store" and any(name in places or name == "load" for name, _ in _names(call.args[1])):  # type: ignore[attr-defined]
                return True
        if isinstance(each, ast.Assign) and any(name in places or name == "load" for name, _ in _names(each.value)):
            places.update(name for target in each.targets for name, _ in _names(target))
    return False


@lru_cache(maxsize=8)
def _reads(definition: ast.FunctionDef) -> Counter[str]:
    """How often each name of a function is read."""
    found: Counter[str] = Counter()
    for node in walk(definition):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found[node.id] += 1
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] += 1
    return found


def _nodes(types: list[Any], names: list[str], first: list[str], one: str, second: list[str], other: str) -> list[str]:
    """What variables are in a block that two others lead to."""
    found = zip(types, names, first, second, strict=True)
    return [f"  {name} = phi {type_.name} [{a}, %{one}], [{b}, %{other}]" for type_, name, a, b in found]


def _assigned(statement: ast.stmt) -> tuple[str, ast.expr]:
    """The name that a statement of the body assigns, empty where it only stores, and its value. Raises Unsupported for others."""
    if isinstance(statement, ast.Expr):
        return "", statement.value
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, statement.value
    raise Unsupported("this in a vector")
