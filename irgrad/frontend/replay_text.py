"""Plans of replayed adjoints as Python functions: straight-line code that computes the values and puts them on the tape.

Names in a plan: ("L", k) the k-th value that is recorded, ("P", j) the j-th of the segment, ("X", n) an external one, ("C", m) a cotangent
or mask that the walk holds, ("S", static), ("D", j, k) the literal that is operand k of the segment's j-th, ("K", value, type) a number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from irgrad.frontend.promote import LOOPS
from irgrad.frontend.tracer import Tracer
from irgrad.ir.blocks import Block, Entry, Kind, Mould
from irgrad.ir.primitive import ELEMENTWISE, VIEW, Primitive
from irgrad.ir.value import Static

_INFIX = {operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/"}
Name = tuple[Any, ...]


class Emission(NamedTuple):
    """One recorded operation; `source` is the place in the segment of the value that it was recorded for, `forms` those of its operands,
    `element` the operation where it is one of a single element in place (or a read of one)."""

    op: Primitive
    operands: tuple[Name, ...]
    params: Name
    source: int
    aval: int
    code: int
    in_place: bool
    forms: tuple[Any, ...]
    element: str = ""


class Exit(NamedTuple):
    """What the walk holds of the n-th external value afterwards."""

    external: int
    ct: Name
    mask: Name | None
    owned: bool
    blank: bool


class Plan(NamedTuple):
    emissions: tuple[Emission, ...]
    exits: tuple[Exit, ...]
    opens: bool  # a segment of its own
    at: int  # whose site the walk is at afterwards; -1: where it was


def compile_plan(plan: Plan, kind: Kind, light: bool) -> Callable[..., None]:
    """The function of a plan: ``play(walk, trace, freezer, at, first, externals, held, segment)``; what it records is of a kind.

    A light one makes a block, and tracers only for what the walk holds afterwards: no other walk may come by.
    """
    return _Text(plan, kind, light).compiled()


class _Text:
    def __init__(self, plan: Plan, kind: Kind, light: bool) -> None:
        self.plan = plan
        self.light = light
        self.names: dict[str, Any] = {"Block": Block, "Tracer": Tracer, "new": object.__new__, "kind": kind}
        self.head: dict[str, str] = {}  # variable -> what it is
        self.lines: list[str] = []

    def compiled(self) -> Callable[..., None]:
        plan = self.plan
        kept = self.kept() if self.light else set(range(len(plan.emissions)))
        for k, emission in enumerate(plan.emissions):
            self.lines += self.value(k, emission)
        if plan.emissions:
            self.block()
        for k in sorted(kept):
            self.tracer(k, plan.emissions[k])
        for each in plan.exits:
            self.exit(each)
        head = [f"{name} = {text}" for name, text in self.head.items()]
        body = "\n    ".join(["tape, cts = trace.tape, walk.cts", *head, *self.lines])
        exec(compile(f"def play(walk, trace, freezer, at, first, X, C, segment):\n    {body}\n", "<irgrad replay>", "exec"), self.names)
        play: Callable[..., None] = self.names["play"]
        return play

    def block(self) -> None:
        """What is recorded, as a block: of records that are there, or one that stands for them."""
        emissions, lines = self.plan.emissions, self.lines
        used = dict.fromkeys(name for emission in emissions for name in emission.operands if name[0] in "PXC")
        lines.append(f"b = Block(at, at + {len(emissions)}, kind, [{', '.join(map(self.of_record, used))}])")
        if self.light:
            externals = {name: n for n, name in enumerate(used)}
            literals: list[str] = []
            params: list[str] = []
            entries: list[Entry] = []
            for emission in emissions:
                operands = tuple([self.in_mould(name, externals, literals) for name in emission.operands])
                own = emission.params[0] == "P"
                where = _place(params, self.of_params(emission.params)) if own else emission.params[1]
                entries.append(Entry(emission.op, operands, where, emission.aval, emission.code, emission.source))
            lines += [f"b.mould = {self.const(Mould(entries), 'm')}", "b.segment = segment", "b.sites = first"]
            if literals:
                lines.append(f"b.literals = ({''.join(f'{each}, ' for each in literals)})")
            if params:
                lines.append(f"b.params = ({''.join(f'{each}, ' for each in params)})")
            lines.append(f"tape += ({'b, ' * len(emissions)})")
        lines.append("freezer.block(b)")

    def in_mould(self, name: Name, externals: dict[Name, int], literals: list[str]) -> tuple[str, Any]:
        """An operand in a mould (`ir.blocks.Entry`)."""
        kind = name[0]
        if kind == "L":
            return "own", name[1]
        if kind in "PXC":
            return "external", externals[name]
        if kind == "S":
            return "is", name[1]
        literals.append(f"{self.var('literal', 'freezer.literal')}({self.of_tracer(name)})")
        return "literal", len(literals) - 1

    def kept(self) -> set[int]:
        """The recorded values that are tracers: what the walk holds, and what these are views of."""
        found: set[int] = set()
        stack = [name[1] for each in self.plan.exits for name in (each.ct, each.mask) if name is not None and name[0] == "L"]
        while stack:
            k = stack.pop()
            if k in found:
                continue
            found.add(k)
            emission = self.plan.emissions[k]
            if emission.op.has(VIEW):
                stack += [name[1] for name in emission.operands if name[0] == "L"]
        return found

    def const(self, value: Any, kind: str = "k") -> str:
        """A name for an object."""
        for name, known in self.names.items():
            if known is value and name[0] == kind:
                return name
        name = f"{kind}{len(self.names)}"
        self.names[name] = value
        return name

    def var(self, name: str, text: str) -> str:
        self.head.setdefault(name, text)
        return name

    # -- operands ----------------------------------------------------------------------------------------------------

    def of_tracer(self, name: Name) -> str:
        """The tracer of a value, or the literal itself."""
        kind, place = name[0], name[1]
        if kind == "L":
            return f"t{place}"
        if kind == "P":
            return self.var(f"p{place}", f"tape[first + {place}]")
        if kind == "X":
            return self.var(f"x{place}", f"tape[X[{place}]]")
        if kind == "C":
            return self.var(f"c{place}", f"C[{place}]")
        if kind == "D":
            return self.var(f"d{place}_{name[2]}", f"tape[first + {place}].operands[{name[2]}]")
        return self.const(place)

    def of_value(self, name: Name) -> str:
        kind = name[0]
        if kind == "L":
            return f"v{name[1]}"
        if kind == "S":
            return self.const(name[1].value)
        text = self.of_tracer(name)
        return self.var(f"{text}v", f"{text}.value") if kind in "PXC" else text

    def of_record(self, name: Name) -> str:
        """The index of a value from before."""
        kind, place = name[0], name[1]
        if kind == "P":
            return self.var(f"f{place}", f"first + {place}")
        return self.var(f"i{place}", f"X[{place}]") if kind == "X" else self.var(f"j{place}", f"C[{place}].index")

    def of_params(self, name: Name) -> str:
        return self.const(name[1]) if name[0] == "K" else self.var(f"q{name[1]}", f"tape[first + {name[1]}].params")

    def of_site(self, place: int) -> str:
        return self.var(f"s{place}", f"tape[first + {place}].site")

    # -- lines -------------------------------------------------------------------------------------------------------

    def value(self, k: int, emission: Emission) -> list[str]:
        op = emission.op
        operands = [self.of_value(name) for name in emission.operands]
        if emission.element:  # as the function of the operation does it, without its slices
            place = f'[{self.of_params(emission.params)}["start"]]'
            if emission.element == "slice":
                return [f"v{k} = {operands[0]}{place}"]
            return [f"v{k} = {operands[0]}", f"v{k}{place} {'+=' if emission.element == 'slice_add' else '='} {operands[1]}"]
        params = f"**{self.of_params(emission.params)}" if emission.params[0] == "P" or emission.params[1] else ""
        evaluate: Any = op.evaluate
        if emission.in_place:
            evaluate = op.in_place
        elif op.has(ELEMENTWISE) and not params:
            loop = LOOPS.get((op, *emission.forms))
            if loop is not None and len(operands) == 2 and any(isinstance(f, np.ufunc) for f in op.captures):
                evaluate = loop[0]
        if evaluate in _INFIX:
            return [f"v{k} = {operands[0]} {_INFIX[evaluate]} {operands[1]}"]
        return [f"v{k} = {self.const(evaluate, 'e')}({', '.join([*operands, *([params] if params else [])])})"]

    def tracer(self, k: int, emission: Emission) -> None:
        op = self.const(emission.op, "o")
        known = not self.light or emission.op.has(VIEW)
        operands = "".join(f"{self.of_tracer(name)}, " for name in emission.operands) if known else ""
        self.lines += [
            f"t{k} = new(Tracer)", f"t{k}._trace = trace", f"t{k}.value = t{k}.form = v{k}", f"t{k}.op = {op}",
            f"t{k}.operands = ({operands})", f"t{k}.params = {self.of_params(emission.params)}", f"t{k}.index = at + {k}",
            f"t{k}.segment = segment", f"t{k}.site = {self.of_site(emission.source)}",
        ]  # fmt: skip
        self.lines += [f"tape[at + {k}] = t{k}", f"freezer.ready[at + {k}] = b"] if self.light else [f"tape.append(t{k})"]

    def exit(self, each: Exit) -> None:
        x = self.var(f"i{each.external}", f"X[{each.external}]")
        if self.light:
            self.lines.append(f"freezer.drop(cts.get({x}))")
        self.lines.append(f"cts[{x}] = {self.of_tracer(each.ct)}")
        if each.mask is not None:
            self.lines.append(f"walk.masks[{x}] = {self.of_tracer(each.mask)}")
        else:
            self.lines.append(f"walk.masks.pop({x}, None)")
        self.lines.append(f"walk.owned.{'add' if each.owned else 'discard'}({x})")
        self.lines.append(f"walk.blank.{'add' if each.blank else 'discard'}({x})")


def _place(known: list[str], text: str) -> int:
    """The number of a text."""
    if text not in known:
        known.append(text)
    return known.index(text)


__all__ = ["Emission", "Exit", "Plan", "Static", "compile_plan"]
