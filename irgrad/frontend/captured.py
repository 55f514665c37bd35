"""Captured state: where a value that a function did not get as an argument comes from, and what a trace relied on.

An `Origin` is a place in the user's program that can be read again; a `Guard` is a fact about the value found there. Both turn
into Python expressions, from which `compile_checks` generates straight-line code: about 25 ns a place. Where a place has
vanished, `read` gives MISSING and a check is false; neither raises.
"""

from __future__ import annotations

import os.path
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np

Names = dict[str, object]

DICTS = frozenset({dict, OrderedDict, defaultdict, Counter})


class _Missing:
    """The value of a place that does not exist."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()


def register(names: Names, value: object, prefix: str) -> str:
    """Enter `value` into `names`, which keeps it alive; one name for one object."""
    name = f"{prefix}{id(value):x}"
    names[name] = value
    return name


class Origin:
    """A place that holds a captured value. Equal if the root is the same object and the path is equal."""

    __slots__ = ("_key",)

    def __init__(self, key: tuple[Any, ...]) -> None:
        self._key = (type(self).__name__, *key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

    def read(self) -> Any:
        """The value found there now, or MISSING."""
        try:
            return self.get()
        except (LookupError, AttributeError, ValueError, TypeError):
            return MISSING

    def get(self) -> Any:
        """The value found there now. Raises what Python raises where there is none."""
        raise NotImplementedError

    def text(self) -> str:
        """How the user's program writes it: ``params['W'][0]``."""
        raise NotImplementedError

    def root(self) -> str:
        """What the path starts at: ``global of model.py``."""
        raise NotImplementedError

    def describe(self) -> str:
        return f"{self.text()} ({self.root()})"

    def expression(self, names: Names) -> str:
        """Python source that reads the place; the objects it needs are entered into `names`."""
        raise NotImplementedError


class GlobalOrigin(Origin):
    """A name in a module."""

    __slots__ = ("globals", "name")

    def __init__(self, globals_: dict[str, Any], name: str) -> None:
        super().__init__((id(globals_), name))
        self.globals = globals_
        self.name = name

    def get(self) -> Any:
        return self.globals[self.name]

    def text(self) -> str:
        return self.name

    def root(self) -> str:
        file = dict.get(self.globals, "__file__")
        return f"global of {os.path.basename(file) if file else dict.get(self.globals, '__name__', 'unknown')}"

    def expression(self, names: Names) -> str:
        return f"{register(names, self.globals, 'g')}[{self.name!r}]"


class CellOrigin(Origin):
    """A variable of an enclosing function."""

    __slots__ = ("cell", "function", "name")

    def __init__(self, cell: CellType, name: str = "variable", function: str = "a function") -> None:
        super().__init__((id(cell),))
        self.cell = cell
        self.name = name
        self.function = function

    def get(self) -> Any:
        return self.cell.cell_contents

    def text(self) -> str:
        return self.name

    def root(self) -> str:
        return f"closure of {self.function}"

    def expression(self, names: Names) -> str:
        return f"{register(names, self.cell, 'c')}.cell_contents"


class DefaultOrigin(Origin):
    """A default of a function: positional by its place, keyword-only by its name."""

    __slots__ = ("function", "key")

    def __init__(self, function: FunctionType, key: int | str) -> None:
        super().__init__((id(function), key))
        self.function = function
        self.key = key

    def get(self) -> Any:
        defaults: Any = self.function.__defaults__ if isinstance(self.key, int) else self.function.__kwdefaults__
        return defaults[self.key]

    def text(self) -> str:
        if isinstance(self.key, str):
            return self.key
        code = self.function.__code__
        first = code.co_argcount - len(self.function.__defaults__ or ())
        return code.co_varnames[first + self.key]

    def root(self) -> str:
        return f"default of {self.function.__qualname__}"

    def expression(self, names: Names) -> str:
        where = "__defaults__" if isinstance(self.key, int) else "__kwdefaults__"
        return f"{register(names, self.function, 'f')}.{where}[{self.key!r}]"


