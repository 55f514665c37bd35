"""Text of kernels to object files: translation, LLVM's optimiser, the processor's code."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Any

from irgrad.codegen import written
from irgrad.codegen.llvm.binding import FULL, LIGHT, LIGHT_LOOPS, STRAIGHT, Effort, compiler
from irgrad.codegen.llvm.function import Space, define
from irgrad.codegen.llvm.kinds import Number, Unsupported
from irgrad.codegen.llvm.module import Module
from irgrad.codegen.llvm.writer import I64, Value

_STEPS = re.compile(r"^    for k in range\(count\):\n(?:        .*\n)*?        c\d+ = ", re.MULTILINE)
SHORT = 200  # lines of a module: with more, values that go to memory and back cost a few nanoseconds


class _Routines(Space):
    """The routines that kernels share, each parsed when the first kernel needs it."""

    def __init__(self) -> None:
        super().__init__({}, written.CONSTANTS)
        with open(written.__file__, encoding="utf-8") as found:
            self._text = found.read()

    def function(self, name: str) -> tuple[ast.FunctionDef, Space]:
        known = self.functions.get(name)
        if known is None:
            if name not in written.ROUTINES:
                raise Unsupported(f"the name {name}")
            start = self._text.index(f"def {name}(")
            known = self.functions[name] = _functions(self._text[start : self._text.index("\n\n\n", start)])[name]
        return known, self


@cache
def _routines() -> Space:
    return _Routines()


def _functions(text: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


def ir(name: str, text: str, constants: dict[str, Any] | None = None) -> str:
    """A module of LLVM for the function `name` of a text, all whose parameters are int64, as its result.

    Other functions of the text are found by name, and `constants`. Raises Unsupported where something is not understood.
    """
    return _module(name, text, constants).text()


def translated(name: str, text: str) -> tuple[str, Effort]:
    """The same, and what it is worth."""
    module = _module(name, text)
    made = module.text()
    return made, STRAIGHT if is_straight(made) else effort(text, module.num_plain_loops)


def _module(name: str, text: str, constants: dict[str, Any] | None = None) -> Module:
    functions = _functions(text)
    space = Space(functions, constants or {}, _routines)
    definition = functions[name]
    operands = [Number("int64", Value(I64, "")) for _ in definition.args.args]
    module = Module()
    define(module, space, definition, name, operands, "int64", "")
    if module.num_plain_loops and module.num_vector_loops:  # LLVM would work through our vectors besides its own
        module = Module()
        module.may_have_vectors = False
        define(module, space, definition, name, operands, "int64", "")
    return module


def effort(text: str, num_plain_loops: int = 1) -> Effort:
    """What a kernel's text is worth: loops around calls gain nothing from vectors, those that look through a result do, and those that
    are vectors already, or steps of which each waits for the one before (`irgrad.codegen.repeat`), need no more."""
    if "call_kernel(" in text:
        return LIGHT_LOOPS
    if not num_plain_loops or _STEPS.search(text):
        return LIGHT
    return LIGHT if "call_blas(" in text and "add_any_order(" not in text else FULL


def is_straight(ir: str) -> bool:
    """Is this a module of one short function without jumps? There is little for LLVM to gain, and its time goes by the operation."""
    return ir.count("\n") <= SHORT and ir.count("define ") == 1 and "  br " not in ir


def optimised(text: str, effort: Effort = FULL) -> str:
    """The text of a module optimised for this processor."""
    return compiler().optimised(text, effort)


def object_code(text: str, effort: Effort = FULL) -> bytes:
    """The object file of a module's text."""
    return compiler().object_code(text, effort)
