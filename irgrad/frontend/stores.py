"""May a function write into arrays? Read off its code, and that of the functions of the user's that it names."""

from __future__ import annotations

import dis
import functools
from types import CodeType, FunctionType, MethodType
from typing import Any

from irgrad.frontend.ownership import is_user_function

_STEPS = ("STORE_SUBSCR", "STORE_SLICE", "DELETE_SUBSCR", "CALL_FUNCTION_EX")  # the last may hand on an ``out``
_METHODS = frozenset({
    "fill", "sort", "put", "partition", "itemset", "setfield", "byteswap", "at", "copyto", "place", "putmask", "put_along_axis",
    "fill_diagonal",
})  # fmt: skip


@functools.lru_cache(maxsize=4096)
def _writes(code: CodeType) -> bool:
    """Does code assign to items, or in place, or give an ``out``?"""
    for step in dis.get_instructions(code):
        name = step.opname
        if name in _STEPS or (name == "BINARY_OP" and step.argrepr.endswith("=")):
            return True
        if ("ATTR" in name or "METHOD" in name) and step.argval in _METHODS:
            return True
    if any(type(each) is tuple and "out" in each for each in code.co_consts):
        return True
    return any(_writes(each) for each in code.co_consts if isinstance(each, CodeType))


def may_write(f: Any) -> bool:
    """Is there code of the user's in `f`, or in functions that it names, that writes into something?"""
    seen: set[int] = set()
    pending: list[Any] = [f]
    while pending:
        each = pending.pop()
        if type(each) is MethodType:
            each = each.__func__
        if type(each) is not FunctionType or id(each) in seen or not is_user_function(each):
            continue
        seen.add(id(each))
        if _writes(each.__code__):
            return True
        space = each.__globals__
        pending += [space[name] for name in each.__code__.co_names if name in space]
        for cell in each.__closure__ or ():
            try:
                pending.append(cell.cell_contents)
            except ValueError:  # not bound yet
                continue
    return False
