"""Values of the user's own types in traces: what `Box.register` and `VSpace.register` together make differentiable.

Such a value has no numbers that irgrad knows of. On a tape it is an `Element`: the value with its vector space, in place of a number.
The walks of derivatives add and scale cotangents, and an element does both by its space; anything else is an error. Functions of the
user see a box of the class that was registered for the type, rules a box or the plain value.

Limits: only eager traces hold elements. A jitted function that meets one keeps running eagerly; its type as a pytree
(`irgrad.pytree.register`) compiles.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.errors import NotCompiledError, UnsupportedError
from irgrad.frontend.storage import present
from irgrad.frontend.trace import Trace, here
from irgrad.frontend.tracer import Tracer
from irgrad.frontend.views import ObjectView, state_of

BOXES: dict[type, type] = {}  # a registered type -> the class of its boxes
SPACES: dict[type, Callable[[Any], Any]] = {}  # a type -> what makes the space of a value


class Element(np.float64):
    """A value of a registered type where derivatives expect a number; as a number it is nan."""

    held: Any
    space: Any

    def __new__(cls, held: Any) -> Element:
        if type(held) not in SPACES:
            raise TypeError(f"Can't find vector space for value {held!r} of type {type(held)}: VSpace.register knows {list(SPACES)}")
        made = super().__new__(cls, np.nan)
        made.held, made.space = held, SPACES[type(held)](held)
        return made

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        rule = _ARITHMETIC.get(ufunc) if method == "__call__" and not kwargs else None
        if rule is None:
            raise TypeError(f"{ufunc.__name__} of a {type(self.held).__name__} is not known to its vector space ({here()})")
        return rule(*inputs)

    def __add__(self, other: Any) -> Any:
        return _sum(self, other)

    def __radd__(self, other: Any) -> Any:
        return _sum(other, self)

    def __sub__(self, other: Any) -> Any:
        return _sum(self, _scaled(other, -1.0))

    def __mul__(self, other: Any) -> Any:
        return _scaled(self, other)

    def __rmul__(self, other: Any) -> Any:
        return _scaled(self, other)

    def __truediv__(self, other: Any) -> Any:
        return _scaled(self, 1.0 / other)

    def __neg__(self) -> Any:
        return _scaled(self, -1.0)

    def __reduce__(self) -> Any:
        return (Element, (self.held,))


def _sum(x: Any, y: Any) -> Any:
    if type(x) is not Element or type(y) is not Element:
        raise TypeError(f"a value of a registered type and a number have no sum ({here()})")
    return Element(x.space.add(x.held, y.held))


def _scaled(x: Any, factor: Any) -> Any:
    if type(x) is not Element:
        x, factor = factor, x
    if type(factor) is Element:
        raise TypeError(f"two values of registered types have no product ({here()}); write a primitive")
    return Element(x.space.scalar_mul(x.held, factor))


_ARITHMETIC: dict[np.ufunc, Callable[..., Any]] = {
    np.add: _sum, np.multiply: _scaled, np.negative: operator.neg, np.subtract: operator.sub, np.divide: operator.truediv,
}  # fmt: skip


# ---- boxes and plain values ----


def unboxed(value: Any) -> Any:
    """The traced value in a box, the value behind a view of one of a registered type; anything else is itself."""
    kind = type(value)
    if kind in BOX_CLASSES:
        return value._node  # noqa: SLF001
    if BOXES and issubclass(kind, ObjectView):
        original = state_of(value).original
        return original if type(original) in BOXES else value
    return value


def noted(trace: Trace, value: Any) -> Any:
    """An output of a function: `unboxed`, with an element in place of a value that no operation made."""
    value = unboxed(value)
    return Element(value) if type(value) in BOXES and not trace.is_graph else value


def boxed(value: Any) -> Any:
    """What a user's function or rule sees of an operand: a box of a traced element, the value of a concrete one."""
    if type(value) is Tracer and type(value.form) is Element:
        held = value.value.held
        return BOXES[type(held)](held, value)
    return value.held if type(value) is Element else value


def element(trace: Trace, value: Any) -> Any:
    """A value of a registered type for the tape.

    Raises NotCompiledError in a trace that becomes a program.
    """
    if trace.is_graph:
        name = type(value).__name__
        raise NotCompiledError(
            f"{name} is differentiated as a vector space of your own, which has no compiled form ({here()}); "
            f"irgrad.pytree.register({name}, flatten, unflatten) says which numbers it has, and compiles"
        )
    return Element(value)


def held_by(value: Any) -> Any:
    """What an operand is, as numpy or the user has it."""
    value = present(value).value if type(value) is Tracer else value
    return value.held if type(value) is Element else value


BOX_CLASSES: set[type] = set()


def register(value_type: type, box: type) -> None:
    """Let `box` stand for traced values of a type."""
    if not isinstance(value_type, type):
        raise UnsupportedError(f"Box.register expects a class, got {value_type!r} ({here()})")
    BOXES[value_type] = box
    BOX_CLASSES.add(box)
