"""Is it evident from code and captured values that a traced function computes the same from the same arguments?

Then one trace of it is enough. Evident is what can reach nothing but its arguments, captured data that guards and inputs hold, functions
that are evident themselves, and functions of numpy, math, irgrad and Python that draw nothing, read nothing from outside and keep nothing.
Anything else is *doubtful*: the function may still be pure, and a second trace looks whether it is.
"""

from __future__ import annotations

import builtins
import dis
import functools
import math
from collections.abc import Collection
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from irgrad.frontend.tracer import ATTRIBUTES, FUNCTIONS, METHODS, UFUNCS, Tracer

_BUILTINS = (
    "abs all any bool complex dict divmod enumerate filter float frozenset int isinstance issubclass iter len list map max min next pow "
    "range reversed round set slice sorted str sum tuple zip Ellipsis NotImplemented"
)
_MODULES = ("numpy", "numpy.linalg", "numpy.fft", "math", "cmath", "irgrad", "irgrad.numpy", "irgrad.numpy.linalg", "irgrad.numpy.fft")
_OPERATORS = ("irgrad.operators.", "irgrad.loops.", "irgrad.runtime.jit")  # where irgrad's functions and objects of functions are
_CONSTANTS = (int, float, complex, bool, type(None))
_FUNCTION_TYPES = (FunctionType, BuiltinFunctionType, np.ufunc, type(np.sum))
_PLAIN = (
    "shape ndim size dtype itemsize nbytes T real imag flat errstate finfo iinfo eps tiny numpy linalg fft jit grad value_and_grad "
    "grad_and_aux elementwise_grad jacobian hessian vjp jvp make_vjp make_jvp hessian_vector_product stop_gradient scan fori_loop "
    "while_loop cond checkpoint at reduce accumulate outer reduceat nin nout"
)
_EFFECTS = ("IMPORT", "BUILD_CLASS", "STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "FROM_DICT", "LOAD_NAME", "STORE_NAME")
BUILTINS = frozenset(_BUILTINS.split())
_ATTRIBUTES = frozenset(_PLAIN.split())
_TYPES = (list, tuple, dict, set, frozenset, str, int, float, complex, range, slice)
_DATA = {Tracer, bool, int, float, complex, str, bytes, type(None)}


@functools.cache
def _is_plain_attribute(name: str) -> bool:
    """May evident code use this attribute, whatever it is of?"""
    if name in _ATTRIBUTES or name in METHODS or name in ATTRIBUTES:
        return True
    if name.startswith("_"):
        return False
    if any(name in vars(kind) for kind in _TYPES) or name in vars(math):
        return True
    return any(name in vars(module) and _is_known(vars(module)[name]) for module in (np, np.linalg, np.fft))


def _is_known(value: Any) -> bool:
    """A traced function of numpy's, a constant or a scalar type. Runs no code of the user's."""
    kind = type(value)
    if kind in _CONSTANTS or issubclass(kind, np.dtype) or value is np.ndarray:
        return True
    if issubclass(kind, type):
        return kind is type and issubclass(value, (np.bool_, np.number))
    return kind in _FUNCTION_TYPES and (value in FUNCTIONS or value in UFUNCS)


@functools.lru_cache(maxsize=4096)
def doubt_of_code(code: CodeType) -> str:
    """What of a code object, and of the functions in it, is doubtful; empty if nothing is."""
    for i in dis.get_instructions(code):
        name = i.opname
        takes = ("ATTR" in name or "METHOD" in name) and name != "SET_FUNCTION_ATTRIBUTE"  # the defaults and cells of a function, 3.13
        if any(effect in name for effect in _EFFECTS) or (takes and not _is_plain_attribute(i.argval)):
            return f"{i.argval or name} in {code.co_qualname}"
    return next(filter(None, (doubt_of_code(inner) for inner in code.co_consts if isinstance(inner, CodeType))), "")


def doubt_of_builtin(name: str) -> str:
    """Whether a builtin is doubtful."""
    known = name in BUILTINS or (isinstance(found := vars(builtins).get(name), type) and issubclass(found, BaseException))
    return "" if known else name


def doubt_of_value(value: Any) -> str:
    """Whether a captured object that is neither data nor the user's function is doubtful. Runs no code of the user's."""
    kind = type(value)
    if kind is ModuleType:
        return "" if value.__name__ in _MODULES else f"module {value.__name__}"
    if _is_known(value) or value is float or value is complex:
        return ""
    where = kind.__module__
    if kind in _FUNCTION_TYPES:
        if getattr(math, value.__name__, None) is value:
            return ""
        where = getattr(value, "__module__", None) or ""  # ufuncs of frompyfunc have none
    if f"{where}.".startswith(_OPERATORS):
        return ""
    if where.startswith("irgrad.frontend.handlers.") and _is_known(getattr(value, "__wrapped__", None) or getattr(value, "ufunc", None)):
        return ""
    return f"an object of {kind.__qualname__}"


def doubt_of_arguments(arguments: Collection[Any]) -> str:
    """Whether arguments are anything but data in lists, tuples and dicts."""
    for value in arguments:
        kind = type(value)
        if kind in _DATA:
            continue
        if kind is not list and kind is not tuple and kind is not dict:
            return f"an argument of {kind.__qualname__}"
        found = doubt_of_arguments(value.values() if kind is dict else value)
        if found:
            return found
    return ""