class SelfOrigin(Origin):
    """An object that other guards hold in place, or that the caller does: a bound `self`, a class."""

    __slots__ = ("label", "object")

    def __init__(self, object_: Any, label: Origin | None = None) -> None:
        super().__init__((id(object_),))
        self.object = object_
        self.label = None if isinstance(label, SelfOrigin) and label.object is object_ else label

    def get(self) -> Any:
        return self.object

    def text(self) -> str:
        if self.label is not None:
            return self.label.text()
        return getattr(self.object, "__qualname__", None) or "self"

    def root(self) -> str:
        return self.label.root() if self.label is not None else type(self.object).__name__

    def expression(self, names: Names) -> str:
        return register(names, self.object, "o")


class _Part(Origin):
    """A place reached from another one."""

    __slots__ = ("parent",)

    def __init__(self, parent: Origin, key: tuple[Any, ...]) -> None:
        super().__init__((parent, *key))
        self.parent = parent

    def root(self) -> str:
        return self.parent.root()


class ItemOrigin(_Part):
    """An item of a list, tuple or dict."""

    __slots__ = ("key",)

    def __init__(self, parent: Origin, key: Any) -> None:
        super().__init__(parent, (type(key), key))
        self.key = key

    def get(self) -> Any:
        return self.parent.get()[self.key]

    def text(self) -> str:
        return f"{self.parent.text()}[{self.key!r}]"

    def expression(self, names: Names) -> str:
        key = repr(self.key) if type(self.key) in (int, str, bytes, bool) else register(names, self.key, "k")
        return f"{self.parent.expression(names)}[{key}]"


