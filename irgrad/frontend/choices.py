"""``min`` and ``max`` of traced numbers: selections, not branches.

Python's loop keeps the first of equal ones, and what a nan leaves where it is; so do these. Among float64 and Python's float, as in
``max(x[0], 0.0)``, the type of the result depends on the outcome. In arithmetic of 64 bits they are the same, so that float64 is selected;
where a result of the function itself may be either, or meets float32, which Python's number leaves as it is, its type is found by guards.
Other mixtures (an integer among them) are left to the builtin.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.tracer import METHODS, Tracer
from irgrad.ir.primitive import REGISTRY

_TYPES: tuple[Any, ...] = (np.float32, np.float64, float)  # of a selection
_SELECT = REGISTRY["where"]
_SMALL = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.complex64))  # beside which a number of Python's has no type
_FAR = 64  # operations back from a value, behind which it is not looked whether its type is in doubt
_ARITHMETIC = ("add", "sub", "mul", "div", "neg", "abs", "remainder", "floor_divide", "square", "integer_pow", "pow")  # of two floats: one


def _choice(builtin: Callable[..., Any], comparison: str, better: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    compare = REGISTRY[comparison]

    def choose(*args: Any, **kwargs: Any) -> Any:
        if kwargs or not args:
            return builtin(*args, **kwargs)
        items = args if len(args) > 1 else tuple(args[0])
        trace = next((item._trace for item in items if type(item) is Tracer), None)
        kind = _type_of(items) if trace is not None and trace.is_graph else None
        if trace is None or kind is None:
            return builtin(*args) if len(args) > 1 else builtin(items)
        best = items[0]
        for other in items[1:]:
            if type(best) is Tracer or type(other) is Tracer:
                best = _selected(trace, trace.apply(compare, better, other, best), other, best, kind)
            elif better(other, best):
                best = other
        return best

    choose.__name__ = choose.__qualname__ = builtin.__name__
    choose.__doc__ = builtin.__doc__
    return choose


def _selected(trace: Any, is_better: Tracer, other: Any, best: Any, kind: type) -> Any:
    made = trace.apply(_SELECT, lambda condition, a, b: kind(a if condition else b), is_better, other, best)
    if any(type(_form(item)) is not kind or (trace.choices and _may_be_either(trace, item)) for item in (other, best)):
        trace.choices[made.index] = (is_better, other, best)
    return made


def _form(item: Any) -> Any:
    return item.form if type(item) is Tracer else item


def _type_of(items: Sequence[Any]) -> Any:
    """The type to select in; None where the builtin is to compare."""
    kinds = {type(_form(item)) for item in items}
    if kinds == {np.float64, float}:
        return np.float64
    (kind,) = kinds if len(kinds) == 1 else (None,)
    return kind if kind in _TYPES else None


def decided(trace: Any, value: Any) -> Any:
    """A result of the function in the type that it has without tracing."""
    if type(value) is not Tracer or type(value.form) is not np.float64 or _is_float64(trace, value):
        return value
    return METHODS["item"](value)


def weakened(trace: Any, operands: Sequence[Any]) -> Sequence[Any] | None:
    """Operands of an operation in the types that they have without tracing; None where these make no difference."""
    if not any(getattr(_form(leaf), "dtype", None) in _SMALL for leaf in _leaves(operands)):
        return None
    made: Sequence[Any] = _typed(trace, list(operands))
    return made if any(a is not b for a, b in zip(_leaves(made), _leaves(operands), strict=True)) else None


def powered(trace: Any, base: Any, exponent: Any) -> tuple[Any, Any]:
    """Operands of a power: of a negative number Python has a complex one, numpy nan, so the type of such a choice is found."""
    if not isinstance(_form(base), (float, int)) or not isinstance(_form(exponent), float):
        return base, exponent
    is_open = _may_be_negative(trace, base)
    if is_open and type(exponent) is Tracer:
        exponent = decided(trace, exponent)
    if not is_open or type(base) is not Tracer or type(_form(exponent)) is not float:
        return base, exponent
    is_whole = type(exponent) is float and exponent.is_integer()
    return base if is_whole else decided(trace, base), exponent


def _may_be_negative(trace: Any, item: Any, depth: int = 0) -> bool:
    """May the value be a negative number of Python's?"""
    if type(item) is not Tracer:
        return type(item) in (float, int) and item < 0
    if type(item.form) in (float, int) or depth >= _FAR:
        return True
    if item.index in trace.choices:
        return any(_may_be_negative(trace, each, depth + 1) for each in trace.choices[item.index][1:])
    if item.op is None or item.op.name not in _ARITHMETIC or not _may_be_either(trace, item):
        return False
    if item.op.name in ("add", "mul", "div"):
        return any(_may_be_negative(trace, each, depth + 1) for each in item.operands)
    return item.op.name not in ("abs", "square")


def _leaves(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if type(value) is list or type(value) is tuple:
            yield from _leaves(value)
        else:
            yield value


def _typed(trace: Any, value: Any) -> Any:
    kind = type(value)
    return kind([_typed(trace, v) for v in value]) if kind is list or kind is tuple else decided(trace, value)


def _may_be_either(trace: Any, value: Any) -> bool:
    """May the value be made of choices alone?"""
    seen: set[int] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is not Tracer or type(item.form) is not np.float64 or item.index in seen:
            continue
        if item.index in trace.choices or len(seen) >= _FAR:
            return True
        seen.add(item.index)
        if item.op is not None and item.op.name in _ARITHMETIC:
            stack += item.operands
    return False


def _is_float64(trace: Any, value: Any) -> bool:
    """Does the value come of a number of numpy's? Where that depends on a choice, a guard tells."""
    seen: set[int] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is not Tracer or type(item.form) is not np.float64:
            if type(item) is np.float64:
                return True
            continue
        if item.index in seen:
            continue
        seen.add(item.index)
        if item.index in trace.choices:
            is_better, other, best = trace.choices[item.index]
            stack.append(other if bool(is_better) else best)
        elif item.op is None or item.op.name not in _ARITHMETIC:
            return True
        else:
            stack += sorted(item.operands, key=lambda operand: _doubt(trace, operand), reverse=True)
    return False


def _doubt(trace: Any, operand: Any) -> int:
    if type(operand) is not Tracer:
        return 0
    return 3 if operand.index in trace.choices else 2 if operand.op is not None and operand.op.name in _ARITHMETIC else 1


MIN = _choice(min, "less", operator.lt)
MAX = _choice(max, "greater", operator.gt)
