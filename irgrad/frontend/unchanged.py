"""Would a copy of a user's function differ from it? Eagerly it need not be made where every name means what it means outside.

So it is for functions that use `irgrad.numpy`, numbers, containers, builtins without a traced form and functions of the same kind. What
assigns to names outside itself, imports or evaluates text is copied in any case: the copy puts traced values back as plain ones.
"""

from __future__ import annotations

import builtins
import dis
import functools
from collections import OrderedDict
from collections.abc import Mapping
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from irgrad.frontend.generators import bound_to, is_foreign
from irgrad.frontend.ownership import is_user_function, is_user_module
from irgrad.frontend.views import view_class

PLAIN = frozenset({
    int, bool, str, bytes, type(None), list, dict, OrderedDict, set, float, complex, tuple, frozenset, np.ndarray, np.float64,
})  # fmt: skip
_LOOKS_AROUND = frozenset({"globals", "locals", "vars", "eval", "exec", "compile", "__import__", "super"})
_SPECIAL = frozenset({MethodType, functools.partial, staticmethod, classmethod, np.vectorize, SimpleNamespace, CellType})
_CACHED = type(functools.lru_cache(lambda: None))
BUILTINS = vars(builtins)


@functools.lru_cache(maxsize=4096)
def global_names(code: CodeType) -> tuple[str, ...] | None:
    """The names that code, with the functions in it, finds in its globals; None where it does more with names than that."""
    found: dict[str, None] = {}
    pending = [code]
    while pending:
        each = pending.pop()
        for step in dis.get_instructions(each):
            name = step.opname
            if name == "LOAD_GLOBAL":
                found[step.argval] = None
            elif name in ("STORE_DEREF", "DELETE_DEREF"):
                if step.argval in code.co_freevars:
                    return None
            elif name != "KW_NAMES" and any(part in name for part in ("GLOBAL", "NAME", "IMPORT", "BUILD_CLASS")):
                return None
        pending.extend(constant for constant in each.co_consts if isinstance(constant, CodeType))
    return None if _LOOKS_AROUND & found.keys() else tuple(found)


def is_unchanged(f: FunctionType, names: Mapping[int, Any]) -> bool:
    """Does every name of `f`, and of the user's functions it names, mean itself? `names` maps ``id(object) -> replacement``."""
    seen: set[int] = set()
    pending = [f]
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        wanted = global_names(each.__code__)
        space = each.__globals__
        if wanted is None or type(space) is not dict or each.__kwdefaults__ or each.__dict__:
            return False
        values: list[Any] = [space[name] if name in space else BUILTINS.get(name) for name in wanted]
        values.extend(each.__defaults__ or ())
        for cell in each.__closure__ or ():
            try:
                values.append(cell.cell_contents)
            except ValueError:  # not bound yet
                return False
        for value in values:
            kind = type(value)
            if id(value) in names:
                return False
            if kind in PLAIN:
                continue
            if kind is FunctionType:
                if is_user_function(value):
                    pending.append(value)
            elif not is_left_alone(kind, value):
                return False
    return True


def is_left_alone(kind: Any, value: Any) -> bool:
    """Is an object of another kind the same in a run?"""
    if kind is ModuleType:
        return not is_user_module(value) and not is_foreign(value)
    if kind in _SPECIAL or kind is _CACHED or kind.__module__.startswith("numba.") or issubclass(kind, ModuleType):
        return False
    if is_foreign(value) or bound_to(value) is not None:
        return False
    return issubclass(kind, (type, BuiltinFunctionType)) or view_class(kind) is None