class AttributeOrigin(_Part):
    """An attribute of an object."""

    __slots__ = ("name",)

    def __init__(self, parent: Origin, name: str) -> None:
        super().__init__(parent, (name,))
        self.name = name

    def get(self) -> Any:
        return getattr(self.parent.get(), self.name)

    def text(self) -> str:
        return f"{self.parent.text()}.{self.name}"

    def root(self) -> str:
        if isinstance(self.parent, SelfOrigin) and self.parent.label is None:
            return f"attribute of {type(self.parent.object).__name__}"
        return self.parent.root()

    def expression(self, names: Names) -> str:
        if self.name.isidentifier():
            return f"{self.parent.expression(names)}.{self.name}"
        return f"getattr({self.parent.expression(names)}, {self.name!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A fact about a captured value that the trace relied on.

    `how` is "identity" (that very object; of a function also its code), "value" (same type and bits), "structure" (type and
    length, or keys and their order), "alias" (the same object as the place `expected`), "distinct" (another object than at
    each of the places `expected`, and these others than each other), "lacks" (a dict without the keys `expected`), "missing"
    (nothing there).
    """

    origin: Origin
    expected: Any
    how: str
    code: CodeType | None = field(init=False)  # of an expected function, which tools that reload code replace in place

    def __post_init__(self) -> None:
        plain = self.how == "identity" and isinstance(self.expected, FunctionType)
        object.__setattr__(self, "code", self.expected.__code__ if plain else None)

    def holds(self) -> bool:
        found = self.origin.read()
        if self.how == "identity":
            return found is self.expected and (self.code is None or found.__code__ is self.code)
        if self.how == "value":
            return same(found, self.expected)
        if self.how == "structure":
            return structure_of(found) == self.expected
        if self.how == "alias":
            return found is not MISSING and found is self.expected.read()
        if self.how == "distinct":
            return len({id(found), *(id(place.read()) for place in self.expected)}) == 1 + len(self.expected)
        if self.how == "lacks":
            return found is not MISSING and all(key not in found for key in self.expected)
        return found is MISSING

    def says(self, other: Guard) -> bool:
        """Is the fact the same as that of `other`?"""
        if self.origin != other.origin or self.how != other.how:
            return False
        if self.how in ("alias", "structure", "distinct", "lacks"):
            return bool(self.expected == other.expected)
        return self.expected is other.expected if self.how == "identity" else same(self.expected, other.expected)

    def describe(self) -> str:
        """What is expected, for messages about a retrace."""
        where = self.origin.describe()
        if self.how == "value":
            return f"{where} == {self.expected!r}"
        if self.how == "structure":
            return f"{where}: {self.expected[0].__name__} of {self.expected[1]}"
        if self.how == "alias":
            return f"{where} is {self.expected.text()}"
        if self.how == "distinct":
            return f"{where} is not {' nor '.join(place.text() for place in self.expected)}"
        if self.how == "lacks":
            return f"{where} has no {' nor '.join(map(repr, self.expected))}"
        return f"{where} is not there" if self.how == "missing" else f"{where} is the same object"

    def expression(self, names: Names) -> str:
        """Python source of the check; it may raise where the place has vanished."""
        found = self.origin.expression(names)
        if self.how == "missing" and isinstance(self.origin, GlobalOrigin):
            return f"{self.origin.name!r} not in {register(names, self.origin.globals, 'g')}"
        if self.how == "missing":
            return f"{register(names, self.origin, 'w')}.read() is {register(names, MISSING, 'e')}"
        if self.how == "alias":
            return f"{found} is {self.expected.expression(names)}"
        if self.how == "distinct":
            others = ", ".join(f"id({place.expression(names)})" for place in self.expected)
            return f"len({{id({found}), {others}}}) == {1 + len(self.expected)}"
        if self.how == "lacks":
            keys = self.expected
            return f"{keys[0]!r} not in {found}" if len(keys) == 1 else f"{found}.keys().isdisjoint({keys!r})"
        if self.how == "structure":
            kind, size, keys = self.expected
            text = f"type(v := {found}) is {register(names, kind, 't')} and len(v) == {size}"
            return text if keys is None else f"{text} and (*v,) == {register(names, keys, 'e')}"
        expected = register(names, self.expected, "e")
        if self.how == "value":
            if type(self.expected) in (list, set, dict, np.ndarray):
                return f"same({found}, {expected})"
            return f"((v := {found}) is {expected} or same(v, {expected}))"
        if self.code is not None:
            return f"{found} is {expected} and {expected}.__code__ is {register(names, self.code, 'b')}"
        return f"{found} is {expected}"


def structure_of(value: Any) -> tuple[type, int, tuple[Any, ...] | None] | None:
    """Type, length and keys of a container."""
    kind = type(value)
    if kind in DICTS:
        return kind, len(value), tuple(value)
    return (kind, len(value), None) if isinstance(value, (list, tuple, deque)) else None


def same(a: Any, b: Any) -> bool:
    """Equal in type and bits, all the way down."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return False
    if kind is float:
        return struct.pack("<d", a) == struct.pack("<d", b)
    if kind is complex:
        return struct.pack("<dd", a.real, a.imag) == struct.pack("<dd", b.real, b.imag)
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return all(map(same, a.ravel().tolist(), b.ravel().tolist())) if a.dtype.hasobject else a.tobytes() == b.tobytes()
    if isinstance(a, (list, tuple, deque)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(map(same, a, b)) and all(map(same, a.values(), b.values()))
    if isinstance(a, (set, frozenset)):
        known = {each: each for each in b}
        return len(a) == len(b) and all(each in known and same(each, known[each]) for each in a)
    return bool(a == b)


def compile_checks(guards: Iterable[Guard], origins: Iterable[Origin]) -> tuple[Callable[[], bool], Callable[[], tuple[Any, ...]]]:
    """Generated code: do all guards hold, and what is found at `origins` now (MISSING where nothing is)."""
    places = tuple(origins)
    names: Names = {"same": same, "places": places}
    lines = ["def check():", "    try:"]
    lines += [f"        if not ({guard.expression(names)}): return False" for guard in guards]
    lines += ["        return True", "    except Exception:", "        return False"]
    found = "".join(f"{origin.expression(names)}, " for origin in places)
    lines += ["def read():", "    try:", f"        return ({found})"]
    lines += ["    except Exception:", "        return tuple([place.read() for place in places])"]
    exec(compile("\n".join(lines), "<irgrad captured>", "exec"), names)
    check: Any = names["check"]
    read: Any = names["read"]
    return check, read
