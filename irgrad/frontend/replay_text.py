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
from irgrad.ir.primitive import ELEMENTWISE, VIEW, Primitive
from irgrad.ir.recording import Record
from irgrad.ir.value import Static

_INFIX = {operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/"}
Name = tuple[Any, ...]


class Emission(NamedTuple):
    """One recorded operation; `source` is the place in the segment of the value that it was recorded for, `forms` those of its operands."""

    op: Primitive
    operands: tuple[Name, ...]
    params: Name
    source: int
    aval: int
    code: int
    in_place: bool
    forms: tuple[Any, ...]


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


def compile_plan(plan: Plan, light: bool) -> Callable[..., None]:
    """The function of a plan: ``play(walk, trace, freezer, at, first, externals, held, segment, kind)``.

    A light one makes records, and tracers only for what the walk holds afterwards: no other walk may come by.
    """
    return _Text(plan, light).compiled()


class _Text:
    def __init__(self, plan: Plan, light: bool) -> None:
        self.plan = plan
        self.light = light
        self.names: dict[str, Any] = {"Record": Record, "Tracer": Tracer, "new": object.__new__}
        self.head: dict[str, str] = {}  # variable -> what it is
        self.lines: list[str] = []

    def compiled(self) -> Callable[..., None]:
        plan = self.plan
        kept = self.kept() if self.light else set(range(len(plan.emissions)))
        for k, emission in enumerate(plan.emissions):
            self.lines.append(f"v{k} = {self.value(k, emission)}")
        if self.light and plan.emissions:
            for k, emission in enumerate(plan.emissions):
                self.record(k, emission)
            self.lines.append(f"tape += ({''.join(f'r{k}, ' for k in range(len(plan.emissions)))})")
        for k in sorted(kept):
            self.tracer(k, plan.emissions[k])
        for each in plan.exits:
            self.exit(each)
        used = dict.fromkeys(name for emission in plan.emissions for name in emission.operands if name[0] in "PXC")
        self.lines.append(f"freezer.block(at, at + {len(plan.emissions)}, kind, [{', '.join(map(self.of_record, used))}])")
        head = [f"{name} = {text}" for name, text in self.head.items()]
        body = "\n    ".join(["tape, R, cts = trace.tape, freezer.records, walk.cts", *head, *self.lines])
        exec(
            compile(f"def play(walk, trace, freezer, at, first, X, C, segment, kind):\n    {body}\n", "<irgrad replay>", "exec"), self.names
        )
        play: Callable[..., None] = self.names["play"]
        return play

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
            return self.var(f"d{place}_{name[2]}", f"R[first + {place}].operands[{name[2]}].value")
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
        """The operand of a record."""
        kind, place = name[0], name[1]
        if kind == "L":
            return self.var(f"a{place}", f"at + {place}")
        if kind == "P":
            return self.var(f"f{place}", f"first + {place}")
        if kind == "X":
            return self.var(f"i{place}", f"X[{place}]")
        if kind == "C":
            return self.var(f"j{place}", f"C[{place}].index")
        if kind == "S":
            return self.const(place)
        self.var("literal", "freezer.literal")
        return f"literal({self.of_tracer(name)})"

    def of_params(self, name: Name) -> str:
        return self.const(name[1]) if name[0] == "K" else self.var(f"q{name[1]}", f"R[first + {name[1]}].params")

    def of_site(self, place: int) -> str:
        return self.var(f"s{place}", f"R[first + {place}].site")

    # -- lines -------------------------------------------------------------------------------------------------------

    def value(self, k: int, emission: Emission) -> str:
        op = emission.op
        operands = [self.of_value(name) for name in emission.operands]
        params = f"**{self.of_params(emission.params)}" if emission.params[0] == "P" or emission.params[1] else ""
        evaluate: Any = op.evaluate
        if emission.in_place:
            evaluate = op.in_place
        elif op.has(ELEMENTWISE) and not params:
            loop = LOOPS.get((op, *emission.forms))
            if loop is not None and len(operands) == 2 and any(isinstance(f, np.ufunc) for f in op.captures):
                evaluate = loop[0]
        if evaluate in _INFIX:
            return f"{operands[0]} {_INFIX[evaluate]} {operands[1]}"
        return f"{self.const(evaluate, 'e')}({', '.join([*operands, *([params] if params else [])])})"

    def record(self, k: int, emission: Emission) -> None:
        operands = "".join(f"{self.of_record(name)}, " for name in emission.operands)
        self.lines += [
            f"r{k} = new(Record)", f"r{k}.op = {self.const(emission.op, 'o')}", f"r{k}.operands = ({operands})",
            f"r{k}.params = {self.of_params(emission.params)}", f"r{k}.aval = {emission.aval}", f"r{k}.segment = segment",
            f"r{k}.site = {self.of_site(emission.source)}", f"r{k}.code = {emission.code}", f"r{k}.carried = False",
        ]  # fmt: skip

    def tracer(self, k: int, emission: Emission) -> None:
        op = self.const(emission.op, "o")
        known = not self.light or emission.op.has(VIEW)
        operands = "".join(f"{self.of_tracer(name)}, " for name in emission.operands) if known else ""
        self.lines += [
            f"t{k} = new(Tracer)", f"t{k}._trace = trace", f"t{k}.value = t{k}.form = v{k}", f"t{k}.op = {op}",
            f"t{k}.operands = ({operands})", f"t{k}.params = {self.of_params(emission.params)}", f"t{k}.index = at + {k}",
            f"t{k}.segment = segment", f"t{k}.site = {self.of_site(emission.source)}",
        ]  # fmt: skip
        self.lines += [f"tape[at + {k}] = t{k}", f"freezer.ready[at + {k}] = r{k}"] if self.light else [f"tape.append(t{k})"]

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


__all__ = ["Emission", "Exit", "Plan", "Static", "compile_plan"]
