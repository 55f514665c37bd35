"""Copies of simple functions for eager runs, kept from call to call while all that they name is what it was.

Simple is a function that makes no functions, assigns to nothing outside itself and names modules, numpy's functions, data, builtins and
functions of the same kind. Data is read where it is at every use; the rest is looked at before every call (`Ready.holds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import CellType, CodeType, FunctionType
from typing import Any

from irgrad.frontend.captured import MISSING
from irgrad.frontend.names import Names
from irgrad.frontend.ownership import is_user_function
from irgrad.frontend.scopes import KeptGlobals
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.unchanged import BUILTINS, PLAIN, global_names, is_left_alone

_INLINE = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})  # run where they are made


class Ready:
    """`form` is what runs in place of a function; the others are what that relies on."""

    __slots__ = ("cells", "data", "data_cells", "form", "functions", "named")

    def __init__(self) -> None:
        self.form: Any = None
        self.functions: list[tuple[FunctionType, CodeType, Any]] = []
        self.named: list[tuple[dict[str, Any], str, Any]] = []
        self.data: list[tuple[dict[str, Any], str]] = []
        self.cells: list[tuple[CellType, Any]] = []
        self.data_cells: list[CellType] = []

    def holds(self) -> bool:
        """Is all that the form relies on as it was?"""
        for f, code, defaults in self.functions:
            if f.__code__ is not code or f.__defaults__ is not defaults or f.__kwdefaults__ or f.__dict__:
                return False
        for space, name, value in self.named:
            if space.get(name, MISSING) is not value:
                return False
        for space, name in self.data:
            if type(space.get(name, MISSING)) not in PLAIN:
                return False
        try:
            for cell, value in self.cells:
                if cell.cell_contents is not value:
                    return False
            for cell in self.data_cells:
                if type(cell.cell_contents) not in PLAIN:
                    return False
        except ValueError:  # it holds nothing any more
            return False
        return True


def ready(f: Any, names: Names) -> Ready | None:
    """The kept form of a function, `f` itself where all names mean themselves; None for one that is not simple."""
    made = Ready()
    pending, changes = [f], False
    seen: dict[int, FunctionType] = {}
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        found = _named(each, made)
        if found is None:
            return None
        for value in found:
            if id(value) in names:
                changes = True
            elif type(value) is FunctionType:
                if is_user_function(value):
                    pending.append(value)
            elif not is_left_alone(type(value), value):
                return None
    made.form = _copies(made, names)[f] if changes else f
    return made


def _named(f: Any, made: Ready) -> list[Any] | None:
    """What a function names besides data, which `made` then relies on; None where it does more with names."""
    if type(f) is not FunctionType or not is_user_function(f):
        return None
    code, space = f.__code__, f.__globals__
    wanted = global_names(code)
    if wanted is None or type(space) is not dict or f.__kwdefaults__ or f.__dict__:
        return None
    if any(isinstance(each, CodeType) and each.co_name not in _INLINE for each in code.co_consts):
        return None
    if not PLAIN.issuperset(map(type, f.__defaults__ or ())):
        return None
    made.functions.append((f, code, f.__defaults__))
    found: list[Any] = []
    for name in wanted:
        value = space.get(name, MISSING)
        if value is not MISSING and type(value) in PLAIN:
            made.data.append((space, name))
            continue
        made.named.append((space, name, value))
        if value is not MISSING or name in BUILTINS:
            found.append(BUILTINS[name] if value is MISSING else value)
    for cell in f.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:
            return None
        if type(value) in PLAIN:
            made.data_cells.append(cell)
        else:
            made.cells.append((cell, value))
            found.append(value)
    return found


def _copies(made: Ready, names: Names) -> dict[FunctionType, FunctionType]:
    """Copies of all functions that were found."""
    spaces: dict[int, KeptGlobals] = {}
    for f, _, _ in made.functions:
        spaces.setdefault(id(f.__globals__), KeptGlobals(f.__globals__, names.builtins))
    cells = {id(cell): (cell, CellType()) for cell, _ in made.cells}
    copies: dict[FunctionType, FunctionType] = {}
    for f, code, defaults in made.functions:
        closure = tuple([cells[id(cell)][1] if id(cell) in cells else cell for cell in f.__closure__ or ()]) or None
        copies[f] = copy = FunctionType(code, spaces[id(f.__globals__)], f.__name__, defaults, closure)
        copy.__qualname__, copy.__module__, copy.__doc__ = f.__qualname__, f.__module__, f.__doc__
    for space, name, value in made.named:
        given = BUILTINS.get(name, MISSING) if value is MISSING else value
        if given is not MISSING:
            spaces[id(space)][name] = _meaning(given, names, copies)
    for cell, value in made.cells:
        cells[id(cell)][1].cell_contents = _meaning(value, names, copies)
    return copies


def _meaning(value: Any, names: Mapping[int, Any], copies: Mapping[FunctionType, FunctionType]) -> Any:
    found = names.get(id(value))
    if found is not None:
        return found
    return copies.get(value, value) if type(value) is FunctionType else value


class Later:
    """The substitution of a run whose function has a form: made when something else is asked of it."""

    __slots__ = ("doubt", "form", "fun", "made", "names")

    def __init__(self, fun: Any, form: Any, names: Names) -> None:
        self.fun = fun
        self.form = form
        self.names = names
        self.doubt = ""  # of no consequence where nothing is compiled
        self.made: Substitution | None = None

    def whole(self) -> Substitution:
        if self.made is None:
            self.made = Substitution(None, self.names)
        return self.made

    def function(self, f: Any) -> Any:
        """The form of a callable that runs substituted."""
        return self.form if f is self.fun else self.whole().function(f)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole(), name)

    def finish(self) -> None:
        if self.made is not None:
            self.made.finish()
