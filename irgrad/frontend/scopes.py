"""Substituted name spaces: the globals of copied functions, and modules of the user's.

`Globals` is a dict whose names resolve on first use: LOAD_GLOBAL honours the `__missing__` of a dict subclass, nested functions
and comprehensions included. STORE_GLOBAL bypasses it: what was assigned is put back at the end.
"""

from __future__ import annotations

import builtins
import dis
import functools
import inspect
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from irgrad.frontend.captured import MISSING, GlobalOrigin
from irgrad.frontend.purity import doubt_of_builtin

if TYPE_CHECKING:
    from irgrad.frontend.substitute import Substitution

_OWN = ("__builtins__", "__name__")
_UNWATCHED = frozenset({*_OWN, "__warningregistry__", "__annotations__"})
_OTHER_NAMES = frozenset({"KW_NAMES", "IMPORT_NAME"})  # instructions that look no name up


class Globals(dict[str, Any]):
    """The globals of copies: names resolve on first use. After `finish` it lets the true globals through."""

    __slots__ = ("placed", "source", "substitution")

    def __init__(self, substitution: Substitution, source: dict[str, Any], builtins_: dict[str, Any]) -> None:
        self.substitution: Substitution | None = substitution
        self.source = source
        self.placed: dict[str, Any] = {}
        self["__builtins__"] = builtins_
        self["__name__"] = source.get("__name__")

    def __missing__(self, name: str) -> Any:
        substitution = self.substitution
        source = self.source
        if substitution is None:
            return source[name]
        if name in source:
            value = substitution.global_value(source, name)
        else:
            try:
                value = vars(builtins)[name]
            except KeyError:
                substitution.lacks(GlobalOrigin(source, name))
                raise
            substitution.question(doubt_of_builtin, name)
            substitution.lacks(GlobalOrigin(source, name))
            value = substitution.names.get(id(value), value)
        self[name] = self.placed[name] = value
        return value

    def load(self, names: tuple[str, ...]) -> None:
        """Resolve names ahead, for code that does not ask `__missing__`."""
        for name in names:
            if dict.get(self, name, MISSING) is MISSING and (name in self.source or name in vars(builtins)):
                self[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.source

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def finish(self, reasons: list[str]) -> None:
        """Put back what was assigned, and become transparent."""
        substitution = self.substitution
        if substitution is None:
            return
        placed = self.placed
        for name, value in self.items():
            if placed.get(name, MISSING) is not value and name not in _UNWATCHED:
                self.source[name] = substitution.unwrapped(value)
                reasons.append(f"{GlobalOrigin(self.source, name).describe()} is assigned")
        for name in placed:
            if not super().__contains__(name):
                self.source.pop(name, None)
                reasons.append(f"{GlobalOrigin(self.source, name).describe()} is deleted")
        self.substitution = None
        kept = {name: dict.__getitem__(self, name) for name in _OWN}
        self.clear()
        self.update(kept)
        self.placed = {}


class KeptGlobals(dict[str, Any]):
    """Globals of copies that serve many eager runs (`ready`): what has another meaning, and the true ones."""

    __slots__ = ("source",)

    def __init__(self, source: dict[str, Any], builtins_: dict[str, Any]) -> None:
        self.source = source
        self["__builtins__"] = builtins_
        self["__name__"] = source.get("__name__")

    def __missing__(self, name: str) -> Any:
        return self.source[name]


class ModuleView(ModuleType):
    """A user's module whose names resolve as they do in its own functions."""

    def __init__(self, module: ModuleType, space: Globals) -> None:
        object.__setattr__(self, "_irgrad", (module, space))
        super().__init__(module.__name__, module.__doc__)

    def __getattribute__(self, name: str) -> Any:
        if name in ("_irgrad", "__class__", "__dict__"):
            return object.__getattribute__(self, name)
        module, space = object.__getattribute__(self, "_irgrad")
        if name in space.source:
            return space[name]
        found = getattr(module, name)  # a module's own __getattr__, or the right error
        if isinstance(found, ModuleType) and space.substitution is not None:
            return space.substitution.module(found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        module, space = self._irgrad
        space[name] = value
        if space.substitution is None or space.substitution.wrap is None:
            setattr(module, name, value)


class Outside(NamedTuple):
    """What code names outside itself: anything at all; and what the class bodies inside it load, ahead of use.

    LOAD_NAME, of which class bodies are made, does not ask `__missing__` in 3.11 to 3.13.0.
    """

    names: bool
    in_class_bodies: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def outside_of(code: CodeType) -> Outside:
    """What a code object names outside itself."""
    in_class_bodies: dict[str, None] = {}
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    names = bool(inner or code.co_freevars) or any("GLOBAL" in i.opname or "NAME" in i.opname for i in dis.get_instructions(code))
    while inner:
        each = inner.pop()
        if not each.co_flags & inspect.CO_OPTIMIZED:  # no function
            in_class_bodies.update(dict.fromkeys(each.co_names))
        inner.extend(constant for constant in each.co_consts if isinstance(constant, CodeType))
    return Outside(names, tuple(in_class_bodies))


@functools.lru_cache(maxsize=4096)
def named_globals(code: CodeType) -> tuple[str, ...]:
    """The names that a code object itself looks up in globals: `co_names` has those of attributes as well."""
    steps = [i for i in dis.get_instructions(code) if "GLOBAL" in i.opname or ("NAME" in i.opname and i.opname not in _OTHER_NAMES)]
    return tuple(dict.fromkeys(i.argval for i in steps if isinstance(i.argval, str)))


@functools.lru_cache(maxsize=4096)
def compares_identity(code: CodeType) -> bool:
    """Does code, or a function or class inside it, ask whether two objects are one (`is` with anything but a constant), or for an `id`?"""
    before = ""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IS_OP" and before != "LOAD_CONST":
            return True
        before = instruction.opname
    return "id" in code.co_names or any(compares_identity(inner) for inner in code.co_consts if isinstance(inner, CodeType))
