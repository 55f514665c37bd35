"""What the code of a user's class may read outside of its instances: globals, class attributes, variables around it.

A class that a traced function names runs as it is when it makes instances and calls their methods, so that its reads are not seen. Numbers,
strings, small arrays and small containers of them in these places are guarded by value; larger arrays by identity. What the run itself
changes, as a count of instances, is no condition.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from irgrad.frontend.captured import AttributeOrigin, CellOrigin, GlobalOrigin, Guard, Origin
from irgrad.frontend.ownership import is_user_class, is_user_function, is_user_module
from irgrad.frontend.scopes import named_globals

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MOST = 64  # leaves of a container, and
_LARGE = 1000  # elements of an array that are compared at each call
_FUNCTIONS = 200  # that are looked at for one class


def guards_of(cls: type, origin: Origin) -> list[Guard]:
    """Guards on what the functions of a class, and the user's functions and classes that they name, may read."""
    found: dict[Origin, Guard] = {}
    pending: list[FunctionType] = []
    seen: set[FunctionType] = set()
    classes: dict[type, Origin] = {cls: origin}

    def note(place: Origin, value: Any, names: frozenset[str], depth: int = 0) -> None:
        if isinstance(value, FunctionType):
            pending.append(value)
        elif isinstance(value, type):
            if is_user_class(value):
                classes.setdefault(value, place)
        elif isinstance(value, (np.ndarray, np.generic)) and value.size > _LARGE:
            found.setdefault(place, Guard(place, value, "identity"))
        elif _leaves(value) <= _MOST:
            found.setdefault(place, Guard(place, copy.deepcopy(value), "value"))
        elif depth == 0 and (is_user_module(value) if isinstance(value, ModuleType) else is_user_class(type(value))):
            own = getattr(value, "__dict__", {})
            for name in names.intersection(own):
                note(AttributeOrigin(place, name), own[name], names, 1)

    walked: set[type] = set()
    while len(walked) < len(classes) or pending:
        for each in [each for each in classes if each not in walked]:
            walked.add(each)
            pending += [f for base in each.__mro__ if is_user_class(base) for f in _functions(base)]
        if not pending:
            break
        function = pending.pop()
        if function in seen or type(function.__globals__) is not dict or not is_user_function(function) or len(seen) >= _FUNCTIONS:
            continue
        seen.add(function)
        names, wanted = _names(function.__code__)
        for name in wanted.intersection(function.__globals__):
            note(GlobalOrigin(function.__globals__, name), function.__globals__[name], names)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                content = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            if name != "__class__":
                note(CellOrigin(cell, name, function.__qualname__), content, names)
        for each, place in list(classes.items()):
            for base in each.__mro__:
                for name in names.intersection(vars(base)) if is_user_class(base) else ():
                    if _leaves(vars(base)[name]) <= _MOST or isinstance(vars(base)[name], np.ndarray):
                        note(AttributeOrigin(place, name), getattr(each, name), names, 1)
    return list(found.values())


def _functions(cls: type) -> Iterator[FunctionType]:
    for definition in vars(cls).values():
        for part in ("__func__", "fget", "fset", "func", "__wrapped__"):
            inner = getattr(definition, part, None)
            if isinstance(inner, FunctionType):
                yield inner
        if isinstance(definition, FunctionType):
            yield definition


@functools.lru_cache(maxsize=4096)
def _names(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The names of attributes, and those of globals, in code and in the functions in it."""
    inner = [_names(each) for each in code.co_consts if isinstance(each, CodeType)]
    return frozenset(code.co_names).union(*[a for a, _ in inner]), frozenset(named_globals(code)).union(*[g for _, g in inner])


def _leaves(value: Any) -> int:
    """How many plain values there are in what is compared by value; too many where something else is in it."""
    if isinstance(value, np.ndarray):
        return 1 if value.size <= _LARGE and not value.dtype.hasobject else _MOST + 1
    if type(value) in _PLAIN or isinstance(value, np.generic):
        return 1
    if type(value) in (list, tuple, dict, set, frozenset):
        if len(value) > _MOST:
            return _MOST + 1
        return 1 + sum(map(_leaves, [*value, *value.values()] if type(value) is dict else value))
    return _MOST + 1


__all__ = ["guards_of"]
